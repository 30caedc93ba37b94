"""An optional kind on a real API server: its CRD comes, is watched, and goes while the operator's loop runs on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_dev.api import ApiError
from fovea_operator.cluster import credentials
from fovea_operator.cluster.cache import Cache, Store
from fovea_operator.cluster.client import ApiClient
from fovea_operator.cluster.discovery import Discovery
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.resources import Resource
from fovea_operator.handlers.running import OptionalWatch
from fovea_operator.settings import Settings
from support.kube_apiserver import Cluster

GROUP = Resource("scheduling.tests.fovea.dev/v1", "PodGroup", "podgroups", optional=True)
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{GROUP.plural}.{GROUP.group}"},
    "spec": {
        "group": GROUP.group,
        "scope": "Namespaced",
        "names": {"kind": GROUP.kind, "plural": GROUP.plural, "singular": "podgroup"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Parts:
    """The parts of an operator that optional kinds concern, with one of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.settings = Settings(namespace=cluster.namespace, watch_namespaces=(cluster.namespace,))
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.store: Store[str] = Store(GROUP, lambda raw: str(raw["metadata"]["name"]))
        self.cache.add(self.store)
        self.client = ApiClient(credentials.load)
        self.intake = Intake(self.cache, Kinds(), lambda _key: None, self.settings.watch_namespaces)
        self.ended = asyncio.Event()
        self.discovery = Discovery(self.client, self.cache, self.intake, self.settings, self._begin)

    def _begin(self, resource: Resource) -> OptionalWatch:
        return OptionalWatch(self.settings, resource, self.intake.event, self.ended.set)

    @property
    def known(self) -> list[str]:
        return sorted(name for (_, name), _ in self.store)

    async def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A request of the test's own, beside the loop."""
        return await asyncio.to_thread(self.cluster.api.request, method, path, body)

    async def make(self, name: str) -> None:
        """A PodGroup, as soon as the API server takes it."""
        metadata = {"name": name, "namespace": self.cluster.namespace}
        body = {"apiVersion": GROUP.api_version, "kind": GROUP.kind, "metadata": metadata}

        async def made() -> bool:
            try:
                await self.ask("POST", GROUP.path(self.cluster.namespace), body)
            except ApiError as error:
                if error.code != 404:
                    raise
                return False
            return True

        await eventually(made)

    async def looked(self, *, served: bool) -> bool:
        await self.discovery.look()
        return (GROUP.gvk in self.cache.served) == served


async def eventually(probe: Callable[[], Any]) -> None:
    """Ask until it is so; the test's timeout ends it."""
    while not await probe():  # noqa: ASYNC110 - a server is asked, which notifies no test
        await asyncio.sleep(0.1)


def test_a_kind_is_watched_from_its_definition_until_its_removal(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.server.kubeconfig))

    async def run() -> None:
        parts = Parts(cluster)

        async def knows(*names: str) -> bool:
            return parts.known == sorted(names)

        try:
            async with asyncio.timeout(120):
                await parts.discovery.look()
                assert GROUP.gvk not in parts.cache.served
                await parts.ask("POST", DEFINITIONS, DEFINITION)
                await parts.make("first")
                await eventually(lambda: parts.looked(served=True))
                assert parts.known == ["first"], "it is listed before decisions see the kind"
                await parts.make("second")
                await eventually(lambda: knows("first", "second"))
                await parts.ask("DELETE", f"{DEFINITIONS}/{DEFINITION['metadata']['name']}")  # type: ignore[index]
                await parts.ended.wait()
                await eventually(lambda: parts.looked(served=False))
                assert parts.known == []
        finally:
            await parts.discovery.stop()
            await parts.client.close()

    asyncio.run(run())
