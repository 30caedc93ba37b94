"""docs/tutorial/captions.md as it stands there: on rendered shapes the model says what is where, which no fixed caption does."""

import json
import re
from pathlib import Path

import pytest
import yaml
from fovea_api import catalogue
from fovea_api.contract import environment
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.captions import reading
from fovea_trainers.datasets import captions
from support import pages

PAGE = "docs/tutorial/captions.md"
BLOCKS = pages.blocks(PAGE)
COMMANDS = [line for block in BLOCKS["console"] for line in block.replace("\\\n", "").splitlines()]
FORMS, COLOURS, SIZES = ("|".join(names) for names in (captions.FORMS, captions.COLOURS, captions.SIZES))
SHAPE = f"({SIZES}) ({COLOURS}) ({FORMS})"
SENTENCE = re.compile(rf"(?:there is )?{SHAPE} (?:is )?(above|left of|below|right of) {SHAPE}")
MIRRORED = {opposite: where for where, opposite in captions.OPPOSITE.items()}


def command(beginning):
    (found,) = (line for line in COMMANDS if line.startswith(beginning))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands of the page were run, with what they left in `fovea-out`."""
    root = tmp_path_factory.mktemp("captions")
    assert COMMANDS[:2] == ["make setup", ". .venv/bin/activate"]
    pages.in_environment(command("fovea-train make-dataset"), root)
    said = pages.in_environment(command("head "), root)
    assert re.fullmatch(r"(\d{10}_\w{10}\.jpg#[012]\t(A|There is a) .*\n){3}", said)
    pages.in_environment(command("fovea-train caption-generator"), root)
    return root


def attributes(caption):
    """Size, colour and form of the upper or left shape, the way, and those of the other; None where it does not tell all."""
    match = SENTENCE.fullmatch(caption)
    if match is None:
        return None
    first, where, second = match.groups()[:3], match[4], match.groups()[4:]
    return (second, MIRRORED[where], first) if where in MIRRORED else (first, where, second)


@pytest.mark.wide
def test_the_model_says_what_is_where_far_more_often_than_the_most_frequent_caption(folder):
    document = json.loads((folder / "fovea-out/output" / environment.EVALUATION_FILE).read_text())
    data = reading.read(folder / "shapes", "", max_bad_ratio=0)
    true = {data.name(number): attributes(" ".join(data.captions[number][0])) for number in range(len(data))}
    assert None not in true.values()
    report = document["sets"]["test"]
    right = [attributes(caption) == true[name] for name, caption in report["captions"].items()]
    most_frequent = attributes(report["mostFrequentCaption"]["caption"])
    guessed = [most_frequent == true[name] for name in report["captions"]]
    assert sum(guessed) / len(guessed) < 0.05
    assert sum(right) / len(right) > 0.5
    assert document["metrics"]["bleu4"] > report["mostFrequentCaption"]["bleu4"] + 0.4
    assert document["mainMetric"] == "bleu4"


@pytest.mark.wide
def test_the_page_says_how_the_model_is_asked(folder):
    (script,) = BLOCKS["python"]
    (folder / "ask.py").write_text(script, encoding="utf-8")
    said = pages.in_environment(command("python ask.py"), folder, TF_CPP_MIN_LOG_LEVEL="3")
    for way in ("serving_default", "beam"):
        assert len(re.findall(rf"^{way} (?:there is )?{SHAPE} ", said, re.MULTILINE)) == 2, said
    assert "('<end>', " in said


def test_the_job_of_the_examples_is_one_whose_flags_the_recipe_has():
    job = yaml.safe_load((Path(__file__).parents[2] / "examples/captions.yaml").read_text(encoding="utf-8"))
    TrainingJob.model_validate(job)
    assert catalogue.check(job["spec"]["trainer"]["recipe"], job["spec"]["args"]) == []
    assert "kubectl apply -f examples/captions.yaml" in COMMANDS
