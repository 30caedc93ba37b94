"""An API server in memory for unit tests of the operator's edges: a few verbs, counted; uids and resourceVersions."""

import copy
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fovea_operator.cluster.keys import Ref
from fovea_operator.cluster.resources import Resource
from fovea_operator.errors import AlreadyExists, Conflict, Gone
from fovea_operator.reconcile.shared.decision import Deletion, GroupVersionKind


def merged(document: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """What an API server makes of a document by a JSON merge patch (RFC 7386)."""
    result: dict[str, Any] = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result


class Server:
    """An API server of a few verbs that counts its calls."""

    def __init__(self) -> None:
        self.objects: dict[tuple[GroupVersionKind, str], dict[str, Any]] = {}
        """By kind and name."""
        self.calls: list[str] = []
        """Verbs."""
        self.detail: list[str] = []
        """Verbs with kind and subresource."""
        self.fail: Callable[[str], Exception | None] | None = None
        """Says with what a call fails."""
        self.served: set[Resource] = set()
        """Optional kinds that it serves."""
        self._version = 0

    def _call(self, verb: str, kind: str, subresource: str = "") -> None:
        self.calls.append(verb)
        self.detail.append(f"{verb} {kind}{'/' if subresource else ''}{subresource}")
        if self.fail is not None and (error := self.fail(self.detail[-1])) is not None:
            raise error

    def put(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        stored = copy.deepcopy(dict(manifest))
        stored["metadata"].setdefault("uid", f"uid-{self._version}")
        stored["metadata"].setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.objects[GroupVersionKind.of(stored), stored["metadata"]["name"]] = stored
        return stored

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._call("create", manifest["kind"])
        if (GroupVersionKind.of(manifest), manifest["metadata"]["name"]) in self.objects:
            raise AlreadyExists("taken", code=409)
        return self.put(manifest)

    async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._call("apply", manifest["kind"])
        known = self.objects.get((GroupVersionKind.of(manifest), manifest["metadata"]["name"]))
        merged = copy.deepcopy(dict(manifest))
        if known is not None:
            merged = {**known, **merged, "metadata": {**known["metadata"], **manifest["metadata"]}}
        return self.put(merged)

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self._call("get", resource.kind)
        try:
            return self.objects[resource.gvk, name]
        except KeyError:
            raise Gone("no such object", code=404) from None

    async def label(self, ref: Ref, uid: str, labels: Mapping[str, str]) -> dict[str, Any]:
        self._call("label", ref.gvk.kind)
        known = self.objects.get((ref.gvk, ref.name))
        if known is None or known["metadata"]["uid"] != uid:
            raise Gone("no such object", code=404)
        held = known["metadata"].get("labels") or {}
        return self.put({**known, "metadata": {**known["metadata"], "labels": {**held, **labels}}})

    async def merge(self, ref: Ref, patch: Mapping[str, Any]) -> dict[str, Any]:
        self._call("patch", ref.gvk.kind)
        known = self.objects.get((ref.gvk, ref.name))
        if known is None:
            raise Gone("no such object", code=404)
        if known["metadata"]["uid"] != patch["metadata"]["uid"]:
            raise Conflict("another uid", code=409)
        return self.put(merged(known, patch))

    async def is_served(self, resource: Resource) -> bool:
        self._call("discover", resource.kind)
        return resource in self.served

    async def pages(
        self, resource: Resource, namespace: str = "", label: str = "", *, name: str = "", only_metadata: bool = False
    ) -> AsyncIterator[tuple[list[dict[str, Any]], int]]:
        self._call("list", resource.kind, name or ("metadata" if only_metadata else ""))
        if resource.optional and resource not in self.served:
            raise Gone("no such kind", code=404)
        found = [raw for (gvk, called), raw in self.objects.items() if gvk == resource.gvk and name in ("", called)]
        yield [{"metadata": raw["metadata"]} for raw in found] if only_metadata else found, self._version

    async def delete(self, item: Deletion) -> dict[str, Any]:
        self._call("delete", item.gvk.kind)
        known = self.objects.get((item.gvk, item.name))
        if known is None:
            raise Gone("no such object", code=404)
        if known["metadata"]["uid"] != item.uid:
            raise Conflict("another uid", code=409)
        known["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
        return self.put(known)

    async def merge_status(self, ref: Ref, version: int, patch: Mapping[str, Any]) -> dict[str, Any]:
        self._call("patch", ref.gvk.kind, "status")
        known = self.objects.get((ref.gvk, ref.name))
        if known is None:
            raise Gone("no such object", code=404)
        if known["metadata"]["resourceVersion"] != str(version):
            raise Conflict("the object has been modified", code=409)
        return self.put({**known, "status": merged(known.get("status"), patch)})
