"""The installer's hook on a real API server, with its own rights alone: what it makes, brings up to date, takes away and refuses."""

import subprocess
import sys
from pathlib import Path

from fovea_api.v1alpha1 import API_VERSION, KINDS
from support import helm
from support.installed_chart import DEFINITIONS, MACHINE_TYPES, Chart, versions


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
