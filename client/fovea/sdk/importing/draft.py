"""The job as it is made: values of the manifest by their keys, and one line of the report for each field of the source."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .source import Field, Path, children, leaves, shown

Key = tuple[str, ...]
"""Where a value goes: fields of the manifest and, below LISTS, the name of an entry. MACHINE is in front of a MachineType's fields."""
Action = Literal["taken", "changed", "dropped"]

MACHINE = "MachineType"
CONTAINER: Key = ("spec", "trainer", "container")
POD: Key = ("spec", "pod")
RUN_POLICY: Key = ("spec", "runPolicy")
LISTS = frozenset((*CONTAINER, name) for name in ("env", "envFrom", "volumes", "volumeMounts", "imagePullSecrets"))
"""Lists whose entries come one by one."""
_SAME = object()


@dataclass(frozen=True)
class Line:
    """What became of a field of the source and of all that it holds, but for what other lines say of parts of it."""

    path: Path
    value: Any
    action: Action
    key: Key = ()
    """Where it went; empty: nowhere, as Fovea does it anyway or not at all."""
    became: Any = None
    why: str = ""
    next: str = ""
    """What the user must do."""
    covers: bool = True
    """Whether it accounts for the field. A remark on a field whose parts have lines of their own does not."""

    @property
    def field(self) -> str:
        """The path as people read it."""
        return shown(self.path)


@dataclass
class Draft:
    """Values of the manifest so far, and the lines of the report."""

    values: dict[Key, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def take(self, source: Field, *key: str, value: Any = _SAME, why: str = "", next: str = "") -> None:  # noqa: A002 - the report's word
        """It goes into the manifest; `value` is what it becomes there. With another value or a `why` it counts as changed."""
        became = source.value if value is _SAME else value
        self.values[key] = became
        same = not why and _same(source.value, became)
        self._add(Line(source.path, source.value, "taken" if same else "changed", key, became, why, next))

    def keep(self, source: Field, why: str) -> None:
        """Nothing has to be written: `why` says how Fovea does the same."""
        self._add(Line(source.path, source.value, "taken", why=why))

    def drop(self, source: Field, why: str, next: str = "") -> None:  # noqa: A002
        """It has no place in the job."""
        self._add(Line(source.path, source.value, "dropped", why=why, next=next))

    def drop_unless_off(self, source: Field, why: str, next: str = "") -> None:  # noqa: A002
        """It has no place in the job; what is off or empty needs none."""
        if source.value in (False, "", [], {}):
            self.keep(source, "It is off or empty.")
        else:
            self.drop(source, why, next)

    def remark(self, source: Field, why: str, next: str = "") -> None:  # noqa: A002
        """A change that follows from the field as a whole; its parts have lines of their own."""
        self._add(Line(source.path, None, "changed", why=why, next=next, covers=False))

    def _add(self, line: Line) -> None:
        self.lines.append(line)


def _same(one: Any, other: Any) -> bool:
    """The same value; 2 and "2" are the same amount."""
    written = {type(one), type(other)} <= {int, float, str} and str(one) == str(other)
    return written or (one == other and type(one) is type(other))


def account(lines: list[Line], document: Field) -> list[Line]:
    """The lines in the order of the source, with a line for each field that no other line accounts for."""
    covering = {line.path for line in lines if line.covers}
    inner = {(), *(path[:end] for path in covering for end in range(len(path)))}

    def unknown(at: Field) -> list[Line]:
        if at.path in covering:
            return []
        if at.path in inner:
            return [line for child in children(at) for line in unknown(child)]
        if at.value in (None, {}, []):
            return [Line(at.path, at.value, "dropped", why="It has no value.")]
        return [Line(at.path, at.value, "dropped", why=UNKNOWN, next=f"Look whether your job needs {at}.")]

    order: dict[Path, int] = {}
    for number, leaf in enumerate(leaves(document)):
        for end in range(len(leaf.path) + 1):
            order.setdefault(leaf.path[:end], number)
    return sorted([*lines, *unknown(document)], key=lambda line: (order[line.path], len(line.path)))


UNKNOWN = "The importer does not know this field, and a TrainingJob has none like it."


def assembled(values: dict[Key, Any]) -> dict[str, Any]:
    """The manifest of the values."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key
        listed = tuple(parents) in LISTS
        node = result
        for part in parents[:-1] if listed else parents:
            node = node.setdefault(part, {})
        if listed:
            node.setdefault(parents[-1], []).append(value)
        else:
            node[last] = value
    return result


def on_machine(lines: list[Line], name: str) -> list[Line]:
    """The lines with the name of the MachineType to which amounts and placement went."""
    return [replace(line, key=(MACHINE, name, *line.key[1:])) if line.key[:1] == (MACHINE,) else line for line in lines]


def target(line: Line) -> str:
    """Where a field went, as people read it: `spec.pod.labels.team`, `MachineType 4cpu-8gi: spec.cpu`."""
    if not line.key:
        return ""
    if line.key[0] == MACHINE:
        return f"MachineType {line.key[1]}: {shown(('spec', *line.key[2:]))}"
    if line.key[:-1] in LISTS:
        return f"{shown(line.key[:-1])}[{line.key[-1]}]"
    return shown(line.key)
