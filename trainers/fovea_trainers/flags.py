"""Flags of a recipe, derived from its frozen config dataclass; no TensorFlow here, so the catalogue is made without it.

`learning_rate: float = flag(0.01, "…", minimum=0)` is the flag `--learning-rate`; booleans take `--x`,
`--x=true|false` and `--no-x`. A recipe's config inherits the flags that recipes share (`common_flags.py`); one that
declares a flag once more with a plain value, `epochs: int = 15`, changes its default and nothing else.
"""

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

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
    """The catalogue's entry for a config dataclass: its bases' flags in the order of the bases, then its own.

    Raises TypeError for a field that is no flag.
    """
    if "__dataclass_fields__" not in vars(config_type):
        raise TypeError(f"{config_type.__qualname__} is no dataclass: write @dataclass(frozen=True) above it")
    hints = typing.get_type_hints(config_type)
    defaults = {field.name: field.default for field in dataclasses.fields(config_type)}
    found = {}
    for name, field in _declared(config_type).items():
        if "help" not in field.metadata:
            raise TypeError(f"{config_type.__qualname__}.{name} is no flag: write {name}: … = flag(default, help)")
        default: Any = defaults[name]
        kind = _type_name(hints[name])
        if kind not in ("bool", "int", "float", "str"):
            raise TypeError(
                f"{config_type.__qualname__}.{name} is a {kind}: a flag is a bool, int, float or str, or None"
            )
        found[name.replace("_", "-")] = Flag(kind, default, **field.metadata)
    return Recipe(help_line, found)


def values(config: Any) -> dict[str, Value | None]:
    """Every flag's value by the name of its field, in the order of the catalogue."""
    return {name: getattr(config, name) for name in _declared(type(config))}


def whole_numbers(name: str, text: str, *, example: str) -> list[int]:
    """The value of a flag that is a list of sizes, from 1 to 65536 each. Raises FlagError."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and 0 < int(word) <= 65536 for word in words):
        raise FlagError(f'--{name} must be whole numbers from 1 to 65536, such as {example}, not "{text}"')
    return [int(word) for word in words]


def parse(name: str, recipe: Recipe, config_type: type[C], argv: Sequence[str]) -> C:
    """Read a command line into the config; raises FlagError. The last of repeated flags wins."""
    try:
        known, rest = _parser(recipe).parse_known_args(list(argv))
    except argparse.ArgumentError as error:  # all that is left to argparse itself is a value that does not follow
        raise FlagError(f"{error.argument_name} needs a value: {error.argument_name}=…") from error
    for word in rest:
        if word.startswith("--") and word != "--":
            raise FlagError(recipe.unknown(word[2:].partition("=")[0], name))
        raise FlagError(f"unexpected argument {word!r}: flags of {name} are written --flag=value")
    return config_type(**vars(known))


def describe(name: str, recipe: Recipe) -> str:
    """The text of `fovea-train <recipe> --help`."""
    lines = [f"fovea-train {name} [--flag=value …]", "", recipe.help, ""]
    for key, known in recipe.flags.items():
        bounds = _bounds(known)
        default = "" if known.default in (None, "") else f" [default: {str(known.default).lower()}]"
        lines += [f"  --{key} <{known.type}>{default}", f"      {known.help}{f' ({bounds})' if bounds else ''}"]
    return "\n".join(lines)


def _parser(recipe: Recipe) -> argparse.ArgumentParser:
    """Argparse for the flags of a recipe; what it says about them are our own sentences, raised as FlagError."""
    parser = _Parser(allow_abbrev=False, add_help=False, exit_on_error=False, argument_default=argparse.SUPPRESS)
    for key, known in recipe.flags.items():
        more: dict[str, Any] = {"nargs": "?", "const": True} if known.type == "bool" else {}
        parser.add_argument(f"--{key}", dest=key.replace("-", "_"), type=_reader(key, known), **more)
        if known.type == "bool" and f"no-{key}" not in recipe.flags:
            parser.add_argument(f"--no-{key}", dest=key.replace("-", "_"), action=_Negation)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Never print the usage of 25 flags and exit."""
        raise FlagError(message)


class _Negation(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs="?", **more)

    def __call__(self, _parser: object, namespace: object, given: object, option: str | None = None) -> None:
        name = str(option)
        if given is not None:
            positive = name.replace("--no-", "--", 1)
            raise FlagError(f"{name} takes no value; write {name} or {positive}={given}")
        setattr(namespace, self.dest, False)


def _reader(key: str, known: Flag) -> Any:
    def read(text: str) -> Value:
        try:
            return known.read(text)
        except ValueError as error:
            raise FlagError(f"--{key} {error}") from error

    return read


def _declared(config_type: type) -> dict[str, "dataclasses.Field[Any]"]:
    """Each flag's field where it was described; dataclasses would list the last base first."""
    declared: dict[str, dataclasses.Field[Any]] = {}
    for base in config_type.__bases__:
        if dataclasses.is_dataclass(base):
            for name, field in _declared(base).items():
                declared.setdefault(name, field)
    for field in dataclasses.fields(config_type):
        if field.metadata or field.name not in declared:
            declared[field.name] = field
    return declared


def _bounds(known: Flag) -> str:
    if known.choices:
        return ", ".join(known.choices)
    return ", ".join(
        f"{word} {value}" for word, value in (("≥", known.minimum), ("≤", known.maximum)) if value is not None
    )


def _type_name(hint: Any) -> str:
    """`float | None` and `float` are both the type "float"."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return str(getattr(hint, "__name__", hint))
