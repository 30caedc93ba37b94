"""Values that are absent or null are the chart's defaults: `helm upgrade --reuse-values` brings those of the release before.

Helm then takes the older values in place of the new chart's, so a key that came since is missing. A chart whose values.yaml is
the older one renders the same.
"""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea_operator.settings import Settings
from support import helm, kubelet_expansion

VALUES = yaml.safe_load((helm.CHART / "values.yaml").read_text())
FREE = yaml.safe_load((helm.CHART / "files/defaults.yaml").read_text())["free"]
SINCE_THE_FIRST = ("agent", "operator.logLevel", *(f"objectStore.{name}" for name in (
    "external.checkSecret", "embedded.labelledNamespaces", "embedded.portForwardSubjects",
)))  # fmt: skip
"""Keys that the chart's first values.yaml did not have."""


def without(*paths: str) -> dict[str, Any]:
    """The chart's values without these keys."""
    values: dict[str, Any] = copy.deepcopy(VALUES)
    for path in paths:
        *above, last = path.split(".")
        node = values
        for step in above:
            node = node[step]
        del node[last]
    return values


def leaves(node: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in node.items():
        if (path := f"{above}{key}") not in FREE:
            yield from leaves(value, f"{path}.") if isinstance(value, dict) else [path]


def rendered(folder: Path, values: dict[str, Any], given: dict[str, Any] | None = None) -> list[helm.Manifest]:
    """What the chart renders with these values in place of its own; but for the store's root key, which is drawn."""
    chart = folder / "fovea"
    shutil.copytree(helm.CHART, chart)
    (chart / "values.yaml").write_text(yaml.safe_dump(values))
    manifests = helm.template(given, chart=chart)
    return [item | {"data": None, "stringData": None} if item["kind"] == "Secret" else item for item in manifests]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> list[helm.Manifest]:
    return rendered(tmp_path_factory.mktemp("default"), VALUES)


@pytest.mark.parametrize("key", sorted(set(VALUES) - {"machineTypes"}))
def test_a_key_of_the_top_that_the_release_before_did_not_have_has_its_default(
    tmp_path: Path, default: list[helm.Manifest], key: str
) -> None:
    assert [item for item in rendered(tmp_path, without(key)) if item not in default] == []


def test_the_values_of_the_first_release_are_enough(tmp_path: Path, default: list[helm.Manifest]) -> None:
    assert rendered(tmp_path, without(*SINCE_THE_FIRST)) == default


def test_every_value_at_any_depth_has_its_default(tmp_path: Path, default: list[helm.Manifest]) -> None:
    assert len(list(leaves(VALUES))) > 45
    assert rendered(tmp_path, without(*leaves(VALUES))) == default


def test_what_the_user_has_set_to_null_is_kept_by_helm_and_has_its_default(
    tmp_path: Path, default: list[helm.Manifest]
) -> None:
    nulls: dict[str, Any] = {}
    for path in leaves(VALUES):
        *above, last = path.split(".")
        node = nulls
        for step in above:
            node = node.setdefault(step, {})
        node[last] = None
    assert rendered(tmp_path, without(*leaves(VALUES)), nulls) == default


def test_what_was_given_stays_also_where_it_is_empty_false_or_zero(tmp_path: Path) -> None:
    given = {
        "operator": {"events": False, "nodeSelector": {"disk": "ssd"}},
        "agent": {"cpuLimit": 0},
        "objectStore": {"namespaces": [], "embedded": {"labelledNamespaces": False, "storage": {"className": ""}}},
        "userRoles": {"create": False},
    }
    assert rendered(tmp_path, without(*leaves(VALUES)), given) == rendered(tmp_path / "default", VALUES, given)


def test_maps_with_the_users_own_keys_are_not_filled_up(tmp_path: Path) -> None:
    values = without("machineTypes.large-model", "operator.resources.limits")
    manifests = rendered(tmp_path, values)
    types = helm.one(manifests, "ConfigMap", "fovea-installer")["data"]["machine-types.yaml"]
    assert "standard-gpu" in types
    assert "large-model" not in types
    container = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    assert "limits" not in container["resources"]


def test_a_machine_type_that_was_set_to_null_stays_left_out(tmp_path: Path) -> None:
    """The values of the release before have it no more, and the user's own, which Helm keeps, still say null."""
    manifests = rendered(tmp_path, without("machineTypes.large-model"), {"machineTypes": {"large-model": None}})
    types = helm.one(manifests, "ConfigMap", "fovea-installer")["data"]["machine-types.yaml"]
    assert "standard-gpu" in types
    assert "large-model" not in types


@pytest.mark.parametrize("limit", [None, "", 0])
def test_agents_without_a_cpu_limit_have_none(limit: object) -> None:
    manifests = helm.template({"agent": {"cpuLimit": limit}})
    operator = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    settings = Settings.from_environment(kubelet_expansion.environment(operator))
    assert settings.agent_cpu_limit in ("", "0")


@pytest.mark.parametrize("quantity", ["cpu", "memory", "memoryLimit"])
def test_the_other_resources_of_agents_are_the_defaults_where_they_are_null(quantity: str) -> None:
    operator = helm.one(helm.template({"agent": {quantity: None}}), "Deployment", "fovea-operator")
    variables = kubelet_expansion.environment(operator["spec"]["template"]["spec"]["containers"][0])
    assert Settings.from_environment(variables) == Settings.from_environment(
        kubelet_expansion.environment(
            helm.one(helm.template(), "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
        )
    )
