"""Sources of imports under tests/data/client/import, and what must hold for whatever is imported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fovea.sdk import import_source
from fovea.sdk.importing.draft import MACHINE, Line
from fovea.sdk.importing.imported import Imported, imported
from fovea.sdk.importing.options import Options
from fovea.sdk.importing.source import Field, leaves
from fovea_api.v1alpha1 import KINDS
from fovea_api.v1alpha1.crd import definition

FOLDER = Path(__file__).parents[1] / "data/client/import"
SOURCES = {path.parent.name: path for path in sorted(FOLDER.glob("*/source.*"))}
GIVEN = {
    "cloud-ml-config": Options(name="census", image="registry.example.com/team/census:1"),
    "cloud-ml-tier": Options(name="text", namespace="nlp"),
    "tfjob-one-gpu": Options(machine_types={"chief": "one-gpu"}),
}
"""What the user says beside the source, by the names of the sources."""
SCHEMAS = {kind.kind: definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS}


def document(name: str) -> dict[str, Any]:
    """A source, read."""
    found: dict[str, Any] = import_source.read(SOURCES[name])
    return found


def made_of(name: str) -> Imported:
    """What a source becomes."""
    return imported(document(name), GIVEN.get(name, Options()))


def manifests(done: Imported) -> list[dict[str, Any]]:
    """The job, and the MachineTypes that are suggested."""
    return [done.manifest, *(made for one in done.machines if (made := one.manifest()))]


def line(done: Imported, end: str) -> Line:
    """The one line of the report whose field ends so."""
    (found,) = [one for one in done.lines if one.field.endswith(end) and one.covers]
    return found


def accounting(source: dict[str, Any], lines: tuple[Line, ...]) -> Iterator[tuple[Field, Line]]:
    """Each leaf of the source with the line that accounts for it: the one on it, or on the nearest field above."""
    by_path = {line.path: line for line in lines if line.covers}
    for leaf in leaves(Field((), source)):
        above = [by_path[leaf.path[:end]] for end in range(len(leaf.path), -1, -1) if leaf.path[:end] in by_path]
        assert above, f"{leaf} is in no line of the report"
        yield leaf, above[0]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """A value within a value."""
    for part in path:
        value = value[part]
    return value


def in_manifests(done: Imported, line: Line) -> Any:
    """What the manifests hold where the line says that the field went."""
    if line.key[0] == MACHINE:
        (machine,) = [one for one in done.machines if one.name == line.key[1]]
        return at(machine.spec, line.key[2:])
    holder = at(done.manifest, line.key[:-1])
    return holder if isinstance(holder, list) else holder[line.key[-1]]


def unknown_fields(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of a manifest that its definition does not have."""
    if isinstance(value, dict) and "properties" in schema:
        for key, child in value.items():
            if key not in schema["properties"]:
                if path != ".metadata":
                    yield f"{path}.{key}"
            else:
                yield from unknown_fields(child, schema["properties"][key], f"{path}.{key}")
    elif isinstance(value, list):
        for child in value:
            yield from unknown_fields(child, schema["items"], f"{path}[]")
