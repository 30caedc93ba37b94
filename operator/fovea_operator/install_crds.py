"""Apply the definitions of our kinds, and what needs them (admission policies, machine types), from a folder of manifests.

The chart runs it before every installation and upgrade (Helm itself never upgrades CRDs): `python -m fovea_operator.install_crds`.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import yaml

from fovea_operator import logs
from fovea_operator.cluster import credentials, resources
from fovea_operator.cluster.client import APPLY, ApiClient, Object
from fovea_operator.cluster.resources import Resource
from fovea_operator.errors import HTTP_SERVER_ERRORS, ApiError, FoveaError, Gone, Transient

FIELD_MANAGER = "fovea-chart"
DEFINITION = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)

_PAUSE_SECONDS = 0.5
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class InstallFailed(FoveaError):
    """The folder cannot be applied: names the file or object and what to do."""


def read(folder: Path) -> list[Object]:
    """Every object of the folder's *.yaml files, definitions first; raises InstallFailed naming the file."""
    found: list[Object] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            documents = list(yaml.safe_load_all(path.read_text()))
        except yaml.YAMLError as error:
            raise InstallFailed(f"{path} is no YAML: {error}") from error
        for document in filter(None, documents):
            if not (isinstance(document, dict) and document.get("kind") and document.get("metadata", {}).get("name")):
                raise InstallFailed(f"{path} has a document without kind or metadata.name")
            found.append(document)
    if not any(item["kind"] == DEFINITION.kind for item in found):
        raise InstallFailed(f"{folder} has no *.yaml file with a {DEFINITION.kind}: is the right folder mounted?")
    return sorted(found, key=lambda item: item["kind"] != DEFINITION.kind)


class Installer:
    """Applies objects until a deadline: the network of a fresh pod, or a kind of a moment ago, may need a second try."""

    def __init__(self, client: ApiClient, timeout_seconds: float) -> None:
        self._client = client
        self._deadline = _now() + timeout_seconds
        self._known: dict[tuple[str, str], Resource] = {(DEFINITION.api_version, DEFINITION.kind): DEFINITION}

    async def install(self, objects: Sequence[Object]) -> None:
        """Apply definitions, wait until they are served, apply the rest."""
        definitions = [item for item in objects if item["kind"] == DEFINITION.kind]
        for item in definitions:
            await self.apply(item)
        for item in definitions:
            await self.established(item["metadata"]["name"])
        for item in objects:
            if item["kind"] != DEFINITION.kind:
                await self.apply(item)

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """Server-side apply by force: what the chart says wins over edits by hand."""
        title = f"{manifest['kind']} {manifest['metadata']['name']}"

        async def once() -> Object:
            resource = await self._resource(manifest["apiVersion"], manifest["kind"])
            path = resource.path(manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])
            query = f"?fieldManager={FIELD_MANAGER}&force=true&fieldValidation=Strict"
            return await self._client.request("apply", resource, "PATCH", path + query, manifest, APPLY)

        await self._persist(title, once)
        log.info("applied %s", title)

    async def established(self, name: str) -> None:
        """Wait until the API server serves a definition's kind."""

        async def once() -> None:
            item = await self._client.get(DEFINITION, "", name)
            # A definition of a moment ago has null for its conditions.
            conditions = {one["type"]: one for one in (item.get("status") or {}).get("conditions") or ()}
            if conditions.get("NamesAccepted", {}).get("status") == "False":
                raise InstallFailed(
                    f"{name}: {conditions['NamesAccepted']['message']}: another CRD uses these names; remove it"
                )
            if conditions.get("Established", {}).get("status") != "True":
                raise Transient(f"{name} is not established yet")

        await self._persist(f"{DEFINITION.kind} {name}", once)

    async def prune_machine_types(self, selector: str, objects: Sequence[Object]) -> None:
        """Delete the machine types with these labels that the folder does not have any more."""
        resource = resources.MACHINE_TYPE
        kept = {item["metadata"]["name"] for item in objects if item["kind"] == resource.kind}

        async def once() -> Object:
            path = f"{resource.path()}?labelSelector={quote(selector)}"
            return await self._client.request("list", resource, "GET", path)

        for item in (await self._persist(f"{resource.kind}s with {selector}", once))["items"]:
            name = item["metadata"]["name"]
            if name not in kept:
                await self._remove(resource, name)

    async def _remove(self, resource: Resource, name: str) -> None:
        try:
            await self._client.request("delete", resource, "DELETE", resource.path(name=name))
        except Gone:
            return
        log.info("removed %s %s: the chart's values do not have it any more", resource.kind, name)

    async def _resource(self, api_version: str, kind: str) -> Resource:
        """Where the API server keeps a kind, by its discovery document."""
        if (api_version, kind) not in self._known:
            group = Resource(api_version, "", "", namespaced=False)
            for entry in (await self._client.request("get", group, "GET", group.path().rstrip("/")))["resources"]:
                if "/" not in entry["name"]:
                    found = Resource(api_version, entry["kind"], entry["name"], namespaced=entry["namespaced"])
                    self._known[api_version, entry["kind"]] = found
        if (api_version, kind) not in self._known:
            raise Gone(f"the API server does not serve {kind} of {api_version} (yet)")
        return self._known[api_version, kind]

    async def _persist(self, what: str, once: Callable[[], Awaitable[_T]]) -> _T:
        """Try again while the API server or a webhook of it is out of reach, or the kind is not known yet; other answers are final."""
        while True:
            try:
                return await once()
            except ApiError as error:
                may_pass = isinstance(error, Transient | Gone) or error.code >= HTTP_SERVER_ERRORS
                if not may_pass or _now() > self._deadline:
                    raise InstallFailed(f"{what}: {error}") from error
                log.info("trying again: %s: %s", what, error)
            except InstallFailed:
                raise
            except FoveaError as error:
                raise InstallFailed(f"{what}: {error}") from error
            await asyncio.sleep(_PAUSE_SECONDS)


async def run(folder: Path, prune_selector: str, timeout_seconds: float) -> None:
    """Apply the folder; raises InstallFailed."""
    objects = read(folder)
    client = ApiClient(credentials.load)
    try:
        installer = Installer(client, timeout_seconds)
        await installer.install(objects)
        if prune_selector:
            await installer.prune_machine_types(prune_selector, objects)
    finally:
        await client.close()
    log.info("%d objects are as the chart says", len(objects))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fovea_operator.install_crds", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="folder of manifests (*.yaml)")
    parser.add_argument(
        "--prune-machine-types",
        default="",
        metavar="SELECTOR",
        help="delete machine types with these labels that the folder does not have",
    )
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="keep trying for (%(default)s)")
    options = parser.parse_args(arguments)
    logs.configure("text", "info")
    try:
        asyncio.run(run(options.directory, options.prune_machine_types, options.timeout))
    except FoveaError as error:
        print(f"error: {error}", file=sys.stderr)  # the last line of the log becomes the pod's termination message
        return 1
    return 0


def _now() -> float:
    return asyncio.get_running_loop().time()


if __name__ == "__main__":
    sys.exit(main())
