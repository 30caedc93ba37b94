"""Every recipe as a job: from an uploaded data set to a model that answers. `test_demo.py` has image-classifier.

The jobs are short: how well a recipe learns is shown by its contract test.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import pytest
from fovea.sdk import convert
from fovea_trainers.main import main
from support.local_jobs import machine_type
from support.team_jobs import TeamJobs, team_jobs

MACHINE = "recipes"


@dataclass(frozen=True)
class Case:
    """A recipe on a small made data set: what it is to reach, and what its model answers to a picture of it."""

    dataset: str
    count: int
    args: dict[str, Any]
    metric: str
    floor: float
    pictures: str = ""
    """Glob of pictures to ask about; empty: the model takes no pictures."""
    outputs: tuple[str, ...] = ()
    weights: bool = False


CASES = {
    "tabular": Case(
        *("a8a", 3000, {"hidden": "64,8", "learning-rate": 0.1, "validation-files": "*.t"}, "auc", 0.83),
    ),
    "transfer-classifier": Case(
        *("pets", 60, {"backbone": "mobilenet", "image-size": 64, "epochs": 2, "pooling": "average"}, "accuracy", 0.0),
        pictures="**/*.jpg",
        outputs=("label", "scores"),
        weights=True,
    ),
    "segmenter": Case(
        *("cells", 80, {"image-size": 64, "augment": False, "epochs": 2, "learning-rate": 0.002}, "accuracy", 0.5),
        pictures="Images/*.png",
        outputs=("mask_bytes",),
    ),
    "face-verifier": Case(
        *(
            "identities",
            40,
            {"image-size": 32, "epochs": 3, "learning-rate": 0.002, "augment": False},
            "accuracy",
            0.55,
        ),
        pictures="*/*.jpg",
        outputs=("embedding",),
    ),
    "caption-generator": Case(
        "captions",
        120,
        {
            "backbone": "small-cnn",
            "image-size": 48,
            "d-model": 64,
            "layers": 1,
            "heads": 4,
            "dff": 128,
            "dropout": 0,
            "warmup-steps": 100,
            "learning-rate": 0.5,
            "batch-size": 16,
            "epochs": 3,
            "longest": 16,
        },
        *("accuracy", 0.3),
        pictures="Flicker8k_Dataset/*.jpg",
        outputs=("caption",),
    ),
}


@dataclass(frozen=True)
class Recipes:
    """Jobs of all recipes, and where their data lies."""

    jobs: TeamJobs
    data: Path
    pictures: dict[str, list[Path]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def recipes(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recipes]:
    root = tmp_path_factory.mktemp("recipes")
    weights = root / "weights" / "mobilenet.weights.h5"
    weights.parent.mkdir()
    keras.applications.MobileNet(weights=None, include_top=False, input_shape=(64, 64, 3)).save_weights(weights)
    cluster.fovea("data", "upload", str(weights.parent), "recipes-weights", "-n", "vision")
    cluster.apply(machine_type(MACHINE, memory="1536Mi"))
    with team_jobs(cluster) as submitted:
        for recipe, case in CASES.items():
            assert main(["make-dataset", case.dataset, str(root / case.dataset), f"--count={case.count}"]) == 0
            cluster.fovea("data", "upload", str(root / case.dataset), f"recipes-{case.dataset}", "-n", "vision")
            inputs = {"data": f"s3://fovea/vision/datasets/recipes-{case.dataset}"}
            if case.weights:
                inputs["weights"] = "s3://fovea/vision/datasets/recipes-weights"
            spec = {
                "trainer": {"recipe": recipe},
                "args": case.args,
                "inputs": inputs,
                "scaleTier": "CUSTOM",
                "roles": {"chief": {"machineType": MACHINE}},
                "model": {"name": recipe, "deploy": True},
            }
            submitted.submit(f"recipe-{recipe}", spec)
        yield Recipes(submitted, root)
    for recipe in CASES:
        cluster.kubectl("delete", "modeldeployment", recipe, "-n", "vision", "--ignore-not-found")
    cluster.kubectl("delete", "machinetype", MACHINE, "--wait=false")


@pytest.mark.parametrize("recipe", CASES)
def test_a_recipe_trains_to_its_floor_and_its_version_shows_the_metric(
    cluster: Any, recipes: Recipes, recipe: str
) -> None:
    status = recipes.jobs.ended(f"recipe-{recipe}", seconds=420)
    case = CASES[recipe]
    assert status["metrics"][case.metric] > case.floor
    version = cluster.get("modelversion", status["modelVersion"])["spec"]
    assert version["mainMetric"] == {"name": status["mainMetric"], "value": status["metrics"][status["mainMetric"]]}
    shown = cluster.fovea("jobs", "describe", f"recipe-{recipe}", "-n", "vision").stdout
    assert "evaluation.json" in shown
    assert "loss.png" in shown


@pytest.mark.parametrize("recipe", [name for name, case in CASES.items() if case.pictures])
def test_the_model_of_a_recipe_answers_for_pictures(cluster: Any, recipes: Recipes, recipe: str) -> None:
    recipes.jobs.ended(f"recipe-{recipe}", seconds=420)
    case = CASES[recipe]
    pictures = sorted((recipes.data / case.dataset).glob(case.pictures))[:2]
    assert len(pictures) == 2
    ready = (f"modeldeployment/{recipe}", "--for=condition=Serving", "--timeout=180s")
    cluster.kubectl("wait", *ready, "-n", "vision")
    said = cluster.fovea("predict", "-n", "vision", "--model", recipe, "--format", "json", *map(str, pictures))
    answers = json.loads(said.stdout)
    assert len(answers) == 2
    for answer in answers:
        assert set(case.outputs) <= answer.keys() | answer.get("outputs", {}).keys(), answer


def test_a_job_writes_what_a_registered_table_model_says_of_a_file(
    cluster: Any, recipes: Recipes, tmp_path: Path
) -> None:
    trained = recipes.jobs.ended("recipe-tabular", seconds=420)
    number = trained["modelVersion"].rpartition("-v")[2]
    spec = {
        "trainer": {"recipe": "tabular"},
        "args": {"mode": "inference", "train-files": "*.t"},
        "inputs": {"data": "s3://fovea/vision/datasets/recipes-a8a", "model": f"model://tabular/{number}"},
        "scaleTier": "CUSTOM",
        "roles": {"chief": {"machineType": MACHINE}},
    }
    job = recipes.jobs.submit("recipe-tabular-predictions", spec)
    assert "modelVersion" not in recipes.jobs.ended(job, seconds=180)
    cluster.fovea("jobs", "download", job, str(tmp_path / "output"), "-n", "vision")
    with (tmp_path / "output" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["row"]) for row in rows] == [("a8a.t", str(number + 1)) for number in range(1000)]
    right = sum(row["label"] == row["truth"] for row in rows) / len(rows)
    assert right == pytest.approx(trained["metrics"]["val_accuracy"], abs=1e-4), "a file is asked as it was evaluated"


def test_a_job_trains_on_shards_that_arrive_while_it_runs(cluster: Any, recipes: Recipes, tmp_path: Path) -> None:
    assert main(["make-dataset", "pets", str(tmp_path / "pets"), "--count=60"]) == 0
    convert.images(tmp_path / "pets", tmp_path / "shards", shard_bytes=100_000)
    cluster.fovea("data", "upload", str(tmp_path / "shards"), "recipes-streamed", "-n", "vision")
    spec = {
        "trainer": {"recipe": "image-classifier"},
        "args": {"image-size": 32, "epochs": 2, "shuffle-shards": 2, "early-stopping": False},
        "inputs": {"data": "s3://fovea/vision/datasets/recipes-streamed"},
        "inputModes": {"data": "Stream"},
        "scaleTier": "CUSTOM",
        "roles": {"chief": {"machineType": MACHINE}},
    }
    status = recipes.jobs.ended(recipes.jobs.submit("recipe-streamed", spec), seconds=300)
    assert status["progress"]["epoch"] == 2
    assert "(streamed)" in cluster.fovea("jobs", "describe", "recipe-streamed", "-n", "vision").stdout
