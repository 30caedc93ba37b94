"""How a recipe or a Python file is started on this machine. Neither is imported: that needs TensorFlow."""

import ast
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import InvalidError, NotInstalledError

_OF_A_RECIPE = {"HELP", "Config", "run"}
"""What a file defines that `fovea-train` can run."""


def command(program: str, flags: Sequence[str]) -> list[str]:
    """The command line for a recipe's name, its module, or a file.

    Raises InvalidError for a file that does not exist or is no Python, NotInstalledError without fovea-trainers.
    """
    if program.endswith(".py") or "/" in program:
        path = Path(program)
        if not path.is_file():
            raise InvalidError(f"{program} does not exist: name a recipe, such as image-classifier, or a Python file")
        if not _defined(path) >= _OF_A_RECIPE:
            return [sys.executable, program, *flags]
    return [*_trainer(), program, *flags]


def _defined(path: Path) -> set[str]:
    """Names that a file gives to functions, classes and values."""
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError) as error:
        raise InvalidError(f"{path} is no Python program: {error}") from error
    names: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _trainer() -> list[str]:
    """Fovea-train of this Python, else of the path."""
    if importlib.util.find_spec("fovea_trainers") is not None:
        return [sys.executable, "-m", "fovea_trainers"]
    if found := shutil.which("fovea-train"):
        return [found]
    raise NotInstalledError(
        "fovea-train, which runs recipes, is not installed. Install it with its TensorFlow: pip install 'fovea-trainers[cpu]'"
        " (with a GPU: 'fovea-trainers[gpu]'). A Python program that is no recipe needs neither"
    )
