"""Recipes by name: those of the image, a module of somebody's package, a file."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fovea_api.catalogue import Catalogue, Recipe

from fovea_trainers import flags
from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.errors import FlagError

if TYPE_CHECKING:
    from fovea_trainers.runtime.session import Session

DISTRIBUTION = "fovea-trainers"
RECIPES = {
    "face-verifier": "fovea_trainers.recipes.face_verifier",
    "image-classifier": "fovea_trainers.recipes.image_classifier",
    "segmenter": "fovea_trainers.recipes.segmenter",
    "caption-generator": "fovea_trainers.recipes.caption_generator",
    "tabular": "fovea_trainers.recipes.tabular",
    "transfer-classifier": "fovea_trainers.recipes.transfer_classifier",
}
"""Name -> module. Of these only what `run` calls imports TensorFlow, so that the catalogue is made without it."""
OWN = "__recipe__"
"""The module that a file becomes: not the file's name, which may be that of a library."""


@dataclass(frozen=True)
class Entry:
    """A recipe's module, as far as the command line needs it."""

    name: str
    recipe: Recipe
    config_type: type[TrainingFlags]
    run: "Callable[[Any, Session], None]"


def entry(name: str) -> Entry:
    """Load a recipe: `image-classifier`, `my_package.my_recipe` or `./my_recipe.py`.

    Raises FlagError for one that does not exist or is no recipe, and whatever its module raises.
    """
    if name in RECIPES:
        return _entry(name, name, importlib.import_module(RECIPES[name]))
    if name.endswith(".py") or os.sep in name:
        return _entry(name, Path(name).stem, _of_file(Path(name)))
    if "." in name:
        return _entry(name, name.rpartition(".")[2], _of_package(name))
    raise FlagError(Catalogue(version(DISTRIBUTION), dict.fromkeys(RECIPES, Recipe("", {}))).unknown(name))


def catalogue() -> Catalogue:
    """Flags of the image's recipes, stamped with this distribution's version."""
    return Catalogue(version(DISTRIBUTION), {name: entry(name).recipe for name in RECIPES})


def _of_file(path: Path) -> ModuleType:
    """As `python path` does it: modules beside the file can be imported."""
    if not path.is_file():
        raise FlagError(
            f"recipe {path} does not exist; name a file, a module (my_package.my_recipe) or a recipe of --help"
        )
    sys.path.insert(0, str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(OWN, path)
    if spec is None or spec.loader is None:
        raise FlagError(f"recipe {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[OWN] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _of_package(name: str) -> ModuleType:
    """As `python -m name` does it: also from the current folder."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that it imports
        raise FlagError(
            f"recipe {name} does not exist: there is no module {error.name} in {Path.cwd()} or among what is installed"
        ) from error


def _entry(name: str, short: str, module: ModuleType) -> Entry:
    missing = [part for part in ("HELP", "Config", "run") if not hasattr(module, part)]
    if missing:
        raise FlagError(
            f"{name} is no recipe: it has no {', '.join(missing)}; a recipe has HELP, Config and run(config, session)"
        )
    config_type = module.Config
    if not (isinstance(config_type, type) and issubclass(config_type, TrainingFlags)):
        raise FlagError(
            f"{name} is no recipe: its Config must inherit fovea_trainers.sdk.TrainingFlags, by whose flags the "
            "loop runs"
        )
    try:
        recipe = flags.recipe_of(module.HELP, config_type)
    except TypeError as error:
        raise FlagError(f"{name}: {error}") from error
    return Entry(getattr(module, "NAME", short.replace("_", "-")), recipe, config_type, module.run)
