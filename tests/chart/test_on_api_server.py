"""A release of the chart on a real API server: its manifests, its upgrades and its end, and what its accounts may and do."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fovea_api.contract import names
from fovea_api.v1alpha1 import API_VERSION
from fovea_dev.apiserver import ApiServer
from support import helm
from support.batch_workers import prediction
from support.installed_chart import DEFINITIONS, MACHINE_TYPES, TEAM, VALUES, Chart, versions
from support.jobs import place_of, pod_name, training_job
from support.kube_apiserver import Cluster, make_namespace
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess


@pytest.mark.parametrize("profile", ["default", "external"])
def test_every_manifest_is_taken_with_strict_validation(
    chart: Chart, profile: str, default_manifests: list[helm.Manifest], external_manifests: list[helm.Manifest]
) -> None:
    manifests = {"default": default_manifests, "external": external_manifests}[profile]
    # A ServiceMonitor's kind belongs to the Prometheus operator; a Pod's ServiceAccount is made by a controller.
    known = [item for item in manifests if item["kind"] not in ("ServiceMonitor", "Pod")]
    chart.apply(known, "--dry-run=server", "--force-conflicts")


def test_every_pod_meets_the_restricted_standard(chart: Chart, default_manifests: list[helm.Manifest]) -> None:
    chart.namespace("restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "restricted"}}
    chart.apply([account])
    templates = helm.pod_templates(default_manifests)
    assert set(templates) == {
        "Deployment/fovea-namespace-keys",
        "Deployment/fovea-operator",
        "StatefulSet/fovea-object-store",
        "Job/fovea-check-store",
        "Job/fovea-installer",
        "Job/fovea-provision",
        "Pod/fovea-ready",
    }
    for title, template in templates.items():
        spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
        spec.setdefault("restartPolicy", "Always")
        name = title.lower().replace("/", "-")
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "restricted"}, "spec": spec}
        chart.apply([pod])
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"], title
            assert container["resources"]["limits"]["memory"], title


def secret(chart: Chart) -> dict[str, str]:
    data: dict[str, str] = chart.server.client.get(
        f"/api/v1/namespaces/{helm.NAMESPACE}/secrets/fovea-object-store-root"
    )["data"]
    return data


def test_the_root_key_is_made_once_and_kept_over_upgrades_and_a_new_installation(chart: Chart) -> None:
    first = secret(chart)
    helm.install(chart.server.kubeconfig, VALUES | {"operator": {"logLevel": "debug"}})
    assert secret(chart) == first
    helm.helm("uninstall", helm.RELEASE, "-n", helm.NAMESPACE, "--no-hooks", kubeconfig=chart.server.kubeconfig)
    assert secret(chart) == first
    helm.install(chart.server.kubeconfig, VALUES)
    assert secret(chart) == first


def test_uninstalling_leaves_definitions_machine_types_and_users_objects_and_nothing_else(chart: Chart) -> None:
    job = training_job("kept")
    job["metadata"]["namespace"] = TEAM
    chart.apply([job])
    before = versions(chart, DEFINITIONS) | versions(chart, MACHINE_TYPES)
    helm.helm("uninstall", helm.RELEASE, "-n", helm.NAMESPACE, "--no-hooks", kubeconfig=chart.server.kubeconfig)
    try:
        assert chart.server.client.get(f"/apis/{API_VERSION}/namespaces/{TEAM}/trainingjobs/kept")["spec"]
        assert versions(chart, DEFINITIONS) | versions(chart, MACHINE_TYPES) == before
        left = chart.kubectl(
            *(
                "get",
                "all,serviceaccounts,configmaps,secrets,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies",
            ),
            *(
                "-A",
                "-l",
                "app.kubernetes.io/instance=fovea,app.kubernetes.io/component notin (installer)",
                "-o",
                "name",
            ),
        )
        assert left.stdout.split() == ["secret/fovea-object-store-root"]
    finally:
        helm.install(chart.server.kubeconfig, VALUES)
        chart.server.client.request("DELETE", f"/apis/{API_VERSION}/namespaces/{TEAM}/trainingjobs/kept")


def test_a_second_operator_of_the_same_namespaces_is_refused(chart: Chart) -> None:
    with pytest.raises(
        helm.HelmFailed, match=r"another operator of Fovea \(ClusterRole fovea-operator, scope cluster\)"
    ):
        helm.install(chart.server.kubeconfig, release="second", namespace="speech")


@pytest.mark.parametrize(
    ("values", "said", "last"),
    [
        (VALUES, "The embedded object store", f"fovea jobs stream-logs pictures -n {TEAM}"),
        (VALUES, "set objectStore.embedded.portForwardSubjects", f"fovea jobs stream-logs pictures -n {TEAM}"),
        ({"objectStore": {"namespaces": []}}, "No namespace has a key", "fovea jobs stream-logs pictures -n default"),
        (
            {
                "objectStore": {
                    "embedded": {"enabled": False},
                    "external": {"endpoint": "https://s3.example.com"},
                    "namespaces": ["speech"],
                }
            },
            "kubectl -n speech create secret generic fovea-object-store --from-literal=endpoint=https://s3.example.com",
            "fovea jobs stream-logs pictures -n speech",
        ),
        (
            {"operator": {"replicas": 2}},
            "One of its 2 operators leads and is ready; the others wait.",
            "fovea jobs stream-logs pictures -n default",
        ),
        (
            {"images": {"fovea": "registry.example.com/fovea:0.0.9"}},
            "Its image is registry.example.com/fovea:0.0.9. The image must be of this release",
            "fovea jobs stream-logs pictures -n default",
        ),
    ],
)
def test_the_closing_notes_say_what_is_missing_and_end_with_the_next_command(
    chart: Chart, values: dict[str, Any], said: str, last: str
) -> None:
    command = ("upgrade", helm.RELEASE, str(helm.CHART), "-n", helm.NAMESPACE, "--dry-run=server")
    notes = helm.helm(*command, values=values, kubeconfig=chart.server.kubeconfig).partition("NOTES:")[2]
    assert said in notes
    assert notes.rstrip().splitlines()[-1].strip() == last


def test_provision_reaches_the_one_secret_of_its_namespaces_only(
    chart: Chart, default_manifests: list[helm.Manifest]
) -> None:
    account = chart.hook(helm.template(VALUES), "fovea-provision")

    def write(name: str, namespace: str) -> Any:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
        command = ("apply", "--server-side", "--validate=ignore", "-f", "-")
        return chart.kubectl(*command, manifests=[manifest], kubeconfig=account).returncode

    assert write(names.OBJECT_STORE_SECRET, TEAM) == 0
    assert write(names.OBJECT_STORE_SECRET, TEAM) == 0
    assert write(names.OBJECT_STORE_SECRET, "speech") != 0
    assert write("other", TEAM) != 0


@pytest.fixture
def operator(chart: Chart, tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts an operator that has the rights of the chart's ServiceAccount and nothing else."""
    started: list[OperatorProcess] = []

    def start(**settings: Any) -> OperatorProcess:
        kubeconfig = chart.server.service_account_kubeconfig(helm.NAMESPACE, "fovea-operator")
        reached: Any = SimpleNamespace(kubeconfig=kubeconfig)
        operator = OperatorProcess(reached, tmp_path, namespace=helm.NAMESPACE, LEASE_NAME="fovea-operator", **settings)
        started.append(operator.start())
        return operator.wait_ready()

    yield start
    for one in started:
        one.kill()


def requests_of_the_operator(server: ApiServer) -> list[dict[str, Any]]:
    user = f"system:serviceaccount:{helm.NAMESPACE}:fovea-operator"
    lines = (json.loads(line) for line in server.audit_log.read_text().splitlines())
    return [line for line in lines if line["user"]["username"] == user]


@pytest.mark.parametrize("scope", ["cluster", "namespaces"])
def test_a_job_trains_is_registered_deployed_and_removed_with_the_charts_rights_alone(
    chart: Chart, operator: Callable[..., OperatorProcess], scope: str
) -> None:
    cluster = make_namespace(chart.server, "team")
    watch = (cluster.namespace,) if scope == "namespaces" else ()
    helm.install(chart.server.kubeconfig, VALUES | {"watchNamespaces": list(watch)})
    seen = len(requests_of_the_operator(chart.server))
    process = operator(watch=watch)
    live_through_a_job(cluster)
    process.stop()
    made = requests_of_the_operator(chart.server)[seen:]
    refused = [(line["verb"], line["requestURI"]) for line in made if line["responseStatus"]["code"] == 403]
    assert refused == []
    used = {
        (line["verb"], "/".join(filter(None, (line["objectRef"]["resource"], line["objectRef"].get("subresource")))))
        for line in made
        if "objectRef" in line
    }
    assert used >= {
        ("create", "pods"),
        ("create", "modelversions"),
        ("create", "modeldeployments"),
        ("create", "deployments"),
        ("create", "services"),
        ("create", "jobs"),
        ("delete", "jobs"),
        ("patch", "batchpredictions/status"),
        ("delete", "batchpredictions"),
        ("patch", "services"),
        ("patch", "trainingjobs/status"),
        ("patch", "modeldeployments/status"),
        ("delete", "trainingjobs"),
        ("create", "events"),
        ("watch", "machinetypes"),
        ("list", "nodes"),
        ("watch", "nodes"),
        ("watch", "leases"),
        ("update", "leases"),
    }
    helm.install(chart.server.kubeconfig, VALUES)


def live_through_a_job(cluster: Cluster) -> None:
    """Submit, train, register, deploy; the job goes by its TTL."""
    kubelet = Kubelet(cluster)
    cluster.create(
        training_job("digits", model={"name": "digits", "deploy": True}, runPolicy={"ttlSecondsAfterFinished": 1})
    )
    pod = pod_name("digits")
    cluster.wait("pod", lambda: cluster.get("Pod", pod))
    kubelet.bind(pod)
    kubelet.running(pod)
    kubelet.succeeded(pod)
    cluster.wait("version", lambda: cluster.list("ModelVersion"))
    deployments = cluster.wait("Deployment of the version", lambda: cluster.list("Deployment"))
    kubelet.deployment_available(deployments[0]["metadata"]["name"])
    cluster.wait("Service", lambda: cluster.get("Service", "digits"))
    cluster.wait("the job's end", lambda: cluster.get("TrainingJob", "digits") is None)
    cluster.wait("serving", lambda: place_of(cluster.get("ModelDeployment", "digits"), "stable"))
    cluster.create(prediction("scores", runPolicy={"ttlSecondsAfterFinished": 1}))
    cluster.wait("the Job of the prediction", lambda: cluster.list("Job"))
    cluster.patch("BatchPrediction", "scores", {"spec": {"cancel": True}})
    cluster.wait("the prediction's end", lambda: cluster.get("BatchPrediction", "scores") is None)
    assert cluster.list("Job") == []
