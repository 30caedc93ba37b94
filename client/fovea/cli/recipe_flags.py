"""Flags of a recipe among the words of `fovea jobs submit`, where they are no flags of the command itself."""

import difflib
from collections.abc import Iterator, Sequence

import click
from fovea_api import catalogue

_TRUTH = ("true", "false")


def split(command: click.Command, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own words, and the recipe's flags among them as --name=value. UsageError for a flag of neither.

    Before `--` a flag of the command comes first: a recipe's flag of the same name goes after it.
    """
    words = _Words(command, args)
    strange = [word for kind, word, _ in words if kind == "strange"]
    if not strange:
        return list(args), []
    name = words.value_of("--recipe")
    recipe = catalogue.load().recipes.get(name) if name else None
    if recipe is None:
        raise click.UsageError(_no_recipe(command, strange[0], name, image=bool(words.value_of("--image"))))
    own, flags, skipped = list[str](), list[str](), False
    for kind, word, following in words:
        if skipped:
            skipped = False
        elif kind != "strange":
            own.append(word)
        else:
            flag, skipped = _flag(command, name, recipe, word, following)
            flags.append(flag)
    return own, flags


class _Words:
    """The words of a command line, sorted: a flag that the command does not have is strange."""

    def __init__(self, command: click.Command, args: Sequence[str]) -> None:
        self._args = list(args)
        self._takes_value = {
            name: not (option.is_flag or option.count)
            for option in command.params
            if isinstance(option, click.Option)
            for name in (*option.opts, *option.secondary_opts)
        } | {"--help": False, "-h": False}

    def __iter__(self) -> Iterator[tuple[str, str, str | None]]:
        """Kind (own, value, strange), word and the word after it."""
        value = False
        for index, word in enumerate(self._args):
            following = self._args[index + 1] if index + 1 < len(self._args) else None
            name = word.partition("=")[0]
            if value:
                yield "value", word, following
                value = False
            elif word.startswith("--") and len(word) > 2 and name not in self._takes_value:
                yield "strange", word, following
            else:
                value = "=" not in word and self._takes_value.get(word, False)
                yield "own", word, following

    def value_of(self, name: str) -> str:
        """The value of an option of the command; empty without one."""
        found = ""
        for kind, word, following in self:
            if kind == "own" and word.partition("=")[0] == name:
                found = word.partition("=")[2] if "=" in word else following or ""
        return found


def _flag(
    command: click.Command, name: str, recipe: catalogue.Recipe, word: str, following: str | None
) -> tuple[str, bool]:
    """A word as a flag of the recipe, and whether it took the word after it. UsageError where the recipe has none."""
    flag, equals, _ = word.removeprefix("--").partition("=")
    positive = flag.removeprefix("no-")
    known = recipe.flags.get(flag)
    if known is None and not (recipe.flags.get(positive) and recipe.flags[positive].type == "bool" and not equals):
        raise click.UsageError(_unknown(command, name, recipe, word))
    if equals or known is None:
        return word, False
    if known.type == "bool":
        takes = (following or "").lower() in _TRUTH
        return (f"{word}={following}" if takes else f"{word}=true"), takes
    if following is None or following.startswith("--"):
        raise click.UsageError(f"--{flag} of {name} needs a value: --{flag}={known.type.upper()}")
    return f"{word}={following}", True


def _unknown(command: click.Command, name: str, recipe: catalogue.Recipe, word: str) -> str:
    flag = word.partition("=")[0]
    candidates = {f"--{known}": f"a flag of {name}" for known in recipe.flags}
    candidates |= dict.fromkeys(_options(command), "an option of this command")
    near = difflib.get_close_matches(flag.lower().replace("_", "-"), candidates, n=1, cutoff=0.6)
    hint = (
        f"did you mean {near[0]} ({candidates[near[0]]})?"
        if near
        else f"docs/reference/recipes/{name}.md lists those that there are."
    )
    return (
        f"neither this command nor recipe {name} has a flag {flag}: {hint} "
        f"One that only a newer image knows goes after --: `-- {word}`"
    )


def _no_recipe(command: click.Command, word: str, recipe: str, *, image: bool) -> str:
    flag = word.partition("=")[0]
    if recipe:
        return (
            catalogue.load().unknown(recipe)
            + f"; so the command cannot know whether {flag} is a flag of the recipe: put it after --: `-- {word}`"
        )
    near = difflib.get_close_matches(flag, _options(command), n=1, cutoff=0.7)
    hint = f" Did you mean {near[0]}?" if near else ""
    whose = "of your program" if image else "of the program or recipe"
    return f"No such option: {flag}.{hint} A flag {whose} goes after --: `-- {word}`"


def _options(command: click.Command) -> list[str]:
    return [name for option in command.params for name in option.opts if name.startswith("--")]
