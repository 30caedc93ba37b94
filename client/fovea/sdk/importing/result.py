"""What a translator hands over: the manifest's values, the report's lines, machines and next steps."""

from dataclasses import dataclass, field
from typing import Any

from .draft import Key, Line
from .machines import Machine
from .shape import Shape


@dataclass
class Translation:
    """A translated job."""

    values: dict[Key, Any]
    lines: list[Line]
    machines: list[Machine]
    shape: Shape
    steps: list[str] = field(default_factory=list)
