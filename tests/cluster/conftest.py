"""One API server for the whole tier; a namespace, a kubelet player and an operator per test."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea.sdk import Client
from fovea_dev.apiserver import ApiServer
from kubernetes import config
from kubernetes.client import ApiClient
from support.command_line import Ran, Run, fovea
from support.kube_apiserver import Cluster, api_server, make_namespace
from support.kubelet_player import Kubelet
from support.operator_process import OperatorProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="session")
def api_client(server: ApiServer) -> ApiClient:
    return config.new_client_from_config(str(server.kubeconfig))


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    return make_namespace(server)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace


@pytest.fixture
def run(cluster: Cluster) -> Run:
    """`fovea …` in the test's namespace."""

    def typed(*words: object, **more: Any) -> Ran:
        return fovea("--kubeconfig", cluster.server.kubeconfig, "-n", cluster.namespace, *words, **more)

    return typed


@pytest.fixture
def client(cluster: Cluster) -> Client:
    """The SDK in the test's namespace."""
    return Client(kubeconfig=str(cluster.server.kubeconfig), namespace=cluster.namespace)


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
