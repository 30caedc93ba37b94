"""Labels, annotations, account, place and agents' resources of the pods, and what of them reaches Services."""

from typing import Any

import pytest
from fovea_api.contract import labels, names
from fovea_api.v1alpha1 import MachineType, ModelDeployment, TrainingJob
from fovea_operator.desired import pod_options
from fovea_operator.desired.deployment import revision, version_deployment
from fovea_operator.desired.members import Member
from fovea_operator.desired.pod import Sources, training_pod
from fovea_operator.desired.service import service
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.settings import Settings
from support.observations import SETTINGS, at, job, machine, version
from support.serving_observations import model_deployment, served_by, service_at, serving, workload, written

TOOLS = {
    "app.kubernetes.io/instance": "shop",
    "argocd.argoproj.io/instance": "shop",
    "kustomize.toolkit.fluxcd.io/name": "shop",
    "kueue.x-k8s.io/queue-name": "q",
    "fovea.dev/training-job": "other",
    "applyset.kubernetes.io/part-of": "applyset-x",
    "objectset.rio.cattle.io/hash": "x",
    "fleet.cattle.io/bundle-name": "b",
    "kapp.k14s.io/app": "1",
    "kluctl.io/discriminator": "d",
    "app.oam.dev/name": "a",
    "configmanagement.gke.io/managed": "enabled",
}


def pod_of(made: TrainingJob, of: MachineType | None = None, settings: Settings = SETTINGS) -> dict[str, Any]:
    return training_pod(made, Member(), 0, of or machine(), Sources(), settings)


def template_of(made: ModelDeployment, of: MachineType | None = None) -> dict[str, Any]:
    manifest = version_deployment(made, version(3), revision(made, version(3)), of or machine(), SETTINGS)
    template: dict[str, Any] = manifest["spec"]["template"]
    return template


def labelled(own: dict[str, str], **spec: Any) -> ModelDeployment:
    made = model_deployment(**spec)
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"labels": own})})


def test_labels_of_the_object_reach_its_pods_but_for_those_by_which_tools_keep_their_books() -> None:
    own = {"team": "vision", "example.com/cost-center": "42"}
    pods = [
        pod_of(job(metadata={"labels": own | TOOLS})),
        template_of(labelled(own | TOOLS)),
        service(labelled(own | TOOLS), 3, "r"),
    ]
    bare = [pod_of(job()), template_of(model_deployment()), service(model_deployment(), 3, "r")]
    for found, plain in zip(pods, bare, strict=True):
        assert found["metadata"]["labels"] == plain["metadata"]["labels"] | own


def test_foveas_labels_win_over_the_machine_types_those_over_the_pods_and_those_over_the_objects() -> None:
    of = machine(podLabels={"a": "machine", "b": "machine"}, podAnnotations={"x": "machine"})
    own = {"a": "object", "b": "object", "c": "object", "d": "object"}
    options = {"labels": {"a": "pod", "c": "pod"}, "annotations": {"x": "pod", "y": "pod"}}
    wanted = {"a": "machine", "b": "machine", "c": "pod", "d": "object"}
    for found in (pod_of(job(metadata={"labels": own}, pod=options), of), template_of(labelled(own, pod=options), of)):
        assert found["metadata"]["labels"].items() >= wanted.items()
        assert found["metadata"]["labels"][labels.MANAGED_BY] == labels.MANAGED_BY_VALUE
        annotations = found["metadata"]["annotations"]
        assert annotations.items() >= {"x": "machine", "y": "pod"}.items()
        assert len(annotations) == 3, "and Fovea's own"


def test_the_machine_types_runtime_and_priority_hold_whatever_a_job_says() -> None:
    of = machine(runtimeClassName="gvisor", priorityClassName="platform")
    for spec in (
        pod_of(job(pod={"priorityClassName": "mine"}), of)["spec"],
        template_of(model_deployment(), of)["spec"],
    ):
        assert (spec["runtimeClassName"], spec["priorityClassName"]) == ("gvisor", "platform")
    assert pod_of(job(pod={"priorityClassName": "mine"}))["spec"]["priorityClassName"] == "mine"
    assert (
        not {"runtimeClassName", "priorityClassName", "affinity", "serviceAccountName"} & pod_of(job())["spec"].keys()
    )


@pytest.mark.parametrize(("mount", "has"), [(None, True), (True, True), (False, False)])
def test_the_token_of_a_named_account_reaches_the_program_and_no_agent(mount: bool | None, has: bool) -> None:
    options: dict[str, Any] = {"serviceAccountName": "reader"}
    if mount is not None:
        options["automountServiceAccountToken"] = mount
    for spec in (pod_of(job(pod=options))["spec"], template_of(model_deployment(pod=options))["spec"]):
        assert spec["serviceAccountName"] == "reader"
        assert spec["automountServiceAccountToken"] is False, "Kubernetes would mount it into every container"
        holders = {
            container["name"]
            for container in [*spec["initContainers"], *spec["containers"]]
            if any("serviceaccount" in item["mountPath"] for item in container["volumeMounts"])
        }
        assert holders == ({spec["containers"][0]["name"]} if has else set())


NODE = {"key": "zone", "operator": "In", "values": ["a"]}
DISK = {"key": "disk", "operator": "Exists"}
ARCH = {"key": "arch", "operator": "NotIn", "values": ["arm64"]}


def required(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": term} for term in terms]
            }
        }
    }


def test_terms_with_fields_of_nodes_are_kept_and_joined() -> None:
    field = {"key": "metadata.name", "operator": "NotIn", "values": ["node-7"]}

    def fields(*terms: dict[str, Any]) -> dict[str, Any]:
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}

    alone = fields({"matchFields": [field]})
    assert pod_of(job(pod={"affinity": alone}))["spec"]["affinity"] == alone
    of = machine(affinity=required([NODE], [DISK]))
    mixed = fields({"matchFields": [field], "matchExpressions": [ARCH]}, {"matchFields": [field]})
    assert pod_of(job(pod={"affinity": mixed}), of)["spec"]["affinity"] == fields(
        {"matchExpressions": [NODE, ARCH], "matchFields": [field]},
        {"matchExpressions": [NODE], "matchFields": [field]},
        {"matchExpressions": [DISK, ARCH], "matchFields": [field]},
        {"matchExpressions": [DISK], "matchFields": [field]},
    )


def test_keys_of_labels_in_which_other_pods_are_like_or_unlike_are_kept() -> None:
    term = {
        "topologyKey": "zone",
        "labelSelector": {"matchLabels": {"app": "a"}},
        "matchLabelKeys": ["pod-template-hash"],
        "mismatchLabelKeys": ["team"],
    }
    wanted = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert pod_of(job(pod={"affinity": wanted}))["spec"]["affinity"] == wanted


def spread(key: str) -> dict[str, Any]:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key}]}}


def test_both_affinities_hold_that_of_the_machine_type_and_that_of_the_job() -> None:
    of = machine(affinity=required([NODE], [DISK]) | spread("zone"))
    found = pod_of(job(pod={"affinity": required([ARCH]) | spread("host")}), of)["spec"]["affinity"]
    assert found["nodeAffinity"] == required([NODE, ARCH], [DISK, ARCH])["nodeAffinity"]
    terms = found["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [term["topologyKey"] for term in terms] == ["zone", "host"]
    assert pod_options.both_affinities(None, None) == {}
    alone = pod_of(job(pod={"affinity": required([ARCH])}))["spec"]["affinity"]
    assert alone == required([ARCH])


def test_a_change_of_spec_pod_is_rolled_out_and_one_of_labels_or_of_nothing_is_not() -> None:
    before = revision(model_deployment(), version(3))
    assert revision(model_deployment(pod={"priorityClassName": "high"}), version(3)) != before
    assert revision(labelled({"team": "vision"}), version(3)) == before
    assert revision(model_deployment(pod={}), version(3)) == before


@pytest.mark.parametrize(
    ("agent", "settings", "wanted"),
    [
        (None, {}, ("50m", None, "128Mi", "512Mi")),
        (None, {"agent_cpu": "1", "agent_cpu_limit": "2"}, ("1", "2", "128Mi", "512Mi")),
        (None, {"agent_memory": "64Mi", "agent_memory_limit": "1Gi"}, ("50m", None, "64Mi", "1Gi")),
        ({"cpu": "4"}, {"agent_cpu_limit": "500m"}, ("4", "4", "128Mi", "512Mi")),
        ({"cpuLimit": "500m"}, {}, ("50m", "500m", "128Mi", "512Mi")),
        ({"cpuLimit": "500m"}, {"agent_cpu": "1"}, ("1", "1", "128Mi", "512Mi")),
        ({"memory": "2Gi"}, {}, ("50m", None, "2Gi", "2Gi")),
        (None, {"agent_cpu_limit": "0"}, ("50m", None, "128Mi", "512Mi")),
        (None, {"agent_cpu": "1", "agent_cpu_limit": "0m"}, ("1", None, "128Mi", "512Mi")),
        ({"cpuLimit": "0"}, {"agent_cpu_limit": "2"}, ("50m", None, "128Mi", "512Mi")),
    ],
)
def test_agents_get_what_the_machine_type_says_and_else_what_the_platform_says(
    agent: dict[str, str] | None, settings: dict[str, str], wanted: tuple[str, str | None, str, str]
) -> None:
    of = machine(**({"agent": agent} if agent else {}))
    chosen = Settings(**settings)  # type: ignore[arg-type]
    served = version_deployment(model_deployment(), version(3), "r", of, chosen)["spec"]["template"]["spec"]
    agents = [*pod_of(job(cache={"name": "a"}), of, chosen)["spec"]["initContainers"], *served["initContainers"]]
    assert [item["name"] for item in agents] == [
        names.FETCH_CONTAINER,
        names.SYNC_CONTAINER,
        names.FETCH_MODEL_CONTAINER,
    ]
    for container in agents:
        found = container["resources"]
        cpu, memory = found["requests"]["cpu"], found["requests"]["memory"]
        assert (cpu, found["limits"].get("cpu"), memory, found["limits"]["memory"]) == wanted


BALANCER = {
    "type": "LoadBalancer",
    "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"},
    "loadBalancerClass": "example.com/internal",
    "loadBalancerSourceRanges": ["10.0.0.0/8"],
}


def test_a_load_balancer_gets_its_annotations_class_and_ranges() -> None:
    made = service(model_deployment(service=BALANCER), 3, "r")
    assert made["metadata"]["annotations"].items() >= BALANCER["annotations"].items()  # type: ignore[attr-defined]
    assert {key: made["spec"][key] for key in BALANCER if key != "annotations"} == {
        key: value for key, value in BALANCER.items() if key != "annotations"
    }


def applied_services(of: ModelDeployment, seen: ModelDeployment, **changed: Any) -> list[dict[str, Any]]:
    """What is applied for `of`, whose Service was made for `seen`."""
    name = f"digits-v3-{revision(of, version(3))}"
    status = served_by(name)
    of = of.model_copy(update={"status": model_deployment(status).status})
    record = service_at(name, type_=seen.spec.service.type, of=seen)
    for field, value in changed.items():
        record = record.__class__(**{**record.__dict__, field: value})
    decision = decide_model_deployment(
        serving(of, version(3), workloads=(workload(name, ready=1),), service=record), at(10), SETTINGS
    )
    return [child.manifest for child in decision.children if child.manifest["kind"] == "Service"]


def test_a_service_is_applied_when_what_is_said_of_it_changed_and_only_then() -> None:
    full = labelled({"team": "vision"}, service=BALANCER)
    assert applied_services(full, full) == []
    without = {key: value for key, value in BALANCER.items() if key != "annotations"}
    open_ = {key: value for key, value in BALANCER.items() if key != "loadBalancerSourceRanges"}
    for of in (
        labelled({}, service=BALANCER),
        labelled({"team": "speech"}, service=BALANCER),
        labelled({"team": "vision"}, service=without),
        labelled({"team": "vision"}, service=open_),
        labelled({"team": "vision"}, service=BALANCER | {"loadBalancerSourceRanges": ["10.1.0.0/16"]}),
    ):
        assert len(applied_services(of, full)) == 1, of
    bare = model_deployment()
    assert len(applied_services(bare, labelled({"team": "vision"}))) == 1, "a label that was removed goes"


def test_what_others_wrote_on_a_service_stays_and_what_they_changed_of_ours_is_put_right() -> None:
    plain = model_deployment()
    assert applied_services(plain, plain, annotations={"cloud.example.com/id": "lb-1"}) == []
    assert applied_services(plain, plain, balancer={"loadBalancerClass": "set-by-a-webhook"}) == []
    full = labelled({"team": "vision"}, service=BALANCER)
    mine = service(full, 3, "r")["metadata"]["annotations"]
    assert applied_services(full, full, annotations=mine | {"cloud.example.com/id": "lb-1"}) == []
    edited = mine | {"service.beta.kubernetes.io/aws-load-balancer-scheme": "public"}
    assert len(applied_services(full, full, annotations=edited)) == 1


def test_the_status_of_a_deployment_keeps_its_labels_out() -> None:
    decision = decide_model_deployment(serving(labelled({"team": "vision"}), version(3)), at(0), SETTINGS)
    assert "team" not in str(written(model_deployment(), decision).status.dump())
