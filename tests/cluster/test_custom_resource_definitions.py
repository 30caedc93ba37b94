"""The generated CRDs on a real API server: examples are taken with strict field validation, invalid manifests are refused in plain words."""

import copy
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea_api.v1alpha1 import API_VERSION, KINDS, MachineType
from kubernetes import client
from support import imports

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    f"{path.stem}-{number}" if number else path.stem: manifest
    for path in sorted((ROOT / "examples").glob("*.yaml"))
    for number, manifest in enumerate(yaml.safe_load_all(path.read_text()))
}
"""All manifests by the names of their files; further ones of a file have numbers."""
INVALID = yaml.safe_load((ROOT / "tests/data/api/invalid_manifests.yaml").read_text())
PLURALS = {kind.kind: kind for kind in KINDS}


class Api:
    """Create and update of our kinds with strict field validation."""

    def __init__(self, kubeconfig_client: client.ApiClient, namespace: str) -> None:
        self.objects, self.namespace = client.CustomObjectsApi(kubeconfig_client), namespace

    def _where(self, kind: str) -> dict[str, str]:
        entry = PLURALS[kind]
        where = {"group": "fovea.dev", "version": "v1alpha1", "plural": entry.plural}
        if entry.scope == "Namespaced":
            where["namespace"] = self.namespace
        return where

    def create(self, manifest: dict[str, Any], *, dry_run: bool = False) -> Any:
        where = self._where(manifest["kind"])
        verb = "create_namespaced_custom_object" if "namespace" in where else "create_cluster_custom_object"
        options = {"dry_run": "All"} if dry_run else {}
        return getattr(self.objects, verb)(**where, body=manifest, field_validation="Strict", **options)

    def replace(self, manifest: dict[str, Any]) -> Any:
        where = self._where(manifest["kind"])
        verb = "replace_namespaced_custom_object" if "namespace" in where else "replace_cluster_custom_object"
        return getattr(self.objects, verb)(
            **where, name=manifest["metadata"]["name"], body=manifest, field_validation="Strict", dry_run="All"
        )


def changed(manifest: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with dotted paths set (None removes)."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        node = result
        for part in parents:
            node = node.setdefault(part, {})
        if value is None:
            node.pop(leaf, None)
        else:
            node[leaf] = value
    return result


@pytest.fixture
def api(api_client: client.ApiClient, namespace: str) -> Api:
    return Api(api_client, namespace)


def in_namespace(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    if "namespace" not in manifest["metadata"]:
        return copy.deepcopy(manifest)
    return changed(manifest, {"metadata.namespace": namespace})


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_taken_with_strict_field_validation(api: Api, name: str) -> None:
    manifest = in_namespace(EXAMPLES[name], api.namespace)
    created = api.create(manifest, dry_run=True)
    assert created["apiVersion"] == API_VERSION
    assert (
        created["spec"].items()
        >= {key: value for key, value in manifest["spec"].items() if isinstance(value, (str, int, float))}.items()
    )


@pytest.mark.parametrize("name", sorted(imports.SOURCES))
def test_every_imported_job_and_machine_type_is_taken_with_strict_field_validation(api: Api, name: str) -> None:
    for manifest in imports.manifests(imports.made_of(name)):
        is_job = manifest["kind"] == "TrainingJob"
        # A MachineType belongs to no namespace, and one of its name may be there.
        place = {"metadata.namespace": api.namespace} if is_job else {"metadata.name": f"mt-{uuid.uuid4().hex[:8]}"}
        wanted = changed(manifest, place)
        assert api.create(wanted, dry_run=True)["spec"].keys() >= manifest["spec"].keys()


@pytest.mark.parametrize("case", INVALID, ids=[entry["case"] for entry in INVALID])
def test_an_invalid_manifest_is_refused_in_words_that_help(api: Api, case: dict[str, Any]) -> None:
    manifest = changed(in_namespace(EXAMPLES[case["from"]], api.namespace), case.get("set", {}))
    if "then" in case:
        if "namespace" not in manifest["metadata"]:
            manifest["metadata"]["name"] = f"mt-{uuid.uuid4().hex[:8]}"
        created = api.create(manifest)
        with pytest.raises(client.ApiException) as refused:
            api.replace(changed(created, case["then"]))
    else:
        with pytest.raises(client.ApiException) as refused:
            api.create(manifest, dry_run=True)
    assert refused.value.status in (400, 422), refused.value.body
    answer = json.loads(refused.value.body)["message"]
    assert [words for words in case["says"] if words not in answer] == [], answer


@pytest.mark.parametrize("name", ["n1-standard-4", "m5.2xlarge", "2xlarge"])
def test_every_name_of_a_machine_type_can_be_named_by_jobs_and_deployments(api: Api, name: str) -> None:
    machine = changed(EXAMPLES["machine-types"], {"metadata.name": name})
    assert api.create(machine, dry_run=True)["metadata"]["name"] == name
    job = changed(in_namespace(EXAMPLES["own-container"], api.namespace), {"spec.roles.chief.machineType": name})
    assert api.create(job, dry_run=True)["spec"]["roles"]["chief"] == {"machineType": name}
    deployment = changed(in_namespace(EXAMPLES["model-deployment"], api.namespace), {"spec.machineType": name})
    assert api.create(deployment, dry_run=True)["spec"]["machineType"] == name


def test_quantities_are_taken_as_numbers_like_those_of_pods(api: Api) -> None:
    numbers = {"spec.cpu": 8, "spec.cpuLimit": 8, "spec.memory": 64 * 2**30, "spec.sharedMemory": 2**30}
    created = api.create(changed(EXAMPLES["machine-types"], numbers), dry_run=True)
    assert created["spec"]["cpu"] == 8
    spec = MachineType.model_validate(created).spec
    assert (spec.cpu, spec.cpu_limit, spec.memory, spec.shared_memory) == ("8", "8", str(64 * 2**30), str(2**30))


def test_defaults_are_filled_in_by_the_api_server(api: Api) -> None:
    manifest = in_namespace(EXAMPLES["cats-and-dogs"], api.namespace)
    assert api.create(manifest, dry_run=True)["spec"] == {
        **manifest["spec"],
        "distribution": "Single",
        "sync": False,
        "suspend": False,
        "cancel": False,
        "checkpoint": {"everySteps": 500, "keep": 3, "trainFromScratch": False},
        "runPolicy": {"backoffLimit": 3, "cleanPodPolicy": "Running"},
    }


def test_inputs_with_addresses_in_the_store_can_be_streamed(api: Api) -> None:
    inputs = {"data": "s3://fovea/vision/pets", "other": "s3://fovea/vision/more", "base": "model://faces"}
    modes = {"data": "Stream", "base": "Fetch"}
    manifest = changed(
        in_namespace(EXAMPLES["digits"], api.namespace), {"spec.inputs": inputs, "spec.inputModes": modes}
    )
    assert api.create(manifest, dry_run=True)["spec"]["inputModes"] == modes


def test_suspend_cancel_and_ttl_can_be_changed(api: Api) -> None:
    created = api.create(in_namespace(EXAMPLES["digits"], api.namespace))
    wanted = {"spec.suspend": True, "spec.cancel": True, "spec.runPolicy.ttlSecondsAfterFinished": 5}
    spec = api.replace(changed(created, wanted))["spec"]
    assert (spec["suspend"], spec["cancel"], spec["runPolicy"]["ttlSecondsAfterFinished"]) == (True, True, 5)


def test_approval_of_a_version_can_be_changed(api: Api) -> None:
    created = api.create(in_namespace(EXAMPLES["model-version"], api.namespace))
    assert api.replace(changed(created, {"spec.approval": "Rejected"}))["spec"]["approval"] == "Rejected"


def _fields(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, child in schema.get("properties", {}).items():
        found.append((f"{path}.{name}", child))
        found += _fields(child, f"{path}.{name}")
        found += _fields(child.get("items", {}), f"{path}.{name}[]")
        if isinstance(child.get("additionalProperties"), dict):
            found += _fields(child["additionalProperties"], f"{path}.{name}.*")
    return found


@pytest.mark.parametrize("kind", KINDS, ids=[kind.kind for kind in KINDS])
def test_explain_has_text_for_every_field(api_client: client.ApiClient, kind: Any) -> None:
    served = client.ApiextensionsV1Api(api_client).read_custom_resource_definition(
        kind.crd_name, _preload_content=False
    )
    schema = yaml.safe_load(served.data)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = [
        (path, field) for path, field in _fields(schema, kind.kind) if not path.startswith(f"{kind.kind}.metadata")
    ]
    assert len(fields) > 10
    assert [path for path, field in fields if len(field.get("description", "")) < 8] == []


@pytest.mark.parametrize("kind", KINDS, ids=[kind.kind for kind in KINDS])
def test_everything_in_a_schema_is_bounded(kind: Any) -> None:
    from fovea_api.v1alpha1.crd import definition

    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    unbounded = [
        path
        for path, field in _fields(schema["properties"]["spec"], "spec")
        if (field.get("type") == "string" and not ({"maxLength", "enum"} & field.keys()))
        or (field.get("type") == "array" and "maxItems" not in field)
        or ("additionalProperties" in field and "maxProperties" not in field)
    ]
    assert unbounded == []
