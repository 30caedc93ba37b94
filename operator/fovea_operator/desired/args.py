"""`spec.args` as a command line."""

from collections.abc import Mapping

from fovea_api.contract import expansion

Value = str | int | float | bool


def flags(args: Mapping[str, Value] | None) -> list[str]:
    """`{"epochs": 10, "augment": False}` -> `["--epochs=10", "--augment=false"]`, in the order given.

    Escaped for the pod: `$(NAME)` and `$$` in a value reach the program as they were written.
    """
    return [f"--{name}={expansion.escaped(_text(value))}" for name, value in (args or {}).items()]


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
