"""The chart's values: a closed schema, a comment for every key, a reference page that says the same."""

import json
import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fovea_operator.settings import Settings
from support import helm

SCHEMA = json.loads((helm.CHART / "values.schema.json").read_text())
TEXT = (helm.CHART / "values.yaml").read_text()
VALUES = yaml.safe_load(TEXT)
REFERENCE = runpy.run_path(str(helm.ROOT / "charts/values_reference.py"))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMA["definitions"][reference.rpartition("/")[2]] if reference else schema


def kinds_of(schema: dict[str, Any]) -> set[str]:
    kinds = schema.get("type", [])
    return {kinds} if isinstance(kinds, str) else set(kinds)


def closed_places(schema: dict[str, Any], place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where an object stands whose keys the schema knows; 0 is the first of a list."""
    schema = resolved(schema)
    if "properties" in schema:
        yield place
        for name, property_schema in schema["properties"].items():
            yield from closed_places(property_schema, (*place, name))
    for pattern, property_schema in schema.get("patternProperties", {}).items():
        assert re.match(pattern, "some-type")
        yield from closed_places(property_schema, (*place, "some-type"))
    if "items" in schema:
        yield from closed_places(schema["items"], (*place, 0))


PLACES = list(closed_places(SCHEMA))


def with_typo(places: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Values with the key `tpyo` at every place."""
    values: dict[str, Any] = {}
    for place in places:
        node: Any = values
        for step in place:
            if step == 0:
                node = node[0] if node else node.append({}) or node[0]
            else:
                following = place[place.index(step) + 1 : place.index(step) + 2]
                node = node.setdefault(step, [] if following == (0,) else {})
        node["tpyo"] = 1
    return values


def test_a_typo_is_refused_by_its_name_at_every_level() -> None:
    assert len(PLACES) > 25
    with pytest.raises(helm.HelmFailed) as failure:
        helm.template(with_typo(PLACES))
    refused = set(re.findall(r"at '([^']*)': additional properties 'tpyo' not allowed", str(failure.value)))
    assert refused == {"".join(f"/{step}" for step in place) for place in PLACES}


def test_every_object_of_the_schema_is_closed_or_says_what_its_free_keys_hold() -> None:
    def objects(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(node, dict):
            if "object" in kinds_of(node):
                yield path, node
            for key, value in node.items():
                yield from objects(value, f"{path}/{key}")

    # Kubernetes' own types, checked by the API server; and what Helm keeps for itself.
    foreign = re.compile(
        r"/(global|valueFrom|podSelector|namespaceSelector|ipBlock|nodeAffinity|podAffinity|podAntiAffinity|modelCache/properties/volume)$"
    )
    open_ones = [
        path for path, node in objects(SCHEMA) if "additionalProperties" not in node and not foreign.search(path)
    ]
    assert open_ones == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("operator.replicas", 0, "minimum"),
        ("images.pullPolicy", "Sometimes", "one of"),
        ("machineTypes.standard.cpu", "much", "pattern"),
        ("machineTypes.standard.cpu", -1, "minimum"),
        ("machineTypes.standard.gpus.count", "one", "want null or integer"),
        ("machineTypes.standard.gpus.resource", "gpu", "pattern"),
        ("machineTypes.standard.nodeSelector.gpu", "a100 or better", "pattern"),
        ("objectStore.embedded.portForwardSubjects", [{"kind": "Team", "name": "a"}], "one of"),
        ("machineTypes.Standard", {"cpu": "1"}, "additional properties 'Standard'"),
        ("objectStore.external.endpoint", "s3.example.com", "pattern"),
        ("objectStore.namespaces", ["Team"], "pattern"),
        ("serving.command", [], "minItems"),
        ("serving.connectionSeconds", 0, "minimum"),
        ("training.graceSeconds", 1, "minimum"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(path: str, value: Any, said: str) -> None:
    values: Any = value
    for step in reversed(path.split(".")):
        values = {step: values}
    with pytest.raises(helm.HelmFailed) as failure:
        helm.template(values)
    assert "/" + path.replace(".", "/").rpartition("/")[0] in str(failure.value)
    assert said in str(failure.value)


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ({"kind": "Group"}, "missing property 'name'"),
        ({"kind": "ServiceAccount", "name": "ci"}, "missing property 'namespace'"),
        ({"kind": "Group", "name": "team", "namespace": "vision"}, "'not' failed"),
    ],
)
def test_a_subject_that_cannot_be_bound_is_refused(subject: dict[str, str], said: str) -> None:
    with pytest.raises(helm.HelmFailed, match=said) as failure:
        helm.template({"objectStore": {"embedded": {"portForwardSubjects": [subject]}}})
    assert "/objectStore/embedded/portForwardSubjects/0" in str(failure.value)


def test_values_schema_and_comments_know_the_same_keys() -> None:
    def described(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, inner in schema.get("properties", {}).items():
            yield (*path, name)
            yield from described(inner, (*path, name))

    def present(
        values: dict[str, Any], known: set[tuple[str, ...]], path: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, ...]]:
        for name, inner in values.items():
            yield (*path, name)
            if isinstance(inner, dict) and any(entry[:-1] == (*path, name) for entry in known):
                yield from present(inner, known, (*path, name))

    keys = set(described(SCHEMA)) - {("global",)}
    assert len(keys) > 60
    commented = {entry.path for entry in REFERENCE["entries"](TEXT)}
    assert {path for path in commented if path[:-1] != ("machineTypes",)} == keys
    assert set(present(VALUES, keys)) == keys


def test_a_machine_type_takes_the_fields_of_its_kind() -> None:
    crd = yaml.safe_load((helm.ROOT / "crds/machinetypes.fovea.dev.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    ours = SCHEMA["definitions"]["machineType"]
    assert set(ours["properties"]) == set(spec["properties"])
    assert set(ours["required"]) == set(spec["required"])
    assert set(ours["properties"]["gpus"]["properties"]) == set(spec["properties"]["gpus"]["properties"])
    bounds = ("minimum", "minLength", "maxLength", "pattern")
    fields = {name: (resolved(schema), spec["properties"][name]) for name, schema in ours["properties"].items()}
    fields["gpus.resource"] = tuple(where["properties"]["gpus"]["properties"]["resource"] for where in (ours, spec))
    for name, (values, kind) in fields.items():
        assert {key: values.get(key) for key in bounds} == {key: kind.get(key) for key in bounds}, name
    toleration = spec["properties"]["tolerations"]["items"]["properties"]
    assert set(SCHEMA["definitions"]["toleration"]["properties"]) == set(toleration)


def test_a_machine_type_may_have_the_names_that_jobs_can_write() -> None:
    crd = yaml.safe_load((helm.ROOT / "crds/modeldeployments.fovea.dev.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    named = spec["properties"]["machineType"]
    ours = SCHEMA["properties"]["machineTypes"]
    assert (list(ours["patternProperties"]), ours["propertyNames"]) == (
        [named["pattern"]],
        {"maxLength": named["maxLength"]},
    )


def test_only_one_machine_type_is_the_default() -> None:
    mine = {"default": True, "cpu": "1", "memory": "1Gi"}
    with pytest.raises(helm.HelmFailed) as failure:
        helm.template({"machineTypes": {"mine": mine}})
    assert "machineTypes.mine and machineTypes.standard are default" in str(failure.value)
    assert "set `default: false` on the others" in str(failure.value)
    for other in (None, {"default": False}):
        assert helm.template({"machineTypes": {"mine": mine, "standard": other}})


@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_the_operator_takes_every_number_that_the_schema_allows(bound: str) -> None:
    numbers = {
        (part, name): schema[bound]
        for part in ("operator", "training")
        for name, schema in SCHEMA["properties"][part]["properties"].items()
        if {"integer", "number"} & kinds_of(schema)
    }
    assert len(numbers) == 8
    values: dict[str, dict[str, float]] = {"operator": {}, "training": {}}
    for (part, name), value in numbers.items():
        values[part][name] = value
    container = helm.one(helm.template(values), "Deployment", "fovea-operator")["spec"]["template"]["spec"][
        "containers"
    ][0]
    environment = {item["name"]: item["value"] for item in container["env"] if "value" in item}
    settings = Settings.from_environment(environment)
    taken = {name: getattr(settings, re.sub(r"([A-Z])", r"_\1", name).lower()) for name in values["training"]}
    assert taken == values["training"]


def test_a_key_without_a_comment_is_refused_by_the_reference() -> None:
    with pytest.raises(ValueError, match=r"images\.trainer has no comment"):
        list(REFERENCE["entries"](re.sub("  # .*\n(?=  trainer: )", "", TEXT)))


def test_the_reference_page_is_made_of_the_comments() -> None:
    page = (helm.ROOT / "docs/reference/chart-values.md").read_text()
    assert page == REFERENCE["markdown"](TEXT), "the page is stale: make generate"


def test_the_embedded_profile_uses_our_model_server_and_nothing_that_the_chart_does_not_know() -> None:
    manifests = helm.template({}, "--values", str(helm.EMBEDDED_PROFILE))
    container = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["FOVEA_OPERATOR_SERVER_COMMAND"] == "fovea-model-server"
    assert variables["FOVEA_OPERATOR_SERVER_CONNECTION_SECONDS"] == "5"
    assert variables["FOVEA_OPERATOR_MODEL_SERVICE_TYPE"] == "NodePort"
