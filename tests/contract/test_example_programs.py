"""The programs of examples/programs: they know only folders, go on after SIGTERM, and leave what Fovea understands."""

import ast
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from digits import write
from fovea_agent.checkpoint_names import read_name
from fovea_agent.evaluation import metrics_of
from fovea_api.contract import environment, exit_codes, progress
from support.polling import until

PROGRAMS = Path(__file__).parents[2] / "examples/programs"
NAMES = ("keras_digits", "sklearn_digits", "numpy_digits")
FLOOR = 0.93
"""Of held-out digits; a nearest centroid reaches 0.90."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    write(root)
    return root


@pytest.fixture(scope="module", params=NAMES)
def ended(request, tmp_path_factory, digits):
    """A program that got SIGTERM after its second epoch, ended, and was started again in another pod."""
    root = tmp_path_factory.mktemp(request.param)
    first, second = Pod(root / "first", digits), Pod(root / "second", digits)
    process = first.start(request.param)
    until(lambda: len(first.progress()) >= 2 or process.poll() is not None, seconds=120, what="two epochs", every=0.005)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == exit_codes.RESTART, said
    newest = max(first.checkpoints(), key=lambda path: read_name(path.name).step)
    (shutil.copytree if newest.is_dir() else shutil.copy)(newest, second.folder("checkpoint") / newest.name)
    process = second.start(request.param)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == exit_codes.OK, said
    return request.param, first, second, said


class Pod:
    """The directories of a training pod, and a program in it."""

    def __init__(self, root: Path, digits: Path) -> None:
        self.root = root
        for name in ("input", "checkpoint", "model", "output"):
            self.folder(name).mkdir(parents=True)
        (self.folder("input") / "data").symlink_to(digits / "train")

    def folder(self, name: str) -> Path:
        return self.root / name

    def start(self, program: str) -> subprocess.Popen[str]:
        folders = {
            f"FOVEA_{name.upper()}_DIR": str(self.folder(name)) for name in ("input", "checkpoint", "model", "output")
        }
        return subprocess.Popen(
            [sys.executable, PROGRAMS / f"{program}.py"],
            env={
                **os.environ,
                **folders,
                environment.PROGRESS_FILE: str(self.root / "progress.jsonl"),
                "TF_CPP_MIN_LOG_LEVEL": "2",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def checkpoints(self) -> list[Path]:
        return [path for path in self.folder("checkpoint").iterdir() if not path.name.startswith(".")]

    def progress(self) -> list[progress.Progress]:
        file = self.root / "progress.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [progress.Progress.from_json(line) for line in lines]


def test_a_program_that_was_stopped_goes_on_from_its_last_epoch(ended):
    _, first, second, said = ended
    done = len(first.progress())
    steps = first.progress()[-1].steps
    assert 2 <= done < steps
    assert f"{done} of {steps} epochs are done" in said
    assert [line.step for line in second.progress()] == list(range(done + 1, steps + 1))
    assert {read_name(path.name).step for path in first.checkpoints()} == set(range(1, done + 1))


def test_it_reaches_the_floor_and_its_metrics_are_understood(ended):
    _, _, second, _ = ended
    measured = metrics_of((second.folder("output") / environment.EVALUATION_FILE).read_bytes())
    assert measured.main == "accuracy"
    assert measured.metrics["accuracy"] > FLOOR
    assert (second.folder("output") / environment.SUCCESS_MARKER).exists()


def test_no_program_imports_anything_of_fovea():
    for name in NAMES:
        tree = ast.parse((PROGRAMS / f"{name}.py").read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        modules = {getattr(node, "module", None) or alias.name for node in imports for alias in node.names}
        assert "json" in modules
        assert not [module for module in modules if module.startswith("fovea")]


@pytest.mark.parametrize("ended", ["keras_digits"], indirect=True)
def test_the_model_of_the_keras_program_answers_picture_files(ended, digits):
    _, _, pod, _ = ended
    serve = tf.saved_model.load(str(pod.folder("model"))).signatures["serving_default"]
    held_out = sorted((digits / "held-out").glob("*.png"))
    answer = serve(image=tf.constant([path.read_bytes() for path in held_out]))
    assert [label.decode() for label in answer["label"].numpy()] == [path.name[0] for path in held_out]
    assert answer["classes"].shape == answer["scores"].shape == (3, 10)
