"""The chart on a real API server: Helm makes the release, the tests carry out the installer's hook with its own rights alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fovea_api.contract import names
from fovea_api.v1alpha1 import API_VERSION, KINDS
from fovea_dev.apiserver import ApiServer
from support import helm
from support.batch_workers import prediction
from support.jobs import place_of, pod_name, training_job
from support.kube_apiserver import Cluster, make_namespace
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess

TEAM = "vision"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MACHINE_TYPES = f"/apis/{API_VERSION}/machinetypes"
VALUES = {"objectStore": {"namespaces": [TEAM]}}


class Chart:
    """The chart and one API server."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def kubectl(
        self, *arguments: str, manifests: list[helm.Manifest] | None = None, kubeconfig: Path | None = None
    ) -> Any:
        """Run kubectl; the finished process."""
        program = self.server.plane.program("kubectl")
        return subprocess.run(
            [str(program), *arguments],
            env={**os.environ, "KUBECONFIG": str(kubeconfig or self.server.kubeconfig)},
            input=yaml.safe_dump_all(manifests or []),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def apply(self, manifests: list[helm.Manifest], *arguments: str, kubeconfig: Path | None = None) -> None:
        """Server-side apply with strict validation; fails with what kubectl said."""
        command = ("apply", "--server-side", "--validate=strict", *arguments, "-f", "-")
        done = self.kubectl(*command, manifests=manifests, kubeconfig=kubeconfig)
        assert done.returncode == 0, done.stderr

    def namespace(self, name: str, **label: str) -> None:
        """Make a namespace."""
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}}])

    def hook(self, manifests: list[helm.Manifest], account: str) -> Path:
        """Make a hook's ServiceAccount and rights; a kubeconfig that has nothing else."""
        kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
        self.apply([item for item in manifests if item["kind"] in kinds and item["metadata"]["name"] == account])
        return self.server.service_account_kubeconfig(helm.NAMESPACE, account)

    def install_crds(self, values: dict[str, Any] | None = None, kubeconfig: Path | None = None) -> Any:
        """What the hook's Job does; the finished process."""
        manifests = helm.template({**VALUES, **(values or {})})
        account = kubeconfig or self.hook(manifests, "fovea-installer")
        return run_installer(manifests, self.folder, account)


def run_installer(manifests: list[helm.Manifest], folder: Path, kubeconfig: Path) -> Any:
    """Run the command of the installer's Job on the files of its ConfigMap."""
    mounted = folder / "manifests"
    mounted.mkdir(exist_ok=True)
    for name, text in helm.one(manifests, "ConfigMap", "fovea-installer")["data"].items():
        (mounted / name).write_text(text)
    container = helm.one(manifests, "Job", "fovea-installer")["spec"]["template"]["spec"]["containers"][0]
    words = [word.replace("/manifests", str(mounted)) for word in (*container["command"], *container["args"])]
    assert words[0] == "python"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    return subprocess.run(
        [sys.executable, *words[1:]], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def chart(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Fovea, installed on a fresh API server."""
    chart = Chart(server, tmp_path_factory.mktemp("chart"))
    for name in (helm.NAMESPACE, TEAM, "speech"):
        chart.namespace(name)
    done = chart.install_crds()
    assert done.returncode == 0, done.stderr
    helm.install(server.kubeconfig, VALUES)
    return chart


def versions(chart: Chart, path: str) -> dict[str, str]:
    items = chart.server.client.get(path)["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def test_a_fresh_cluster_has_the_kinds_and_the_machine_types_after_one_run_with_the_hooks_rights_alone(
    chart: Chart,
) -> None:
    assert set(versions(chart, DEFINITIONS)) == {f"{kind.plural}.fovea.dev" for kind in KINDS}
    assert set(versions(chart, MACHINE_TYPES)) == helm.MACHINE_TYPES
    policies = versions(chart, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
    assert "trainingjob-args.fovea.dev" in policies


def test_a_run_without_changes_changes_nothing(chart: Chart) -> None:
    before = versions(chart, DEFINITIONS) | versions(chart, MACHINE_TYPES)
    assert chart.install_crds().returncode == 0
    assert versions(chart, DEFINITIONS) | versions(chart, MACHINE_TYPES) == before


def test_an_upgrade_brings_an_old_definition_up_to_date(chart: Chart) -> None:
    path = f"{DEFINITIONS}/machinetypes.fovea.dev"
    old = chart.server.client.get(path)
    spec = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["tolerations"]
    chart.server.client.request("PUT", path, old)
    assert chart.install_crds().returncode == 0
    new = chart.server.client.get(path)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert "tolerations" in new["properties"]


def test_a_machine_type_that_left_the_values_goes_and_those_of_others_stay(chart: Chart) -> None:
    own = {
        "apiVersion": API_VERSION,
        "kind": "MachineType",
        "metadata": {"name": "own"},
        "spec": {"cpu": "1", "memory": "1Gi"},
    }
    chart.apply([own])
    done = chart.install_crds({"machineTypes": {"large-model": None, "standard": {"cpu": "3"}}})
    assert done.returncode == 0, done.stderr
    assert set(versions(chart, MACHINE_TYPES)) == helm.MACHINE_TYPES - {"large-model"} | {"own"}
    assert chart.server.client.get(f"{MACHINE_TYPES}/standard")["spec"] == {
        "cpu": "3",
        "memory": "2Gi",
        "costWeight": 1,
        "default": True,
    }
    assert chart.install_crds().returncode == 0
    assert set(versions(chart, MACHINE_TYPES)) == helm.MACHINE_TYPES | {"own"}


def test_numbers_as_quantities_and_a_dotted_name_are_installed(chart: Chart) -> None:
    numbers = {"cpu": 0.5, "cpuLimit": 2, "memory": 64 * 2**30}
    done = chart.install_crds({"machineTypes": {"m5.2xlarge": numbers}})
    assert done.returncode == 0, done.stderr
    spec = chart.server.client.get(f"{MACHINE_TYPES}/m5.2xlarge")["spec"]
    assert (spec["cpu"], spec["cpuLimit"], spec["memory"]) == ("0.5", "2", str(64 * 2**30))
    assert chart.install_crds().returncode == 0


def test_an_installer_without_rights_says_what_it_may_not(chart: Chart) -> None:
    powerless = chart.server.user_kubeconfig("nobody")
    done = chart.install_crds(kubeconfig=powerless)
    assert done.returncode == 1
    assert "CustomResourceDefinition batchpredictions.fovea.dev" in done.stderr.splitlines()[-1]
    assert 'User "nobody" cannot patch resource "customresourcedefinitions"' in done.stderr


def test_an_installer_without_its_folder_says_so(chart: Chart, tmp_path: Path) -> None:
    words = ["-m", "fovea_operator.install_crds", "--directory", str(tmp_path)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"error: {tmp_path} has no *.yaml file with a CustomResourceDefinition: is the right folder mounted?",
    )


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
