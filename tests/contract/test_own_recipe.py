"""The recipe of docs/how-to/own-recipe.md, as it stands there: trained, stopped, resumed, served."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
import yaml
from fovea_api.contract import environment, exit_codes, row_wise
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers import sdk
from support import pages, training, warm_trainers
from support.pages import in_environment

BLOCKS = pages.blocks("docs/how-to/own-recipe.md")
COMMANDS = [line for block in BLOCKS["console"] for line in block.splitlines()]
FLAGS = ("--learning-rate=0.05", "--epochs=60")
STEPS = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's two Python blocks, and the data that the second one makes."""
    root = tmp_path_factory.mktemp("own")
    recipe, data = BLOCKS["python"]
    (root / "line.py").write_text(recipe, encoding="utf-8")
    (root / "make_data.py").write_text(data, encoding="utf-8")
    (root / "my_package").mkdir()
    (root / "my_package" / "line.py").write_text(recipe, encoding="utf-8")
    assert COMMANDS[:3] == ["make setup", ". .venv/bin/activate", "python make_data.py"]
    in_environment(COMMANDS[2], root)
    return root


def start(folder: Path, out: Path, recipe: str, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        warm_trainers.command(recipe, "--data=line.csv", *flags),
        cwd=folder,
        env={**os.environ, **training.variables(out)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, out: Path, recipe: str, *flags: str) -> tuple[int, str]:
    process = start(folder, out, recipe, *flags)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, folder):
    out = tmp_path_factory.mktemp("undisturbed")
    said = in_environment(f"fovea-train ./line.py --data=line.csv {' '.join(FLAGS)}", folder, **training.variables(out))
    assert re.search(r"epoch 60/60 step 10/10 loss 0\.\d+ val_loss 0\.\d+ val_rmse 0\.\d+ \d+ examples/s", said)
    return out


def test_the_commands_of_the_page_are_the_ones_run_here(folder):
    assert f"fovea-train ./line.py --data=line.csv {' '.join(FLAGS)}" in COMMANDS
    assert "fovea-train ./line.py --help" in COMMANDS
    assert "--validation-ratio <float> [default: 0.2]" in in_environment("fovea-train ./line.py --help", folder)


def test_it_finds_the_line_and_leaves_what_the_page_says(undisturbed):
    document = training.evaluation(undisturbed)
    assert (document["recipe"], document["rows"], document["steps"]) == ("line", 100, STEPS)
    assert document["slope"] == pytest.approx(2, abs=0.2)
    assert document["intercept"] == pytest.approx(10, abs=0.2)
    assert document["metrics"]["rmse"] == pytest.approx(document["sets"]["val"]["loss"] ** 0.5)
    assert document["sets"]["val"]["examples"] == 20
    assert (document["flags"]["epochs"], document["flags"]["batch_size"], document["flags"]["data"]) == (
        60,
        8,
        "line.csv",
    )
    output = undisturbed / environment.OUTPUT_DIR.lower()
    names = {"evaluation.json", "_SUCCESS", "loss.png", "rmse.png", "line.png"}
    assert {path.name for path in output.iterdir()} == names
    assert tf.io.decode_png((output / "line.png").read_bytes()).shape[:2] == (540, 840)
    assert len(training.checkpoints(undisturbed)) == 3


def test_stopped_by_a_signal_it_goes_on_to_the_bytes_of_a_run_that_was_not(tmp_path, folder, undisturbed):
    process = start(folder, tmp_path, "./line.py", *FLAGS, "--checkpoint-every-steps=1")
    training.wait_until(lambda: [step for step in training.checkpoints(tmp_path) if step > 25], process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == exit_codes.RESTART, said
    stopped = training.checkpoints(tmp_path)[-1]
    assert stopped < STEPS
    code, said = run(folder, tmp_path, "./line.py", *FLAGS)
    assert code == exit_codes.OK
    assert f"resumed own checkpoint {stopped}: {stopped // 10} epochs and {stopped % 10} batches are done" in said
    assert training.trained_bytes(tmp_path) == training.trained_bytes(undisturbed)
    ours, theirs = training.evaluation(tmp_path), training.evaluation(undisturbed)
    assert (ours | {"seconds": 0}) == (theirs | {"seconds": 0})
    assert training.summaries(tmp_path) == training.summaries(undisturbed)


def test_two_steps_as_a_module_and_other_data_begin_new_epochs_with_the_weights_that_are_there(tmp_path, folder):
    assert run(folder, tmp_path, "my_package.line", "--max-steps=2")[0] == exit_codes.OK
    assert training.evaluation(tmp_path)["steps"] == 2
    rows = (folder / "line.csv").read_text().splitlines(keepends=True)
    other = tmp_path / "as-long.csv"
    other.write_text("".join([rows[0], *reversed(rows[1:])]))
    assert other.stat().st_size == (folder / "line.csv").stat().st_size
    code, said = run(folder, tmp_path, "./line.py", "--max-steps=2", f"--data={other}")
    assert code == exit_codes.OK
    assert "continuing from given checkpoint 2 with new epochs (data was sha256:" in said
    assert training.checkpoints(tmp_path) == [2, 4]


def test_the_exported_line_answers_by_name(undisturbed):
    folder = training.model_folder(undisturbed)
    document = training.evaluation(undisturbed)
    answer = tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant([[0.0], [1.0]]))
    intercept, sum_of_both = answer["y"].numpy()[:, 0]
    assert intercept == pytest.approx(document["intercept"])
    assert sum_of_both == pytest.approx(document["intercept"] + document["slope"])
    assert row_wise.read(folder) == {"serving_default": frozenset({"y"})}


def test_data_that_is_none_is_said_in_a_sentence(tmp_path, folder):
    code, said = run(folder, tmp_path, "./line.py", "--data=line.py")
    assert (code, "give --data=FILE with a heading and two numbers in each row" in said) == (1, True), said
    assert "Traceback" not in said


def test_what_a_file_raises_itself_ends_with_its_trace(tmp_path, folder):
    (tmp_path / "odd.py").write_text("import nowhere_at_all", encoding="utf-8")
    code, said = run(folder, tmp_path, str(tmp_path / "odd.py"))
    assert (code, "Traceback" in said, f'File "{tmp_path}/odd.py", line 1' in said) == (1, True, True), said


def test_the_job_of_the_page_is_one_and_runs_the_file_that_the_image_has():
    (manifest,) = map(yaml.safe_load, BLOCKS["yaml"])
    container = TrainingJob.model_validate(manifest).spec.trainer.container
    assert container is not None
    assert container.command == ["fovea-train", "/recipes/line.py"]
    assert "COPY line.py /recipes/line.py" in BLOCKS["dockerfile"][0]


def test_what_recipes_of_others_rely_on_is_there():
    assert sdk.__all__ == sorted(sdk.__all__)
    assert all(hasattr(sdk, name) for name in sdk.__all__)
    imported = re.search(r"from fovea_trainers\.sdk import \((.*?)\)", BLOCKS["python"][0], re.DOTALL)
    assert imported is not None
    assert set(re.findall(r"\w+", imported[1])) <= set(sdk.__all__)
