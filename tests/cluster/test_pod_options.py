"""What users and the platform say of pods and Services, on a real API server: refused with a sentence, or it reaches them."""

from collections.abc import Callable
from typing import Any

import pytest
from fovea_api.v1alpha1 import API_VERSION, MachineType, ModelDeployment, TrainingJob
from fovea_dev.api import ApiError
from fovea_operator.cluster import records
from fovea_operator.desired.deployment import revision, version_deployment
from fovea_operator.desired.members import Member
from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.desired.service import service
from fovea_operator.settings import Settings
from support.kube_apiserver import Cluster, machine_type, path_of
from support.observations import version

TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
FIELDS = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-7.example.com"]}]}
NODES = {
    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM, FIELDS, TERM | FIELDS]},
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": TERM}],
}
POD_TERM = {
    "topologyKey": "kubernetes.io/hostname",
    "namespaces": ["other"],
    "namespaceSelector": {"matchLabels": {"team": "vision"}},
    "matchLabelKeys": ["team"],
    "mismatchLabelKeys": ["purpose"],
    "labelSelector": {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]},
}
NEAR = {
    "requiredDuringSchedulingIgnoredDuringExecution": [POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": POD_TERM}],
}
AFFINITY = {"nodeAffinity": NODES, "podAffinity": NEAR, "podAntiAffinity": NEAR}
PRIORITY = "of-the-test-of-pod-options"
OPTIONS = {
    "labels": {"team": "vision", "azure.workload.identity/use": "true"},
    "annotations": {"sidecar.istio.io/inject": "false", "note": "é 🤗 $(HOME)"},
    "serviceAccountName": "reader",
    "priorityClassName": PRIORITY,
    "affinity": AFFINITY,
}
OF_MACHINE = {
    "podLabels": {"cost-center": "42"},
    "podAnnotations": {"example.com/pool": "gpu"},
    "affinity": AFFINITY,
    "agent": {"cpu": "100m", "cpuLimit": 1, "memory": "1Gi"},
}
SERVICE = {
    "type": "LoadBalancer",
    "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"},
    "loadBalancerClass": "example.com/internal",
    "loadBalancerSourceRanges": ["10.0.0.0/8"],
}


def job(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "labels": {"team": "speech", "purpose": "test"}},
        "spec": {"trainer": {"recipe": "image-classifier"}, **spec},
    }


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": {"name": "digits", "labels": {"purpose": "test"}},
        "spec": {"model": "digits", **spec},
    }


def post(cluster: Cluster, manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["metadata"].setdefault("namespace", cluster.namespace)
    return cluster.api.request("POST", f"{path_of(manifest, name=False)}?fieldValidation=Strict", manifest)


@pytest.fixture
def restricted(cluster: Cluster) -> Cluster:
    """A namespace that admits restricted pods only, with an account; and a PriorityClass."""
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY},
        "value": 7,
    }
    if PRIORITY not in {one["metadata"]["name"] for one in cluster.api.request("GET", classes)["items"]}:
        cluster.api.request("POST", classes, priority)
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    cluster.api.request("PATCH", f"/api/v1/namespaces/{cluster.namespace}", enforced, "application/merge-patch+json")
    cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}})
    return cluster


def of_machine(cluster: Cluster, **spec: Any) -> MachineType:
    manifest = machine_type(cluster.namespace, **spec)
    made = cluster.api.request("POST", f"{path_of(manifest, name=False)}?fieldValidation=Strict", manifest)
    return records.machine_type(made)


def trained(cluster: Cluster, machine: MachineType, settings: Settings, **spec: Any) -> dict[str, Any]:
    made: TrainingJob = records.job(post(cluster, job(**spec)))
    return post(cluster, training_pod(made, Member(), 0, machine, Sources(), settings))


def test_what_is_said_of_pods_reaches_them_and_they_are_restricted(restricted: Cluster) -> None:
    machine = of_machine(restricted, **OF_MACHINE)
    pod = trained(restricted, machine, Settings(report_url="http://operator"), pod=OPTIONS)
    made: ModelDeployment = records.model_deployment(post(restricted, deployment(pod=OPTIONS, service=SERVICE)))
    manifest = version_deployment(made, version(1), revision(made, version(1)), machine, Settings())
    manifest["metadata"]["namespace"] = restricted.namespace
    template = post(restricted, manifest)["spec"]["template"]
    server = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "server"}}
    for found in (pod, post(restricted, server)):
        assert found["metadata"]["labels"].items() >= {"team": "vision", "purpose": "test", "cost-center": "42"}.items()
        annotations = {"sidecar.istio.io/inject": "false", "note": "é 🤗 $(HOME)", "example.com/pool": "gpu"}
        assert found["metadata"]["annotations"].items() >= annotations.items()
        assert found["spec"]["serviceAccountName"] == "reader"
        assert found["spec"]["priorityClassName"] == PRIORITY
        assert found["spec"]["affinity"].keys() == AFFINITY.keys()
        for container in found["spec"]["initContainers"]:
            assert container["resources"] == {
                "requests": {"cpu": "100m", "memory": "1Gi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            }
            assert not [m for m in container["volumeMounts"] if "serviceaccount" in m["mountPath"]]
        assert [m for m in found["spec"]["containers"][0]["volumeMounts"] if "serviceaccount" in m["mountPath"]]


def test_a_load_balancer_is_made_as_it_was_described_and_loses_what_is_taken_away(cluster: Cluster) -> None:
    made = post(cluster, deployment(service=SERVICE))
    of = records.model_deployment(made)
    manifest = service(of, 1, "r")
    query = f"{path_of(manifest)}?fieldManager=fovea-operator&force=true"
    found = cluster.api.request("PATCH", query, manifest, "application/apply-patch+yaml")
    assert found["spec"]["loadBalancerClass"] == "example.com/internal"
    assert found["metadata"]["annotations"].items() >= SERVICE["annotations"].items()  # type: ignore[attr-defined]
    cluster.patch("ModelDeployment", "digits", {"spec": {"service": {"annotations": None}}})
    less = cluster.patch("ModelDeployment", "digits", {"spec": {"service": {"loadBalancerSourceRanges": None}}})
    manifest = service(records.model_deployment(less), 1, "r")
    found = cluster.api.request("PATCH", query, manifest, "application/apply-patch+yaml")
    assert not found["metadata"]["annotations"].keys() & SERVICE["annotations"].keys()  # type: ignore[attr-defined]
    assert "loadBalancerSourceRanges" not in found["spec"]


def quota(cluster: Cluster) -> None:
    """A quota on limits; no controller runs here, so its status is written as the controller would."""
    hard = {"requests.cpu": "20", "limits.cpu": "20", "limits.memory": "64Gi"}
    cluster.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}})
    cluster.patch("ResourceQuota", "team", {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}, "status")


def test_a_quota_on_cpu_limits_is_met_by_machine_types_and_agents_with_limits(cluster: Cluster) -> None:
    quota(cluster)
    with pytest.raises(ApiError, match=r"must specify limits\.cpu for: fovea-sync"):
        trained(cluster, of_machine(cluster, cpuLimit="1"), Settings())
    cluster.delete("TrainingJob", "digits")
    platform = Settings(agent_cpu_limit="500m")
    machine = records.machine_type(machine_type("limited", cpuLimit="1"))
    assert trained(cluster, machine, platform)["metadata"]["uid"]
    made: ModelDeployment = records.model_deployment(post(cluster, deployment()))
    template = version_deployment(made, version(1), "r", machine, platform)["spec"]["template"]
    server = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "server"}}
    assert post(cluster, server)["metadata"]["uid"]


RESERVED = "keys of fovea.dev, app.kubernetes.io/managed-by and app.kubernetes.io/component are set by Fovea"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (job(pod={"labels": {"fovea.dev/training-job": "x"}}), RESERVED),
        (job(pod={"annotations": {"fovea.dev/x": "x"}}), RESERVED),
        (deployment(pod={"labels": {"app.kubernetes.io/managed-by": "x"}}), RESERVED),
        (deployment(service={"annotations": {"fovea.dev/passed-on": "x"}}), RESERVED),
        (job(pod={"labels": {"a b": "x"}}), "names in labels have at most 317 characters"),
        (job(pod={"automountServiceAccountToken": True}), "automountServiceAccountToken goes with serviceAccountName"),
        (
            job(pod={"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}}}),
            "operators Exists and DoesNotExist have no values, all others need some",
        ),
        (job(pod={"priorityClassName": "system-node-critical"}), "priority classes of the system (system-*) are not for jobs"),
        (deployment(pod={"priorityClassName": "system-x"}), "priority classes of the system (system-*) are not for jobs"),
        (
            job(pod={"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{}]}}}}),
            "a term without matchExpressions and matchFields finds no node",
        ),
        (
            job(pod={"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "matchLabelKeys": ["a"]}]}}}),
            "matchLabelKeys and mismatchLabelKeys go with labelSelector",
        ),
        (
            job(pod={"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"]}]}}}),
            "a key is either in matchLabelKeys or in mismatchLabelKeys",
        ),
        (deployment(service={"loadBalancerClass": "a/b"}), "service.loadBalancerClass goes with service.type LoadBalancer"),
        (deployment(service={"loadBalancerSourceRanges": ["::/0"]}), "goes with service.type LoadBalancer only"),
        (
            deployment(rollout={"strategy": "Canary", "steps": [{"weight": 50}, {"weight": 10}]}),
            "the weights of rollout.steps must not decrease",
        ),
        (deployment(rollout={"strategy": "Canary", "steps": [{"weight": 100}]}), "should be less than or equal to 99"),
        (deployment(rollout={"steps": [{"weight": 10}]}), "rollout.steps goes with rollout.strategy Canary only"),
        (
            deployment(rollout={"strategy": "Canary", "steps": [{"weight": 0}]}),
            "a step of weight 0 compares mirrored requests: set rollout.mirror",
        ),
        (deployment(rollout={"mirror": {}}), "rollout.mirror goes with rollout.strategy Canary only"),
        (
            deployment(rollout={"strategy": "Canary", "analysis": {"maxDrift": 0.1}}),
            "rollout.analysis.maxDrift compares mirrored requests: set rollout.mirror",
        ),
        (
            deployment(rollout={"strategy": "Canary", "mirror": {}, "analysis": {"maxDrift": 0.1, "minRequests": 0}}),
            "set rollout.analysis.minRequests to at least 1",
        ),
        (deployment(rollout={"analysis": {}}), "rollout.analysis judges nothing here: set strategy: Canary"),
        (
            deployment(rollout={"strategy": "Recreate", "bakeSeconds": 10}),
            "rollout.bakeSeconds does not go with rollout.strategy Recreate",
        ),
        (machine_type("wrong", agent={"cpu": 2, "cpuLimit": "1500m"}), "agent.cpuLimit is smaller than the request"),
        (machine_type("wrong", agent={"memory": 512}), "memory is less than 1Mi: a number without a unit is bytes"),
        (machine_type("wrong", podLabels={"fovea.dev/x": "x"}), RESERVED),
    ],
)  # fmt: skip
def test_what_could_never_be_is_refused_with_a_sentence(cluster: Cluster, manifest: dict[str, Any], said: str) -> None:
    if manifest["kind"] != "MachineType":
        manifest = {**manifest, "metadata": {**manifest["metadata"], "namespace": cluster.namespace}}
    with pytest.raises(ApiError) as refused:
        cluster.api.request("POST", f"{path_of(manifest, name=False)}?fieldValidation=Strict", manifest)
    assert said in str(refused.value)


def test_the_pods_of_a_job_are_fixed_and_those_of_a_deployment_are_not(cluster: Cluster) -> None:
    post(cluster, job(pod=OPTIONS))
    with pytest.raises(ApiError, match=r"spec\.pod is immutable: submit a new job instead"):
        cluster.patch("TrainingJob", "digits", {"spec": {"pod": {"labels": {"team": "speech"}}}})
    cluster.patch("TrainingJob", "digits", {"metadata": {"labels": {"team": "vision"}}})
    post(cluster, deployment(service=SERVICE))
    cluster.patch("ModelDeployment", "digits", {"spec": {"pod": OPTIONS}})
    with pytest.raises(ApiError, match=r"loadBalancerClass never changes while the type is LoadBalancer"):
        cluster.patch("ModelDeployment", "digits", {"spec": {"service": {"loadBalancerClass": "example.com/other"}}})
    away = {"type": "ClusterIP", "loadBalancerClass": None, "loadBalancerSourceRanges": None}
    cluster.patch("ModelDeployment", "digits", {"spec": {"service": away}})


def fields_of(schema: dict[str, Any], resolve: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Names of a schema's fields with those below them."""
    while "$ref" in schema or "allOf" in schema:
        schema = schema["allOf"][0] if "allOf" in schema else resolve(schema["$ref"].rpartition("/")[2])
    if "items" in schema:
        return fields_of(schema["items"], resolve)
    return {name: fields_of(of, resolve) for name, of in (schema.get("properties") or {}).items()}


def test_an_affinity_has_all_the_fields_that_kubernetes_gives_it(cluster: Cluster) -> None:
    theirs = cluster.api.request("GET", "/openapi/v3/api/v1")["components"]["schemas"]
    ours = cluster.api.request("GET", f"/openapi/v3/apis/{API_VERSION}")["components"]["schemas"]
    spec = ours["dev.fovea.v1alpha1.TrainingJob"]["properties"]["spec"]["properties"]
    wanted = fields_of(theirs["io.k8s.api.core.v1.Affinity"], theirs.__getitem__)
    assert fields_of(spec["pod"]["properties"]["affinity"], ours.__getitem__) == wanted
