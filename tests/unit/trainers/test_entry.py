"""Recipes that are not the image's: a file, a module; what is wrong with one is said by name."""

import sys
from pathlib import Path

import pytest
from fovea_trainers import entry, main
from fovea_trainers.errors import FlagError

RECIPE = """
from dataclasses import dataclass
from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.flags import flag
from beside import DEPTH

HELP = "A recipe of mine."

@dataclass(frozen=True)
class Config(TrainingFlags):
    depth: int = flag(DEPTH, "Depth.", minimum=1)
    epochs: int = 7

def run(config, session):
    raise NotImplementedError
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of recipes; what a test imports from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "my_recipe.py").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "beside.py").write_text("DEPTH = 3", encoding="utf-8")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in (entry.OWN, "beside", "team"):
            del sys.modules[name]


def test_a_file_is_a_recipe_and_imports_what_lies_beside_it(folder):
    found = entry.entry("./my_recipe.py")
    assert (found.name, found.recipe.help) == ("my-recipe", "A recipe of mine.")
    assert (found.recipe.flags["depth"].default, found.recipe.flags["epochs"].default) == (3, 7)


def test_a_file_is_found_from_another_folder(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert entry.entry("../my_recipe.py").name == "my-recipe"
    assert entry.entry(str(folder / "my_recipe.py")).name == "my-recipe"


def test_a_file_may_have_the_name_of_a_library(folder):
    import json

    (folder / "json.py").write_text(RECIPE, encoding="utf-8")
    assert entry.entry("./json.py").name == "json"
    assert sys.modules["json"] is json


def test_a_module_is_a_recipe_with_the_name_that_it_gives_itself(folder):
    (folder / "team").mkdir()
    (folder / "team" / "deep.py").write_text(RECIPE + "\nNAME = 'deeper'\n", encoding="utf-8")
    assert entry.entry("team.deep").name == "deeper"


def test_its_flags_are_listed_and_checked_like_those_of_the_image_s_recipes(folder, capsys):
    assert main.main(["./my_recipe.py", "--help"]) == 0
    assert "--depth <int> [default: 3]" in capsys.readouterr().out
    assert main.main(["./my_recipe.py", "--dept=2"]) == 2
    assert "unknown flag --dept for ./my_recipe.py; did you mean --depth?" in capsys.readouterr().err
    assert main.main(["./my_recipe.py", "--depth=0"]) == 2
    assert "--depth must be at least 1, not 0" in capsys.readouterr().err


NO_RECIPE = {
    "no such file": ("./none.py", None, "recipe none.py does not exist"),
    "no such module": ("team.none", None, "recipe team.none does not exist: there is no module team"),
    "a folder": ("./folder/", None, "recipe folder does not exist"),
    "no Python file": ("./notes.txt", "text", "recipe notes.txt is no Python file: its name must end in .py"),
    "an empty file": ("./odd.py", "", "./odd.py is no recipe: it has no HELP, Config, run"),
    "a config without the loop's flags": (
        "./odd.py",
        "HELP = 'x'\nclass Config: pass\ndef run(config, session): pass",
        "./odd.py is no recipe: its Config must inherit fovea_trainers.sdk.TrainingFlags",
    ),
    "a config that is no dataclass": (
        "./odd.py",
        RECIPE.replace("@dataclass(frozen=True)", ""),
        "./odd.py: Config is no dataclass: write @dataclass(frozen=True) above it",
    ),
    "a flag that is a list": (
        "./odd.py",
        RECIPE.replace("depth: int", "depth: list"),
        "./odd.py: Config.depth is a list: a flag is a bool, int, float or str, or None",
    ),
    "a field that is no flag": (
        "./odd.py",
        RECIPE.replace('flag(DEPTH, "Depth.", minimum=1)', "3"),
        "./odd.py: Config.depth is no flag: write depth: … = flag(default, help)",
    ),
}


@pytest.mark.parametrize(("name", "text", "words"), NO_RECIPE.values(), ids=NO_RECIPE.keys())
def test_what_is_no_recipe_is_refused_with_what_it_lacks(folder, name, text, words):
    if text is not None:
        Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(FlagError) as refusal:
        entry.entry(name)
    assert str(refusal.value).startswith(words)
