"""What the client says of a cluster that it may not use, cannot reach or that has no Fovea."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fovea.sdk import Client, ForbiddenError, UnreachableError
from fovea_dev.apiserver import ApiServer
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools
from support.command_line import fovea
from support.kube_apiserver import Cluster

IMAGE = "registry.invalid/trainer:1"


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory: pytest.TempPathFactory, server: ApiServer) -> Iterator[ApiServer]:
    """An API server that has never heard of Fovea."""
    del server  # its programs are built
    with ApiServer(tmp_path_factory.mktemp("bare"), tools=Tools(Cache.from_environment())) as running:
        yield running


def test_a_user_without_rights_is_told_whom_to_ask(server: ApiServer, cluster: Cluster) -> None:
    kubeconfig = server.user_kubeconfig("stranger")
    ran = fovea("jobs", "list", "--kubeconfig", kubeconfig, "-n", cluster.namespace)
    assert ran.code == 1
    assert f"you may not list TrainingJob in namespace {cluster.namespace}: ask the platform team" in ran.err
    assert f"`kubectl auth can-i list trainingjobs -n {cluster.namespace}`" in ran.err
    with pytest.raises(ForbiddenError):
        Client(kubeconfig=str(kubeconfig), namespace=cluster.namespace).jobs.list()


def test_a_cluster_that_is_down_is_named_with_the_next_step(tmp_path: Path, cluster: Cluster) -> None:
    config = yaml.safe_load(cluster.server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    ran = fovea("jobs", "list", "--kubeconfig", file)
    assert ran.code == 1
    assert "the API server https://127.0.0.1:1 does not answer" in ran.err
    with pytest.raises(UnreachableError):
        Client(kubeconfig=str(file)).jobs.list()


def test_an_untrusted_server_and_an_unknown_context_are_told_apart(tmp_path: Path, cluster: Cluster) -> None:
    config = yaml.safe_load(cluster.server.kubeconfig.read_text())
    config["clusters"][0]["cluster"].pop("certificate-authority-data")
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    assert "is not trusted" in fovea("jobs", "list", "--kubeconfig", file).err
    assert (
        "has no usable context elsewhere" in fovea("jobs", "list", "--kubeconfig", file, "--context", "elsewhere").err
    )


def test_a_cluster_without_fovea_is_answered_with_how_to_install_it(bare_server: ApiServer) -> None:
    for words in (("list",), ("describe", "digits"), ("submit", "digits", "--image", IMAGE)):
        ran = fovea("--kubeconfig", bare_server.kubeconfig, "jobs", *words)
        assert ran.code == 1
        assert "Fovea is not installed in this cluster (it does not know trainingjobs): helm install" in ran.err
