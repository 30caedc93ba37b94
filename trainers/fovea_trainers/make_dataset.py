"""`fovea-train make-dataset`: writes a data set of `datasets/` into a folder."""

import argparse
import importlib
import pkgutil
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fovea_api.contract import exit_codes

from fovea_trainers import datasets
from fovea_trainers.command_line import Parser
from fovea_trainers.errors import FlagError, TrainerError

HELP = "Write a small made data set in the layout of a public one."
COUNT = 1000
_USAGE = "fovea-train make-dataset NAME OUT [--count=N] [--pictures=N] [--seed=N]"


@dataclass(frozen=True)
class Generator:
    """A module of `datasets/`."""

    help: str
    count: int
    """Used where none is given."""
    write: Callable[..., None]
    """(root, *, count, seed), and `pictures` where there is a number of them: see `datasets`."""
    pictures: int | None = None
    """Of each person or thing, used where none is given; None: the data set has no such number."""


def names() -> list[str]:
    """Of all data sets that can be made."""
    return sorted(module.name for module in pkgutil.iter_modules(datasets.__path__) if not module.name.startswith("_"))


def generator(name: str) -> Generator:
    """By name; raises FlagError for one that does not exist."""
    if name not in names():
        raise FlagError(f"data set {name} does not exist: there is {', '.join(names())}")
    module = importlib.import_module(f"{datasets.__name__}.{name}")
    return Generator(module.HELP, getattr(module, "COUNT", COUNT), module.write, getattr(module, "PICTURES_EACH", None))


def make(name: str, out: Path, *, count: int | None, seed: int, pictures: int | None = None) -> None:
    """Write a data set to `out`, which appears complete.

    Raises FlagError for a place that holds something and for `pictures` where there is no such number, TrainerError for a place
    that takes nothing.
    """
    chosen = generator(name)
    numbers = {"count": count or chosen.count} | _pictures(name, chosen, pictures)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FlagError(f"{out} exists and is not empty: name a new folder, or remove it first")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise TrainerError(f"{out} cannot be written: {error}") from error
    try:
        chosen.write(staging, seed=seed, **numbers)
        staging.chmod(0o755)
        staging.rename(out)
    except OSError as error:
        raise TrainerError(f"{out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # it is gone unless something failed


def main(argv: Sequence[str]) -> int:
    """The command; returns the exit code. Raises FlagError."""
    if not argv or "-h" in argv or "--help" in argv:
        print(describe())
        return exit_codes.OK if argv else FlagError.exit_code
    parser = Parser(_USAGE)
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=_whole(1))
    parser.add_argument("--pictures", type=_whole(2))
    parser.add_argument("--seed", type=_whole(0), default=1)
    given = parser.read(argv)
    make(given.name, given.out, count=given.count, seed=given.seed, pictures=given.pictures)
    print(f"wrote data set {given.name} to {given.out}")
    return exit_codes.OK


def describe() -> str:
    """The text of --help."""
    lines = [_USAGE, "", HELP, "The same numbers and --seed give the same bytes. --seed is 1 where none is given.", ""]
    for name in names():
        known = generator(name)
        more = "" if known.pictures is None else f", --pictures: {known.pictures}"
        lines.append(f"  {name:<14}{known.help} [--count: {known.count}{more}]")
    return "\n".join(lines)


def _pictures(name: str, chosen: Generator, given: int | None) -> dict[str, int]:
    if chosen.pictures is not None:
        return {"pictures": given or chosen.pictures}
    if given is None:
        return {}
    having = ", ".join(other for other in names() if generator(other).pictures is not None)
    raise FlagError(f"data set {name} has no --pictures={given}: only {having} has; drop it, or give --count")


def _whole(minimum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least {minimum}")
        return int(text)

    return read
