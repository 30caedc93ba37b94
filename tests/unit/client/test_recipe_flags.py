"""Flags of a recipe on the command line of `jobs submit`: taken where they can only be the recipe's, else explained."""

from typing import Any

import pytest
from fovea.cli.main import cli
from fovea_api import catalogue
from support.command_line import fovea

RECIPE = ("--recipe", "image-classifier")


def args(*words: str) -> Any:
    return fovea("jobs", "submit", "x", "--print", "--format", "json", *words).ok().json()["spec"].get("args")


@pytest.mark.parametrize(
    "words",
    [
        (*RECIPE, "--epochs", "6", "--no-early-stopping", "--learning-rate=0.5"),
        (*RECIPE, "--epochs=6", "--learning-rate", "0.5", "--early-stopping", "false"),
        ("--epochs=6", "--early-stopping=false", *RECIPE, "--learning-rate", "0.5"),
        (*RECIPE, "--", "--epochs=6", "--no-early-stopping", "--learning-rate", "0.5"),
        (*RECIPE, "--epochs", "6", "--", "--no-early-stopping", "--learning-rate", "0.5"),
        ("--recipe=image-classifier", "--arg", "epochs=6", "--no-early-stopping", "--learning-rate", "0.5"),
    ],
    ids=" ".join,
)
def test_a_recipes_flags_mean_the_same_however_they_are_written(words: tuple[str, ...]) -> None:
    assert args(*words) == {"epochs": 6, "early-stopping": False, "learning-rate": 0.5}


def test_every_flag_of_every_recipe_is_taken_unless_the_command_has_one_of_that_name() -> None:
    submit: Any = cli.commands["jobs"].commands["submit"]  # type: ignore[attr-defined]
    own = {name for option in submit.params for name in option.opts}
    for recipe, known in catalogue.load().recipes.items():
        for name, flag in known.flags.items():
            value = flag.choices[0] if flag.choices else {"bool": "true", "str": "x"}.get(flag.type, "1")
            if f"--{name}" not in own:
                for words in ((f"--{name}={value}",), (f"--{name}", value)):
                    assert set(args("--recipe", recipe, *words)) == {name}


def test_a_value_that_looks_like_a_flag_stays_the_value_of_its_option() -> None:
    printed = fovea("jobs", "submit", "x", "--image", "i", "--command", "--epochs", "--print", "--format", "json").ok()
    assert printed.json()["spec"]["trainer"]["container"]["command"] == ["--epochs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*RECIPE, "--epoch", "6"), "has a flag --epoch: did you mean --epochs (a flag of image-classifier)?"),
        (
            (*RECIPE, "--epoch=6"),
            "did you mean --epochs (a flag of image-classifier)? One that only a newer image knows goes after --: `-- --epoch=6`",
        ),
        ((*RECIPE, "--machine-typ", "m"), "did you mean --machine-type (an option of this command)?"),
        ((*RECIPE, "--xyzzy=1"), "docs/reference/recipes/image-classifier.md lists those that there are"),
        ((*RECIPE, "--epochs"), "--epochs of image-classifier needs a value: --epochs=INT"),
        (
            ("--image", "i", "--epochs", "6"),
            "No such option: --epochs. A flag of your program goes after --: `-- --epochs`",
        ),
        (("--image", "i", "--epochs=6"), "A flag of your program goes after --: `-- --epochs=6`"),
        (("--epochs=6",), "A flag of the program or recipe goes after --: `-- --epochs=6`"),
        (("--recipe", "image-clasifier", "--epochs=6"), "did you mean image-classifier?"),
        (("--imag", "i"), "Did you mean --image?"),
    ],
    ids=str,
)
def test_a_flag_that_is_nobodys_is_refused_with_the_way_to_say_it(words: tuple[str, ...], message: str) -> None:
    ran = fovea("jobs", "submit", "x", *words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
