"""One API server for the whole tier; a namespace, a kubelet player and an operator per test."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fovea_dev.apiserver import ApiServer
from kubernetes import client, config
from support.kube_apiserver import Cluster, api_server, make_namespace
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="session")
def api_client(server: ApiServer) -> client.ApiClient:
    return config.new_client_from_config(str(server.kubeconfig))


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    return make_namespace(server)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace


@pytest.fixture
def kubelet(cluster: Cluster) -> Kubelet:
    return Kubelet(cluster)


@pytest.fixture
def start_operator(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts operators that reconcile the test's namespace; those that still run at the end are ended."""
    started: list[OperatorProcess] = []

    def start(**settings: str) -> OperatorProcess:
        operator = OperatorProcess(
            cluster.server, tmp_path, namespace=cluster.namespace, watch=(cluster.namespace,), **settings
        )
        started.append(operator.start())
        return operator

    yield start
    for operator in started:
        operator.kill()


@pytest.fixture
def operator(start_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    """An operator that leads and works."""
    return start_operator().wait_ready()


@pytest.fixture
def seed() -> int:
    """A fresh seed, printed: pytest shows it when the test fails."""
    chosen = random.SystemRandom().randrange(1 << 32)
    print(f"seed {chosen}")
    return chosen
