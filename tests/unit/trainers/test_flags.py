"""The command line of the recipes, and the catalogue that is made from the same configs."""

import dataclasses
import re
import shlex
import subprocess
import sys
import typing
from importlib.resources import files
from pathlib import Path

import pytest
from fovea_api import catalogue
from fovea_trainers import entry, flags, main
from fovea_trainers.common_flags import TrainingFlags
from fovea_trainers.errors import FlagError
from fovea_trainers.recipes import image_classifier


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = flags.flag(0.5, "Rate.", minimum=0, maximum=1)
    batch_size: int = flags.flag(32, "Batch.", minimum=1)
    steps: int | None = flags.flag(None, "Steps.")
    augment: bool = flags.flag(True, "Augment.")
    rule: str = flags.flag("sgd", "Rule.", choices=("sgd", "adam"))
    name: str = flags.flag("x", "Name.")


RECIPE = flags.recipe_of("A recipe.", Config)

READ = {
    "nothing: the defaults": ([], Config()),
    "a value after an equals sign": (["--batch-size=8"], Config(batch_size=8)),
    "a value as the next word": (["--batch-size", "8", "--rate", "0.1"], Config(batch_size=8, rate=0.1)),
    "a bare switch": (["--augment"], Config(augment=True)),
    "a switch with true": (["--augment=true"], Config(augment=True)),
    "a switch with false": (["--augment=false"], Config(augment=False)),
    "a switch as Python writes it": (["--augment=False"], Config(augment=False)),
    "a negated switch": (["--no-augment"], Config(augment=False)),
    "the last of two": (["--rate=0.1", "--no-augment", "--rate=0.2", "--augment"], Config(rate=0.2)),
    "an optional number": (["--steps=7"], Config(steps=7)),
    "a whole number with a point": (["--steps=7.0"], Config(steps=7)),
    "a choice": (["--rule=adam"], Config(rule="adam")),
    "a switch with its value as the next word": (["--augment", "false", "--rate=0"], Config(augment=False, rate=0.0)),
    "an empty text": (["--rule=adam", "--name="], Config(rule="adam", name="")),
    "a text with an equals sign and spaces": (["--name=a = b"], Config(name="a = b")),
    "a text that begins with a dash": (["--name=-x"], Config(name="-x")),
}


@pytest.mark.parametrize(("argv", "config"), READ.values(), ids=READ.keys())
def test_a_command_line_becomes_a_config(argv, config):
    result = flags.parse("r", RECIPE, Config, argv)
    assert result == config
    assert [type(v) for v in dataclasses.astuple(result)] == [type(v) for v in dataclasses.astuple(config)]


REFUSED = {
    "an unknown flag": (["--batchsize=1"], "unknown flag --batchsize for r; did you mean --batch-size?"),
    "a stray word": (["data"], "unexpected argument 'data': flags of r are written --flag=value"),
    "a single dash": (["-x"], "unexpected argument '-x': flags of r are written --flag=value"),
    "two dashes alone": (["--", "--rate=1"], "unexpected argument '--': flags of r are written --flag=value"),
    "an abbreviation": (["--batch=1"], "unknown flag --batch for r"),
    "a missing value": (["--rate"], "--rate needs a value: --rate=…"),
    "a flag in the place of a value": (["--rate", "--augment"], "--rate needs a value: --rate=…"),
    "a negative number": (["--batch-size", "-1"], "--batch-size must be at least 1, not -1"),
    "no number": (["--batch-size="], '--batch-size must be a whole number, not ""'),
    "a word behind a switch": (["--augment", "data"], '--augment must be true or false, not "data"'),
    "a negation of what is no switch": (["--no-rate"], "unknown flag --no-rate for r"),
    "a negation with a value": (["--no-augment=true"], "--no-augment takes no value; write --no-augment or --augment"),
    "a value out of range": (["--rate=1.5"], "--rate must be between 0 and 1, not 1.5"),
    "an unknown choice": (["--rule=adams"], '--rule must be one of sgd, adam, not "adams"; did you mean adam?'),
}


@pytest.mark.parametrize(("argv", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_command_line_is_refused_in_plain_words(argv, words):
    with pytest.raises(FlagError) as refusal:
        flags.parse("r", RECIPE, Config, argv)
    assert str(refusal.value).startswith(words)


@dataclasses.dataclass(frozen=True)
class Longer(Config, TrainingFlags):
    batch_size: int = 8
    depth: int = flags.flag(3, "Depth.")


def test_a_recipe_inherits_flags_and_may_change_a_default_alone():
    recipe = flags.recipe_of("A recipe.", Longer)
    own = ["rate", "batch-size", "steps", "augment", "rule", "name"]
    shared = ["epochs", "max-steps", "seed", "checkpoint-every-steps", "train-from-scratch", "mixed-precision", "jit"]
    assert list(recipe.flags) == [*own, *shared, "depth"], "the order of the bases, then its own"
    assert (recipe.flags["batch-size"].default, recipe.flags["batch-size"].minimum) == (8, 1)
    assert flags.parse("r", recipe, Longer, ["--epochs=2"]) == Longer(epochs=2, batch_size=8)
    assert list(flags.values(Longer()))[-2:] == ["jit", "depth"]


def test_an_optional_flag_may_be_written_in_the_old_way():
    number = typing.Union[int, None]  # noqa: UP007
    old = dataclasses.make_dataclass("Old", [("steps", number, flags.flag(None, "Steps."))], frozen=True)
    assert flags.recipe_of("", old).flags["steps"].type == "int"


def test_a_field_that_is_no_flag_is_refused_by_name():
    @dataclasses.dataclass(frozen=True)
    class Careless(TrainingFlags):
        depth: int = 3

    with pytest.raises(TypeError, match=r"Careless.depth is no flag: write depth: … = flag\(default, help\)"):
        flags.recipe_of("", Careless)


def test_the_catalogue_in_the_api_distribution_is_what_the_recipes_define():
    written = files("fovea_api").joinpath(catalogue.FILE).read_text(encoding="utf-8")
    assert written == main.catalogue().to_json(), "stale: run make generate"


def test_what_the_catalogue_accepts_is_what_the_recipe_reads():
    args = {"epochs": 10, "optimizer": "sgd", "learning-rate": 0.01, "early-stopping": False, "augment": False}
    assert catalogue.check("image-classifier", args) == []
    argv = [f"--{name}={value}" for name, value in args.items()]
    recipe = flags.recipe_of("", image_classifier.Config)
    config = flags.parse("image-classifier", recipe, image_classifier.Config, argv)
    assert config == image_classifier.Config(epochs=10, early_stopping=False, augment=False)


def test_the_classic_network_s_values_are_the_defaults():
    config = image_classifier.Config()
    assert (config.image_size, config.batch_size, config.epochs, config.validation_ratio) == (150, 32, 50, 0.2)
    assert (config.optimizer, config.learning_rate, config.momentum, config.decay) == ("sgd", 0.01, 0.9, None)
    assert (config.augment, config.shear, config.zoom, config.flip) == (True, 0.2, 0.2, True)
    assert (config.early_stopping, config.patience, config.min_delta) == (True, 2, 0.0)


def test_the_catalogue_is_made_without_tensorflow():
    program = (
        "import sys; from fovea_trainers.main import main; main(['--catalogue']); main(['image-classifier', '--help']);"
        "sys.exit(bool({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--learning-rate <float> [default: 0.01]" in done.stdout


DOCS = Path(__file__).parents[3] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "reference/recipes").glob("*.md")}


def test_each_recipe_has_a_page_and_the_list_and_the_tutorial_lead_to_it():
    listed = re.findall(r"^\| \[(.+)\]\(recipes/(.+)\.md\)", (DOCS / "reference/recipes.md").read_text(), re.MULTILINE)
    assert listed == [(name, name) for name in sorted(entry.RECIPES)]
    assert PAGES.keys() == entry.RECIPES.keys()
    tutorial = (DOCS / "tutorial/first-model.md").read_text(encoding="utf-8")
    assert "(../reference/recipes/image-classifier.md)" in tutorial
    assert "`fovea-train image-classifier --help`" in tutorial


@pytest.mark.parametrize("recipe", entry.RECIPES)
def test_a_recipe_s_page_lists_the_flags_that_its_help_lists(recipe, capsys):
    assert main.main([recipe, "--help"]) == 0
    helped = re.findall(r"^  --(\S+) <", capsys.readouterr().out, flags=re.MULTILINE)
    listed = re.findall(r"^\| `(\S+)` \|", PAGES[recipe].partition("## Flags")[2], flags=re.MULTILINE)
    assert {"data", "epochs", "seed"} <= set(listed)
    assert listed == helped


def commands():
    """`fovea-train <recipe> …` of all pages, each on one line."""
    for path in sorted(DOCS.glob("[hrt]*/**/*.md")):
        for block in re.findall(r"^```\w+\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["fovea-train"] and words[1:2] and words[1] in entry.RECIPES:
                    yield pytest.param(words[1], words[2:], id=f"{path.stem}: {line[:60]}")


@pytest.mark.parametrize(("recipe", "words"), list(commands()))
def test_a_command_of_the_pages_is_understood(recipe, words):
    chosen = entry.entry(recipe)
    flags.parse(recipe, chosen.recipe, chosen.config_type, [word for word in words if word != "--help"])


COMMANDS = {
    "help": (["--help"], 0, "image-classifier"),
    "no recipe": ([], 2, "Recipes:"),
    "a misspelt recipe": (["image-clasifier"], 2, 'unknown recipe "image-clasifier"; did you mean image-classifier?'),
    "a misspelt flag": (["image-classifier", "--lerning-rate=1"], 2, "did you mean --learning-rate?"),
}


@pytest.mark.parametrize(("argv", "code", "words"), COMMANDS.values(), ids=COMMANDS.keys())
def test_the_program_answers_and_exits(argv, code, words, capsys):
    assert main.main(argv) == code
    answer = capsys.readouterr()
    assert words in answer.out + answer.err
