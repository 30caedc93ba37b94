"""Paths and requests for Fovea's kinds and for the few Kubernetes kinds that the client reads."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from fovea_api.v1alpha1 import GROUP, VERSION, Kind, Resource
from pydantic import ValidationError

from . import object_names
from .api_errors import Target
from .cluster import Cluster
from .errors import InvalidError

R = TypeVar("R", bound=Resource)
Documents = list[dict[str, Any]]
"""Objects as JSON. (Inside the classes the word `list` is a verb.)"""


class Kinds(Generic[R]):
    """One of Fovea's namespaced kinds in one namespace."""

    def __init__(self, cluster: Cluster, kind: Kind, model: type[R], namespace: str = "") -> None:
        self.cluster, self.kind, self.model = cluster, kind, model
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        """The namespace these objects are in."""
        return self._namespace or self.cluster.namespace

    def within(self, namespace: str) -> "Kinds[R]":
        """The same kind in another namespace."""
        return Kinds(self.cluster, self.kind, self.model, namespace)

    def target(self, verb: str, name: str = "") -> Target:
        """What a request is about, for its error messages."""
        return Target(verb, self.kind.kind, self.kind.plural, self.namespace, name)

    def path(self, name: str | None = None) -> str:
        """Path of one object, or of the collection; raises InvalidError for what is no name."""
        return _path(f"/apis/{GROUP}/{VERSION}", self.namespace, self.kind.plural, self.kind.kind, name)

    def get(self, name: str) -> dict[str, Any]:
        """One object as it is in the cluster."""
        return self.cluster.get(self.target("get", name), self.path(name))

    def list(self, query: Mapping[str, Any] | None = None) -> Documents:
        """All objects, in the server's order; paged, so that many objects do not time out."""
        return list(self._pages(self.target("list"), self.path(), query))

    def each(self) -> Iterator[dict[str, Any]]:
        """As `list`, one after the other: no more than a page of them is in memory."""
        return self._pages(self.target("list"), self.path())

    def list_everywhere(self) -> Documents:
        """As `list`, in all namespaces, which few users may."""
        target = Target("list", self.kind.kind, self.kind.plural)
        return list(self._pages(target, f"/apis/{GROUP}/{VERSION}/{self.kind.plural}"))

    def _pages(self, target: Target, path: str, query: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        page: dict[str, Any] = {"limit": 500, **(query or {})}
        while True:
            answer = self.cluster.get(target, path, page)
            yield from answer.get("items", [])
            token = answer.get("metadata", {}).get("continue")
            if not token:
                return
            page["continue"] = token

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object."""
        name = str(manifest.get("metadata", {}).get("name", ""))
        return self.cluster.create(self.target("create", name), self.path(), manifest, dry_run=dry_run)

    def patch(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge-patch an object."""
        return self.cluster.patch(self.target("patch", name), self.path(name), body)

    def delete(self, name: str, *, uid: str = "") -> str:
        """Delete an object; its uid."""
        return self.cluster.delete(self.target("delete", name), self.path(name), uid=uid)

    def watch(self, name: str, resource_version: str, seconds: int) -> Iterator[dict[str, Any]]:
        """Events of one object after a resource version, for at most `seconds`."""
        query = {
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": resource_version,
            "timeoutSeconds": max(1, seconds),
        }
        return self.cluster.watch(self.target("watch", name), self.path(), query)

    def read(self, document: Mapping[str, Any]) -> R:
        """The typed object; raises InvalidError when this client is too old for what the cluster holds."""
        try:
            return self.model.model_validate(document)
        except ValidationError as error:
            name = str(document.get("metadata", {}).get("name", ""))
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InvalidError(
                f"{self.target('read', name)} holds {field} = {first['input']!r}, which this client does not "
                f"understand ({first['msg']}): install the client of the cluster's Fovea version"
            ) from error


def core_path(namespace: str, plural: str, name: str | None = None, sub: str = "") -> str:
    """Path of a core/v1 object, collection or subresource; raises InvalidError for what is no name."""
    path = _path("/api/v1", namespace, plural, plural.removesuffix("s"), name)
    return f"{path}/{sub}" if sub else path


def _path(api: str, namespace: str, plural: str, kind: str, name: str | None) -> str:
    """The one place where paths are made: with an empty name a DELETE would be of the whole collection."""
    path = f"{api}/namespaces/{object_names.existing('namespace', namespace)}/{plural}"
    return path if name is None else f"{path}/{object_names.existing(kind, name)}"
