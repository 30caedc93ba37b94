"""Every recipe in several processes, each way, against the same recipe in one process.

In `make test-all` only: each pair starts up to six processes. In `make test`, the other tests of distributed training take
image-classifier and tabular through each way.
"""

import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.signatures import WARMUP_FILE
from support import training
from support.distributed import Distributed, distributed
from support.recipe_cases import CASES, Runs, values
from tensorflow_serving.apis import prediction_log_pb2

WAYS: dict[str, tuple[dict[str, int], dict[str, str]]] = {
    "ParameterServer": ({"chief": 1, "worker": 2, "ps": 1}, {}),
    "synchronous": ({"chief": 1, "worker": 2, "ps": 1}, {environment.SYNC: "1"}),
    "MultiWorkerMirrored": ({"chief": 1, "worker": 1}, {}),
}
PAIRS = [pytest.param(name, way, id=f"{name}, {way}") for name in CASES for way in WAYS]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def counted(checkpoint: dict[str, Any]) -> float:
    """How many losses an unfinished epoch has counted: sums come first, the one of the loss before others, then counts."""
    kept = [
        checkpoint[f"running/{number}"] for number in range(sum(name.startswith("running/") for name in checkpoint))
    ]
    return float(kept[len(kept) // 2])


def results(root: Path) -> set[str]:
    """Files that the chief alone leaves. A model may make no mistakes; servers' weights are in files of their own."""
    kept = (environment.OUTPUT_DIR, environment.MODEL_DIR, environment.CACHE_DIR)
    files = [path for name in kept for path in (root / name.lower()).rglob("*") if path.is_file()]
    differ = ("mistakes.png", "variables.data-")
    return {str(path.relative_to(root)) for path in files if not path.name.startswith(differ)}


def answers(root: Path) -> Iterator[Any]:
    """What a model answers to the requests that it has for its warm-up, by signature and output."""
    folder = training.model_folder(root)
    model = tf.saved_model.load(str(folder))
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        for name, value in model.signatures[request.model_spec.signature_name](**inputs).items():
            yield request.model_spec.signature_name, name, value.numpy()


def require_same_kind_of_answers(root: Path, single: Path, *, close: bool) -> None:
    for (*ours, value), (*theirs, expected) in zip(answers(root), answers(single), strict=True):
        assert ours == theirs
        assert (value.dtype, value.ndim, value.shape[0]) == (expected.dtype, expected.ndim, expected.shape[0]), ours
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), ours
        if close and value.dtype.kind == "f":
            assert np.allclose(value, expected, rtol=1e-2, atol=1e-4), ours


def require_only_the_chief_wrote(run: Distributed, scratch: Path) -> None:
    others = [line for line in run.lines if not line.startswith("chief | ")]
    assert not [line for line in others if "epoch" in line or "checkpoint" in line], run.lines
    assert not list(scratch.iterdir()), "the other processes have taken their scratch folders away"


def is_near(ours: Any, theirs: Any) -> bool:
    """Whether two values of a variable are close as a whole: of an element with next to no gradient Adam makes a step of its rounding."""
    allowed = 1e-3 * np.linalg.norm(theirs) + 1e-4 * np.sqrt(np.size(theirs))
    return bool(np.linalg.norm(np.asarray(ours) - theirs) <= allowed)


@pytest.mark.wide
@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_a_recipe_in_several_processes_does_what_it_does_in_one(tmp_path, runs, name, way):
    case, (roles, more) = CASES[name], WAYS[way]
    steps = case.epoch + 1 if case.epoch else 0  # one of the second epoch: its totals are in the checkpoint
    single = runs.single(name, steps)
    root, scratch = tmp_path / "run", tmp_path / "scratch"
    scratch.mkdir()
    with distributed(root, roles, *runs.command(case, steps), TMPDIR=str(scratch), **more) as run:
        assert set(run.codes().values()) == {exit_codes.OK}, run.lines
    require_only_the_chief_wrote(run, scratch)
    assert results(root) == results(single)
    result, expected = training.evaluation(root), training.evaluation(single)
    assert (result["steps"], result["epochs"]) == (steps, 1 if steps else 0)
    assert result["metrics"].keys() == expected["metrics"].keys()
    exact = case.exact and way != "ParameterServer" and not (case.adds_up_rows and way == "synchronous")
    require_same_kind_of_answers(root, single, close=exact)
    if not case.epoch:
        assert result["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)
        return
    ours, theirs = values(root), values(single)
    assert ours["optimizer/0"] == steps, "what Adam counts"
    assert counted(ours) == counted(theirs), "each example once"
    assert ours.keys() == theirs.keys()
    if exact:
        assert result["metrics"] == pytest.approx(expected["metrics"], rel=1e-2, abs=1e-4)
        for variable, value in theirs.items():
            assert is_near(ours[variable], value) or variable in case.drifting, variable
    with redirect_stderr(StringIO()) as said:
        assert training.run(root, *runs.command(case, steps + 1)) == exit_codes.OK
    assert f"resumed own checkpoint {steps}" in said.getvalue(), "a checkpoint fits one process, too"
    assert training.evaluation(root)["steps"] == steps + 1


@pytest.mark.wide
@pytest.mark.parametrize("way", WAYS)
def test_the_chief_alone_asks_the_model_that_was_trained_here(tmp_path, runs, way):
    name, (roles, more) = "tabular, lr", WAYS[way]
    single = runs.single(name, CASES[name].epoch + 1)
    shutil.copytree(training.model_folder(single), training.model_folder(tmp_path))
    command = (*runs.command(CASES[name], 0), "--mode=inference")
    with distributed(tmp_path, roles, *command, **more) as run:
        assert set(run.codes().values()) == {exit_codes.OK}, run.lines
    assert [line[:8] for line in run.said("asking model")] == ["chief | "], run.lines
