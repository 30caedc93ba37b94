"""Flags of a recipe, derived from its frozen config dataclass; no TensorFlow here, so the catalogue is made without it.

`learning_rate: float = flag(0.01, "…", minimum=0)` is the flag `--learning-rate`; booleans take `--x`,
`--x=true|false` and `--no-x`.
"""

import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from fovea_api.catalogue import Flag, Recipe, Value

from fovea_trainers.errors import FlagError

C = TypeVar("C")


def flag(
    default: Value | None,
    help: str,  # noqa: A002 - the field's standard term
    *,
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A config field with what its flag needs to know; bounds are inclusive."""
    metadata = {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def recipe_of(help_line: str, config_type: type) -> Recipe:
    """The catalogue's entry for a config dataclass."""
    hints = typing.get_type_hints(config_type)
    return Recipe(
        help_line,
        {
            field.name.replace("_", "-"): Flag(
                _type_name(hints[field.name]), typing.cast("Any", field.default), **field.metadata
            )
            for field in dataclasses.fields(config_type)
        },
    )


def parse(name: str, recipe: Recipe, config_type: type[C], argv: Sequence[str]) -> C:
    """Read a command line into the config; raises FlagError. The last of repeated flags wins."""
    values: dict[str, Value] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise FlagError(f"unexpected argument {word!r}: flags of {name} are written --flag=value")
        key, equals, text = word[2:].partition("=")
        known = recipe.flags.get(key)
        negated = recipe.flags.get(key.removeprefix("no-")) if key.startswith("no-") else None
        value: Value
        if known is None and negated is not None and negated.type == "bool":
            if equals:
                raise FlagError(f"--{key} takes no value; write --{key} or --{key.removeprefix('no-')}={text}")
            key, known, value = key.removeprefix("no-"), negated, False
        elif known is None:
            raise FlagError(recipe.unknown(key, name))
        elif equals:
            value = text
        elif known.type == "bool":
            value = True
        elif rest:
            value = rest.pop(0)
        else:
            raise FlagError(f"--{key} needs a value: --{key}=…")
        try:
            values[key.replace("-", "_")] = known.read(value)
        except ValueError as error:
            raise FlagError(f"--{key} {error}") from error
    return config_type(**values)


def describe(name: str, recipe: Recipe) -> str:
    """The text of `fovea-train <recipe> --help`."""
    lines = [f"fovea-train {name} [--flag=value …]", "", recipe.help, ""]
    for key, known in recipe.flags.items():
        bounds = _bounds(known)
        default = "" if known.default in (None, "") else f" [default: {str(known.default).lower()}]"
        lines += [f"  --{key} <{known.type}>{default}", f"      {known.help}{f' ({bounds})' if bounds else ''}"]
    return "\n".join(lines)


def _bounds(known: Flag) -> str:
    if known.choices:
        return ", ".join(known.choices)
    return ", ".join(
        f"{word} {value}" for word, value in (("≥", known.minimum), ("≤", known.maximum)) if value is not None
    )


def _type_name(hint: Any) -> str:
    """`float | None` and `float` are both the type "float"."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return str(hint.__name__)
