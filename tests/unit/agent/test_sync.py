"""What the sidecar publishes when the trainer does not wait for it, and what may fail without failing the job."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from fovea_agent.errors import Misconfigured
from fovea_agent.evaluation import LARGEST
from fovea_agent.fetch import Fetch
from fovea_agent.restore import Resumed
from fovea_agent.sync import Sync
from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Termination
from support.sidecar import PLAN, Pod


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_a_checkpoint_that_the_trainer_prunes_while_it_is_on_its_way_arrives_whole(pod: Pod) -> None:
    pod.checkpoint(200)

    def prune(what: str) -> None:
        if what.endswith("/200/1/weights"):
            pod.remove(200)
            pod.checkpoint(400)

    pod.store.before = prune
    pod.sync.checkpoints.publish()
    assert pod.published() == {200: b"w200", 400: b"w400"}


def test_after_each_checkpoint_those_that_are_there_then_are_published(pod: Pod) -> None:
    pod.checkpoint(100, 200, 300)

    def go_on(what: str) -> None:
        if what.endswith("/300/manifest.json"):
            pod.remove(100, 200)
            pod.checkpoint(400, 500)

    pod.store.before = go_on
    pod.sync.checkpoints.publish()
    order = [what.split("/")[-2] for what in pod.store.writes if what.endswith("/manifest.json")]
    assert order == ["300", "500", "400"]
    assert set(pod.published()) == {300, 400, 500}


def test_a_step_without_files_is_waited_for_and_said_once(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    (pod.work.directory(environment.CHECKPOINT_DIR) / "200").mkdir()
    for _ in range(3):
        pod.sync.checkpoints.publish()
    assert pod.store.content == {}
    (said,) = caplog.records
    assert said.fields["path"] == "/fovea/checkpoints/200"  # type: ignore[attr-defined]
    assert "it was removed or changed" in said.fields["why"]  # type: ignore[attr-defined]
    assert pod.sync.left_out.sentence() == ""
    pod.checkpoint(200)
    pod.sync.checkpoints.publish()
    assert pod.published() == {200: b"w200"}


def test_the_checkpoint_of_another_job_does_not_hide_own_ones_of_a_program_that_counts_from_0(tmp_path: Path) -> None:
    pod = Pod(tmp_path, TrainingPlan(namespace="vision", job="digits", uid="uid", attempt=1, checkpoint_keep=1))
    pod.checkpoint(5000)
    Resumed(5000, "sha256:x").write(pod.work.restored)
    pod.checkpoint(200)
    pod.end()
    assert pod.published() == {200: b"w200"}
    assert pod.termination.checkpoint_step == 200


def test_own_checkpoints_that_were_restored_are_not_published_again(pod: Pod) -> None:
    pod.checkpoint(200)
    pod.sync.checkpoints.publish()
    Resumed(200, "sha256:x").write(pod.work.restored)
    again = Sync(PLAN, pod.store, pod.work, pod.sync.reporter, transfers=1)
    pod.store.writes.clear()
    again.ended.set()
    assert again.run().checkpoint_step == 200
    assert [what for what in pod.store.writes if "/checkpoints/" in what] == []


def test_a_store_that_refuses_to_prune_ends_nothing(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(keys: Iterable[str]) -> None:
        raise Misconfigured(f"the object store does not understand a request for {next(iter(keys))}")

    monkeypatch.setattr(pod.store, "remove", refuse)
    for step in (100, 200, 300, 400):
        pod.checkpoint(step)
        pod.sync.checkpoints.publish()
    assert set(pod.published()) == {100, 200, 300, 400}
    pod.end()
    assert pod.termination.output is not None


@pytest.mark.parametrize("failure", [Misconfigured("the store does not understand"), OSError(28, "No space left")])
def test_a_cache_that_cannot_be_published_does_not_fail_a_job_that_has_finished(pod: Pod, failure: Exception) -> None:
    pod.write(environment.CACHE_DIR, {"features": b"f"})
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    output = storage.manifest(storage.output(pod.sync.job, 1))

    def refuse(what: str) -> None:
        if "/cache/" in what:
            assert output in pod.store.content, "the output comes first: the grace period may end with the cache"
            raise failure

    pod.store.before = refuse
    pod.end()
    assert pod.termination.complete
    assert not any("/cache/" in key for key in pod.store.content)


def test_a_cache_with_links_is_compared_by_what_they_point_to(pod: Pod) -> None:
    cache = pod.write(environment.CACHE_DIR, {"blobs/model": b"weights"})
    (cache / "snapshot").symlink_to("blobs/model")
    for _ in range(2):
        pod.sync.publish_cache()
    assert [k for k in pod.store.content if k.endswith(storage.MANIFEST)] == ["vision/cache/features/1/manifest.json"]


def test_an_evaluation_that_is_a_link_inside_the_output_is_read_like_it_is_published(pod: Pod) -> None:
    output = pod.write(environment.OUTPUT_DIR, {"run/evaluation.json": json.dumps({"accuracy": 0.5}).encode()})
    (output / environment.EVALUATION_FILE).symlink_to("run/evaluation.json")
    pod.end()
    assert pod.termination.metrics == {"accuracy": 0.5}


def test_a_program_that_removed_its_output_folder_has_left_none(pod: Pod) -> None:
    shutil.rmtree(pod.work.directory(environment.OUTPUT_DIR))
    pod.end()
    assert pod.termination.output is not None
    assert pod.termination.output.files == 0


@pytest.mark.parametrize("size", [LARGEST, LARGEST + 1])
def test_an_evaluation_that_is_too_large_costs_its_numbers_and_nothing_else(pod: Pod, size: int) -> None:
    evaluation = json.dumps({"accuracy": 0.5}).encode().ljust(size)
    pod.write(environment.OUTPUT_DIR, {environment.EVALUATION_FILE: evaluation, environment.SUCCESS_MARKER: b""})
    pod.end()
    again = Fetch(PLAN, pod.store, pod.work).find_complete()
    assert again is not None
    wanted = {"accuracy": 0.5} if size <= LARGEST else {}
    assert (pod.termination.complete, pod.termination.metrics, again.metrics) == (True, wanted, wanted)


# -- the cache comes last -------------------------------------------------------------------------------------------


def test_success_is_told_before_the_cache_is_sent_and_no_defect_of_that_takes_it_back(pod: Pod) -> None:
    pod.write(environment.CACHE_DIR, {"features": b"f"})
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    told: list[Termination] = []
    pod.sync.tell = told.append

    def break_down(what: str) -> None:
        if "/cache/" in what:
            assert len(told) == 1, "what is killed now has to have said that it published the output"
            raise ZeroDivisionError(what)

    pod.store.before = break_down
    pod.end()
    assert told == [pod.termination]
    assert told[0].complete


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("saved_model.pb", ""),
        ("1/saved_model.pb", "saved_model.pb lies in its folder 1, not directly in it"),
        ("model.pt", "it has no saved_model.pb, but model.pt"),
    ],
)
def test_the_last_words_say_whether_the_model_can_be_served(pod: Pod, file: str, said: str) -> None:
    model = pod.work.directory(environment.MODEL_DIR) / file
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(b"graph")
    pod.end()
    read = Termination.from_json(pod.termination.to_json())
    assert read is not None
    assert read.model is not None
    assert said in read.model_problem
    assert bool(said) == bool(read.model_problem)


def test_of_a_thousand_metrics_those_of_the_validation_and_the_first_ones_are_told_and_how_many_were_not(
    pod: Pod,
) -> None:
    metrics = {f"train/{number}": number for number in range(990, 0, -1)} | {f"val/{n}": n for n in range(9)}
    output = pod.work.directory(environment.OUTPUT_DIR)
    output.mkdir(parents=True, exist_ok=True)
    (output / environment.EVALUATION_FILE).write_text(json.dumps({"metrics": metrics | {"val/nan": float("nan")}}))
    pod.end()
    read = Termination.from_json(pod.termination.to_json())
    assert read is not None
    assert list(read.metrics) == [*list(metrics)[:55], *(f"val/{n}" for n in range(9))]
    assert read.metrics_left_out == 1000 - 64


def test_the_operator_hears_that_the_program_has_ended(pod: Pod) -> None:
    assert not pod.sync.reporter.current().publishing
    pod.end()
    assert pod.sync.reporter.current().publishing
