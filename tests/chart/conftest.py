"""A real API server, and the chart installed into it. No controller runs, so hooks are carried out by the tests."""

from collections.abc import Iterator

import pytest
from fovea_dev.apiserver import ApiServer, build_tools
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools
from support import helm
from support.installed_chart import TEAM, VALUES, Chart


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    tools = Tools(Cache.from_environment())
    build_tools(tools)
    folder = tmp_path_factory.mktemp("plane")
    with ApiServer(folder, tools=tools, audit=True, flags={"audit-log-mode": "blocking"}) as running:
        yield running


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


@pytest.fixture(scope="session")
def default_manifests() -> list[helm.Manifest]:
    return helm.template()


@pytest.fixture(scope="session")
def external_values() -> dict[str, object]:
    return {
        "objectStore": {
            "embedded": {"enabled": False},
            "external": {"endpoint": "https://s3.example.com"},
            "region": "eu-central-1",
            "namespaces": ["vision", "speech"],
        },
        "watchNamespaces": ["vision", "speech"],
        "operator": {"replicas": 2, "priorityClassName": "platform", "podAnnotations": {"example.com/team": "ml"}},
        "images": {"pullSecrets": ["registry"]},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "networkPolicy": {"enabled": True},
    }


@pytest.fixture(scope="session")
def external_manifests(external_values: dict[str, object]) -> list[helm.Manifest]:
    return helm.template(external_values)
