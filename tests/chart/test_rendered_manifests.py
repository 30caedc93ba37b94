"""What the chart renders, whole and by rule."""

import copy
import gzip
import json
from typing import Any

import pytest
import yaml
from fovea_api.contract import labels, names, storage
from fovea_api.v1alpha1 import MachineType
from fovea_api.v1alpha1.machine_type import MachineTypeSpec
from fovea_operator.settings import Settings
from support import helm, kubelet_expansion
from support.golden import Golden

Manifests = list[helm.Manifest]


def without_generated(manifests: Manifests) -> dict[str, Any]:
    """Manifests by `Kind name`, without the random password and the CRDs, which are generated and compared elsewhere."""
    found = {}
    for item in copy.deepcopy(manifests):
        if item["kind"] == "Secret":
            item["data"]["rootPassword"] = "generated"
        if item["kind"] == "ConfigMap":
            item["data"] = {
                name: text if name == "machine-types.yaml" else "generated" for name, text in item["data"].items()
            }
        found[f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"] = item
    return found


def operator_environment(manifests: Manifests) -> dict[str, str]:
    container = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable.get("value", "from a field") for variable in container["env"]}


def test_the_chart_passes_strict_lint() -> None:
    assert "0 chart(s) failed" in helm.lint()
    assert "0 chart(s) failed" in helm.lint("--values", str(helm.EMBEDDED_PROFILE))


def test_the_default_profile_renders_as_the_golden_file_says(golden: Golden, default_manifests: Manifests) -> None:
    golden.check("chart/default.yaml", without_generated(default_manifests))


def test_the_profile_with_an_external_store_renders_as_the_golden_file_says(
    golden: Golden, external_manifests: Manifests
) -> None:
    golden.check("chart/external.yaml", without_generated(external_manifests))


def test_every_variable_of_the_operator_is_one_of_its_settings_and_can_be_read(default_manifests: Manifests) -> None:
    variables = operator_environment(default_manifests)
    known = {f"FOVEA_OPERATOR_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert variables.keys() <= known
    settings = Settings.from_environment(variables)
    assert settings.server_command == ("tensorflow_model_server",)
    assert settings.watch_namespaces == ()
    assert settings.bucket == storage.BUCKET


def test_defaults_of_the_chart_are_those_of_the_operator(default_manifests: Manifests) -> None:
    variables = operator_environment(default_manifests)
    ours = Settings.from_environment(variables)
    placed = {"namespace", "identity", "report_url", "agent_image", "trainer_image"}
    differing = {name for name in Settings.__dataclass_fields__ if getattr(ours, name) != getattr(Settings(), name)}
    assert differing == placed


def test_the_operator_is_reached_by_its_service_where_it_listens(default_manifests: Manifests) -> None:
    settings = Settings.from_environment(operator_environment(default_manifests))
    service = helm.one(default_manifests, "Service", "fovea-operator")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    container = helm.one(default_manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    listening = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == listening == {"progress": settings.report_port, "metrics": settings.metrics_port}
    assert settings.report_url == f"http://fovea-operator.{helm.NAMESPACE}.svc:{settings.report_port}"


def test_the_secret_of_a_namespace_is_named_as_the_contract_says(default_manifests: Manifests) -> None:
    role = helm.one(default_manifests, "Role", "fovea-provision", "default")
    assert role["rules"][0]["resourceNames"] == [names.OBJECT_STORE_SECRET]


def test_network_policies_let_in_pods_by_the_labels_that_the_operator_gives_them() -> None:
    manifests = helm.template({"networkPolicy": {"enabled": True}})
    trainer = labels.of_training_pod("job", names.ROLE_CHIEF, 0, 0)
    server = labels.of_model_server("digits", "digits", 1, "abc")
    worker = labels.of_batch_prediction("scores", "uid", "digits", 1)
    allowed = {
        item["metadata"]["name"]: item["spec"]["ingress"][0]["from"][0]["podSelector"]
        for item in manifests
        if item["kind"] == "NetworkPolicy"
    }

    def lets_in(policy: str, pod: dict[str, str]) -> bool:
        selector = allowed[policy]
        expressions = selector.get("matchExpressions", [])
        assert {each["operator"] for each in expressions} <= {"In"}
        return selector["matchLabels"].items() <= pod.items() and all(
            pod.get(each["key"]) in each["values"] for each in expressions
        )

    assert [lets_in("fovea-operator", pod) for pod in (trainer, worker, server)] == [True, True, False]
    assert all(lets_in("fovea-object-store", pod) for pod in (trainer, worker, server))


def test_the_test_pod_reaches_what_it_asks_whoever_else_may() -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    manifests = helm.template({"networkPolicy": {"enabled": True, "metricsFrom": [prometheus]}})
    pod = helm.one(manifests, "Pod")["metadata"]["labels"].items()
    for policy, port in (("fovea-operator", "metrics"), ("fovea-object-store", "s3")):
        ingress = helm.one(manifests, "NetworkPolicy", policy)["spec"]["ingress"]
        (peers,) = [rule["from"] for rule in ingress if {"port": port} in rule["ports"]]
        here = [peer["podSelector"]["matchLabels"] for peer in peers if peer.keys() == {"podSelector"}]
        assert [labels for labels in here if labels.items() <= pod], policy
    assert prometheus in helm.one(manifests, "NetworkPolicy", "fovea-operator")["spec"]["ingress"][1]["from"]


def test_those_who_may_read_progress_are_let_in_beside_the_agents() -> None:
    api_server = {"ipBlock": {"cidr": "10.0.0.1/32"}}
    manifests = helm.template({"networkPolicy": {"enabled": True, "progressFrom": [api_server]}})
    [rule, metrics] = helm.one(manifests, "NetworkPolicy", "fovea-operator")["spec"]["ingress"]
    assert (rule["ports"], rule["from"][1:], len(rule["from"])) == ([{"port": "progress"}], [api_server], 2)
    assert "from" not in metrics


def test_a_standby_does_not_keep_a_rollout_from_ending() -> None:
    single = helm.one(helm.template(), "Deployment", "fovea-operator")["spec"]
    assert single["strategy"] == {"type": "Recreate"}
    double = helm.one(helm.template({"operator": {"replicas": 2}}), "Deployment", "fovea-operator")["spec"]
    assert double["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "100%"}
    assert double["progressDeadlineSeconds"] == 2**31 - 1


def test_no_disruption_budget_stands_in_the_way_of_draining_a_node() -> None:
    kinds = {item["kind"] for item in helm.template({"operator": {"replicas": 2}})}
    assert "PodDisruptionBudget" not in kinds


def test_what_the_installer_applies_fits_a_config_map_and_the_release_fits_a_secret(
    default_manifests: Manifests,
) -> None:
    data = helm.one(default_manifests, "ConfigMap")["data"]
    assert sum(len(text) for text in data.values()) < 512 * 1024  # the limit is 1 MiB
    # A release holds the chart's files and the rendered manifests, compressed, and twice in base64.
    files = "".join(path.read_text() for path in helm.CHART.rglob("*") if path.is_file())
    release = gzip.compress((files + json.dumps(default_manifests)).encode())
    assert len(release) * 16 / 9 < 512 * 1024


def test_machine_types_of_the_values_are_valid_and_one_is_the_default(default_manifests: Manifests) -> None:
    text = helm.one(default_manifests, "ConfigMap")["data"]["machine-types.yaml"]
    types = [MachineType.model_validate(item) for item in yaml.safe_load_all(text) if item]
    assert {item.metadata.name for item in types} == helm.MACHINE_TYPES
    assert [item.metadata.name for item in types if item.spec.default] == ["standard"]


def test_a_machine_type_set_to_null_is_left_out() -> None:
    manifests = helm.template({"machineTypes": dict.fromkeys(helm.MACHINE_TYPES - {"standard"})})
    text = helm.one(manifests, "ConfigMap")["data"]["machine-types.yaml"]
    assert [item["metadata"]["name"] for item in yaml.safe_load_all(text) if item] == ["standard"]


@pytest.mark.parametrize(
    ("given", "rendered"),
    [(2, "2"), (0.5, "0.5"), (64 * 2**30, str(64 * 2**30)), ("64Gi", "64Gi"), ("2", "2")],
)
def test_quantities_of_machine_types_reach_their_kind_as_text(given: object, rendered: str) -> None:
    fields = ("cpu", "cpuLimit", "memory", "ephemeralStorage", "sharedMemory")
    manifests = helm.template({"machineTypes": {"any": dict.fromkeys(fields, given)}})
    types = yaml.safe_load_all(helm.one(manifests, "ConfigMap")["data"]["machine-types.yaml"])
    (spec,) = [item["spec"] for item in types if item and item["metadata"]["name"] == "any"]
    assert spec == dict.fromkeys(fields, rendered)


def test_the_embedded_store_is_named_and_labelled_as_clients_know_it(default_manifests: Manifests) -> None:
    service = helm.one(default_manifests, "Service", "fovea-object-store")["metadata"]
    stateful_set = helm.one(default_manifests, "StatefulSet")
    assert labels.is_embedded_store(service["labels"])
    assert names.object_store_pod(service["name"]) == f"{stateful_set['metadata']['name']}-0"
    assert stateful_set["spec"]["replicas"] == 1
    assert not labels.is_embedded_store(helm.one(default_manifests, "Service", "fovea-operator")["metadata"]["labels"])


def test_every_crd_and_policy_of_the_folder_is_installed_and_may_be(default_manifests: Manifests) -> None:
    data = helm.one(default_manifests, "ConfigMap")["data"]
    rules = helm.one(default_manifests, "ClusterRole", "fovea-installer")["rules"]
    may = {(rule["apiGroups"][0], name) for rule in rules for name in rule.get("resourceNames", ())}
    source = [
        item for path in sorted((helm.ROOT / "crds").glob("*.yaml")) for item in yaml.safe_load_all(path.read_text())
    ]
    applied = [item for name, text in data.items() if name != "machine-types.yaml" for item in yaml.safe_load_all(text)]
    assert sorted(json.dumps(item) for item in applied) == sorted(json.dumps(item) for item in source)
    assert may == {(item["apiVersion"].rpartition("/")[0], item["metadata"]["name"]) for item in source}


def test_without_an_endpoint_an_external_store_is_refused_in_words_that_help() -> None:
    with pytest.raises(helm.HelmFailed, match=r"objectStore\.external\.endpoint is not set"):
        helm.template({"objectStore": {"embedded": {"enabled": False}}})


def test_nothing_of_the_release_needs_more_than_the_release_to_be_removed(default_manifests: Manifests) -> None:
    assert not [item for item in default_manifests if item["metadata"].get("finalizers")]
    for hook in filter(helm.is_hook, default_manifests):
        assert hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_settings_and_shared_prefixes_reach_their_programs_byte_for_byte() -> None:
    text = "a$$b/$(HOME)/$(FOVEA_OPERATOR_NAMESPACE)$"
    manifests = helm.template({"serving": {"command": [text]}, "objectStore": {"sharedPrefixes": [text]}})
    operator = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    variables = kubelet_expansion.environment(operator)
    assert variables["FOVEA_OPERATOR_SERVER_COMMAND"] == text
    for kind, name in (("Job", "fovea-provision"), ("Deployment", "fovea-namespace-keys")):
        container = helm.one(manifests, kind, name)["spec"]["template"]["spec"]["containers"][0]
        assert f"--shared-prefix={text}" in kubelet_expansion.command_line(container)


def test_the_volume_of_the_cache_of_models_reaches_the_operator_whole() -> None:
    volume = {"hostPath": {"path": "/var/cache/fovea", "type": "DirectoryOrCreate"}}
    rendered = helm.template({"serving": {"modelCache": {"volume": volume, "size": "5Gi"}}})
    settings = Settings.from_environment(operator_environment(rendered))
    assert (json.loads(settings.model_cache_volume), settings.model_cache_size) == (volume, "5Gi")


def test_agents_get_the_resources_of_the_values() -> None:
    values = {"agent": {"cpu": 0.1, "cpuLimit": 1, "memory": "1Gi", "memoryLimit": 2147483648}}
    operator = helm.one(helm.template(values), "Deployment", "fovea-operator")
    variables = kubelet_expansion.environment(operator["spec"]["template"]["spec"]["containers"][0])
    settings = Settings.from_environment(variables)
    found = (settings.agent_cpu, settings.agent_cpu_limit, settings.agent_memory, settings.agent_memory_limit)
    assert found == ("0.1", "1", "1Gi", "2147483648")


@pytest.mark.parametrize(("value", "expected"), [(None, None), (0, 0), (604800, 604800), (315360000, 315360000)])
def test_how_long_ended_jobs_are_kept_reaches_the_operator(value: int | None, expected: int | None) -> None:
    manifests = helm.template({"training": {"ttlSecondsAfterFinished": value}})
    operator = helm.one(manifests, "Deployment", "fovea-operator")["spec"]["template"]["spec"]["containers"][0]
    assert Settings.from_environment(kubelet_expansion.environment(operator)).ttl_seconds == expected


def test_a_machine_types_pod_fields_reach_its_kind() -> None:
    given = {
        "cpu": "1",
        "memory": "1Gi",
        "agent": {"cpu": 0.5, "cpuLimit": 2, "memory": 1073741824},
        "podLabels": {"cost-center": "42"},
        "podAnnotations": {"example.com/a": "b"},
        "runtimeClassName": "gvisor",
        "priorityClassName": "high",
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}},
    }
    made = helm.one(helm.template({"machineTypes": {"mine": given}}), "ConfigMap", "fovea-installer")
    types = {
        item["metadata"]["name"]: item["spec"]
        for item in yaml.safe_load_all(made["data"]["machine-types.yaml"])
        if item
    }
    wanted = given | {"agent": {"cpu": "0.5", "cpuLimit": "2", "memory": "1073741824"}}
    assert types["mine"] == wanted
    assert MachineTypeSpec.model_validate(wanted).dump().items() >= wanted.items()
