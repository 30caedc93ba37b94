"""What a user can say beside the source."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLES = ("chief", "worker", "ps", "evaluator")


@dataclass(frozen=True)
class Options:
    """What is empty is as in the source."""

    name: str = ""
    namespace: str = ""
    image: str = ""
    machine_types: Mapping[str, str] = field(default_factory=dict)
    """MachineTypes that exist, by the roles that shall have them."""
