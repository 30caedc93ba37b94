"""The flag catalogue of the recipes: what `spec.args` may say. Made from the trainers, read by operator and client.

`catalogue.json` beside this module is what `fovea-train --catalogue` prints, taken from the recipes' typed configs:

    {"version": "0.1.0",                      # version of the fovea-trainers distribution it was made from
     "recipes": {
       "image-classifier": {
         "help": "One line.",
         "flags": {                           # by name in kebab-case, without the dashes
           "learning-rate": {
             "type": "float",                 # bool | int | float | str
             "default": 0.01,                 # null: no value; what then happens stands in the help
             "help": "One line.",
             "minimum": 0.0, "maximum": 1.0,  # both inclusive, only where there is a bound
             "choices": ["sgd", "adam"]}}}}}  # only where the value is one of a few

An argument becomes `--<flag>=<value>` on the trainer's command line, so a text that reads as the flag's type is as good
as the type.
"""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Self

FILE = "catalogue.json"

Value = bool | int | float | str
"""What a flag may be set to."""

_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text"}
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Flag:
    """One flag of a recipe: its type, default and bounds (inclusive)."""

    type: str
    default: Value | None
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, value: Value) -> Value:
        """Bring a value, or a text for one, to the flag's type; raises ValueError saying what is expected."""
        result = _convert(self.type, value)
        if result is None:
            raise ValueError(f"must be {_WORDS[self.type]}, not {json.dumps(value)}")
        if self.choices and result not in self.choices:
            hint = _hint(str(value), self.choices)
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {json.dumps(value)}{hint}")
        if isinstance(result, (int, float)) and not isinstance(result, bool) and not self._within(result):
            raise ValueError(f"must be {self._range()}, not {value}")
        return result

    def to_json(self) -> dict[str, Any]:
        """The catalogue's entry."""
        document: dict[str, Any] = {"type": self.type, "default": self.default, "help": self.help}
        document |= {name: value for name in ("minimum", "maximum") if (value := getattr(self, name)) is not None}
        return document | ({"choices": list(self.choices)} if self.choices else {})

    def _within(self, number: float) -> bool:
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)

    def _range(self) -> str:
        if self.maximum is None:
            return f"at least {self.minimum}"
        return f"at most {self.maximum}" if self.minimum is None else f"between {self.minimum} and {self.maximum}"


@dataclass(frozen=True)
class Recipe:
    """One recipe: its line of help and its flags by name."""

    help: str
    flags: Mapping[str, Flag]

    def unknown(self, flag: str, recipe: str) -> str:
        """The sentence that refuses a flag which this recipe does not have."""
        return f"unknown flag --{flag} for {recipe}{_hint(flag, self.flags, '--')}"

    def check(self, recipe: str, args: Mapping[str, Value]) -> list[str]:
        """Plain-worded errors, one per argument that is wrong, in the order given."""
        problems = []
        for name, value in args.items():
            if name not in self.flags:
                problems.append(self.unknown(name, recipe))
                continue
            try:
                self.flags[name].read(value)
            except ValueError as error:
                problems.append(f"--{name} of {recipe} {error}")
        return problems


@dataclass(frozen=True)
class Catalogue:
    """All recipes of one version of the trainers."""

    version: str
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read `catalogue.json`; raises ValueError, KeyError or TypeError when it is not one."""
        document = json.loads(text)
        recipes = {
            name: Recipe(
                recipe["help"],
                {n: Flag(**(f | {"choices": tuple(f.get("choices", ()))})) for n, f in recipe["flags"].items()},
            )
            for name, recipe in document["recipes"].items()
        }
        return cls(document["version"], recipes)

    def to_json(self) -> str:
        """The file's text, flags in the order of the recipe's config."""
        recipes = {
            name: {"help": recipe.help, "flags": {n: flag.to_json() for n, flag in recipe.flags.items()}}
            for name, recipe in self.recipes.items()
        }
        return json.dumps({"version": self.version, "recipes": recipes}, indent=2) + "\n"

    def check(self, recipe: str, args: Mapping[str, Value]) -> list[str]:
        """Plain-worded errors for a job's recipe and arguments; an empty list when they are fine."""
        if recipe not in self.recipes:
            return [self.unknown(recipe)]
        return self.recipes[recipe].check(recipe, args)

    def unknown(self, recipe: str) -> str:
        """The sentence that refuses a recipe which does not exist."""
        hint = _hint(recipe, self.recipes) or f"; there is {', '.join(sorted(self.recipes))}"
        return f"unknown recipe {json.dumps(recipe)}{hint}"


@cache
def load() -> Catalogue:
    """The catalogue that this version of Fovea was built with."""
    return Catalogue.from_json(files("fovea_api").joinpath(FILE).read_text(encoding="utf-8"))


def check(recipe: str, args: Mapping[str, Value]) -> list[str]:
    """Plain-worded errors for a recipe and its arguments, by the catalogue of this version of Fovea."""
    return load().check(recipe, args)


def _convert(kind: str, value: object) -> Value | None:
    """The value in the flag's type, or None where it does not read as one."""
    if kind == "bool":
        return value if isinstance(value, bool) else _TRUTH.get(str(value).lower())
    if isinstance(value, bool):
        return None
    if kind == "str":
        return value if isinstance(value, str) else str(value)
    try:
        if kind == "int" and "." not in str(value) and "e" not in str(value).lower():
            return int(str(value))
        number = float(str(value))
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if kind == "float":
        return number
    return int(number) if number.is_integer() else None  # YAML writers say 10.0 and 1e3 for whole numbers too


def _hint(word: str, candidates: Iterable[str], dashes: str = "") -> str:
    """`; did you mean …?` with the nearest of the candidates, or nothing."""
    near = difflib.get_close_matches(word.lower().replace("_", "-"), list(candidates), n=1, cutoff=0.6)
    return f"; did you mean {dashes}{near[0]}?" if near else ""
