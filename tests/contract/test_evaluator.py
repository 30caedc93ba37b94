"""The evaluator of a job: it measures checkpoints that another process writes, through the store as well, until it is asked to stop."""

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_api.contract import environment, exit_codes, report, storage
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_api.contract.evaluation import Best
from fovea_api.contract.progress import Progress
from support import training, warm_trainers
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import TrainingPod, manifest, published

TASK = ClusterSpec({"chief": ("chief.example:2222",), "worker": ("worker.example:2222",)}, "evaluator", 0).to_env()
SECONDS = 240


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("trained")
    flags = ("--epochs=3", "--checkpoint-every-steps=6", "--no-augment")
    assert training.train(root, data, *flags, **{environment.CHECKPOINT_KEEP: "9"}) == exit_codes.OK
    return root


class Evaluator:
    """The process, its folders and the checkpoints that it gets."""

    def __init__(self, root: Path, data: Path, trained: Path) -> None:
        self.root, self.data, self.trained = root, data, trained
        self.output = root / environment.OUTPUT_DIR.lower()
        self.folder = root / environment.CHECKPOINT_DIR.lower()
        self.folder.mkdir(parents=True, exist_ok=True)

    def bring(self, step: int) -> None:
        """A checkpoint appears by rename, as the agent does it."""
        source = self.trained / environment.CHECKPOINT_DIR.lower() / str(step)
        subprocess.run(["cp", "-r", source, self.folder / f".{step}"], check=True)
        (self.folder / f".{step}").rename(self.folder / str(step))

    def start(self, *flags: str) -> "subprocess.Popen[str]":
        command = ("image-classifier", f"--data={self.data}", *training.FLAGS, *flags)
        more = {environment.TF_CONFIG: TASK, environment.CLOUD_ML_JOB: "digits"}
        with training.environ(more):
            return training.begin(self.root, *command)

    def measured(self, step: int) -> dict[str, object]:
        file = self.output / str(step) / environment.EVALUATION_FILE
        until(file.exists, seconds=SECONDS, what=f"checkpoint {step} is measured")
        found: dict[str, object] = json.loads(file.read_text())
        return found


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == exit_codes.RESTART, said


def test_checkpoints_are_measured_as_they_come_and_the_best_is_named(tmp_path, data, trained) -> None:
    first, *_, last = training.checkpoints(trained)
    evaluator = Evaluator(tmp_path, data, trained)
    process = evaluator.start()
    evaluator.bring(first)
    early = evaluator.measured(first)
    evaluator.bring(last)
    late = evaluator.measured(last)
    stop(process)
    assert (early["step"], late["step"]) == (first, last)
    # The chief measured the last checkpoint as well: the same weights on the same pictures.
    chief = training.evaluation(trained)
    assert late["metrics"]["loss"] == pytest.approx(chief["metrics"]["val_loss"], rel=1e-5)
    assert [entry["step"] for entry in late["history"]] == [first, last]
    accuracies = {entry["step"]: entry["val_accuracy"] for entry in late["history"]}
    best = Best.from_json(json.dumps(late))
    assert best is not None
    assert (best.metric, best.value) == ("accuracy", max(accuracies.values()))
    assert best.step == next(step for step, value in accuracies.items() if value == best.value)
    assert (evaluator.output / str(last) / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    progress = (tmp_path / "progress.jsonl").read_text().splitlines()
    assert [Progress.from_json(line).step for line in progress] == [first, last]
    points = training.summaries(tmp_path)["validation", "loss"]
    assert [step for step, _ in points] == [first, last]
    assert not list((tmp_path / environment.MODEL_DIR.lower()).glob("*")), "an evaluator exports nothing"


def test_another_attempt_goes_on_from_what_was_measured_and_passes_a_damaged_checkpoint_over(
    tmp_path, data, trained
) -> None:
    first, second, *_, last = training.checkpoints(trained)
    evaluator = Evaluator(tmp_path, data, trained)
    evaluator.bring(first)
    process = evaluator.start()
    evaluator.measured(first)
    stop(process)
    evaluator.bring(second)
    damaged = evaluator.folder / str(second) / "state.json"
    damaged.write_text(damaged.read_text()[:20])
    process = evaluator.start()
    until(
        lambda: list(evaluator.folder.glob(f"{environment.DAMAGED_PREFIX}{second}-*")),
        seconds=SECONDS,
        what="the damaged checkpoint is put aside",
    )
    evaluator.bring(last)
    late = evaluator.measured(last)
    stop(process)
    assert [entry["step"] for entry in late["history"]] == [first, last]


def test_without_validation_data_it_ends_at_once_and_says_why(tmp_path, data, trained) -> None:
    evaluator = Evaluator(tmp_path, data, trained)
    process = evaluator.start("--validation-ratio=0")
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "remove roles.evaluator" in said


def test_from_the_chief_s_pod_through_the_store_to_the_evaluator_and_back(
    object_store: ObjectStore, pod: TrainingPod, tmp_path: Path, data, trained
) -> None:
    chief = replace(pod, plan=replace(pod.plan, checkpoint_keep=1))
    plan = replace(pod.plan, role="evaluator", attempt=0, publish=False, restore=False)
    other = replace(pod, plan=plan, folder=tmp_path / "evaluator")
    other.folder.mkdir()
    source = trained / environment.CHECKPOINT_DIR.lower()

    def publish(step: int, of: int) -> None:
        chief.checkpoint(step, {path.name: path.read_bytes() for path in (source / str(of)).iterdir()})
        until(lambda: step in published(object_store, chief), seconds=SECONDS, what=f"checkpoint {step} is published")

    directories = {name: str(other.directory(name)) for name in environment.DIRECTORIES}
    directories[environment.PROGRESS_FILE] = str(other.work / "progress" / "progress.jsonl")
    more = {**directories, environment.TF_CONFIG: TASK, environment.CLOUD_ML_JOB: "digits"}
    process = None
    try:
        chief.start_sync("--fetch", "--settle", "0.2")
        other.start_sync("--fetch")
        with training.environ(more), (other.folder / "program.log").open("wb") as log:
            process = subprocess.Popen(
                warm_trainers.command("image-classifier", f"--data={data}", *training.FLAGS),
                stderr=log,
            )
        for step in training.checkpoints(trained):
            publish(step, step)
            at = storage.manifest(f"{storage.evaluations(chief.job, 0)}/{step}")
            until(
                lambda at=at: object_store.names(at),
                seconds=SECONDS,
                what=f"{at} is there; the program says: {other.folder / 'program.log'}",
            )
        best = Best.from_json((other.directory(environment.OUTPUT_DIR) / str(step) / "evaluation.json").read_text())
        assert best is not None
        publish(step + 1, step)
        kept = {best.step, step + 1}
        # The best one before stays as well, as long as the job's status may name it.
        until(
            lambda: kept <= (there := published(object_store, chief)) and len(there) <= len(kept) + 1,
            seconds=SECONDS,
            what=f"{kept} stay, and one more at most",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == exit_codes.RESTART
        done = other.sync_ended()
    finally:
        other.kill_sync()
        chief.kill_sync()
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
    assert (done.code, done.termination.reason) == (exit_codes.OK, report.REASON_NOTHING_TO_PUBLISH)
    assert manifest(object_store, storage.evaluator_events(chief.job, 0)).entries
