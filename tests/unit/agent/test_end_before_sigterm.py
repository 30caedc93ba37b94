"""A program has ended and containers of others keep its pod alive: the sidecar hears of it before SIGTERM."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fovea_agent.connections import Readable
from fovea_agent.errors import Misconfigured, Postponed
from fovea_agent.folder import Folder
from fovea_agent.publish import Publication, send_ahead
from fovea_agent.sending import Sending
from fovea_api.contract import environment, report, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Termination
from support.memory_store import MemoryStore
from support.polling import until
from support.sidecar import Pod


class Sidecar:
    """`sync` on a thread, with what it left as its last words and what came of it."""

    def __init__(self, pod: Pod) -> None:
        self.pod, self.words = pod, []  # type: tuple[Pod, list[Termination]]
        self.result: Termination | Exception | None = None
        pod.sync.tell = self.words.append
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self.pod.sync.run()
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.result = error

    def waits(self) -> None:
        """It has done all and waits for the end of the pod."""
        until(lambda: self.pod.sync.reporter.current().last_words, what="nothing is left to publish")
        assert self._thread.is_alive(), "the kubelet would start it again"

    def sigterm(self) -> Termination | Exception | None:
        self.pod.sync.trainer_ended(60)
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.result


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    pod.write(environment.OUTPUT_DIR, {"evaluation.json": b"{}", environment.SUCCESS_MARKER: b""})
    yield pod
    pod.sync.trainer_ended(0)


def test_all_is_published_and_said_before_the_pod_begins_to_end(pod: Pod) -> None:
    sidecar = Sidecar(pod)
    pod.sync.told(60)
    sidecar.waits()
    assert storage.manifest(storage.output(pod.sync.job, 1)) in pod.store.content
    assert sidecar.words[-1].reason == report.REASON_PUBLISHED
    assert Termination.from_json(pod.sync.reporter.current().last_words) == sidecar.words[-1]
    assert sidecar.sigterm() == sidecar.words[-1]


def test_a_publication_that_failed_is_said_and_waits_as_well(pod: Pod) -> None:
    def refuse(what: str) -> None:
        raise Misconfigured(f"the store does not understand {what}")

    sidecar = Sidecar(pod)
    pod.store.before = refuse
    pod.sync.told(60)
    sidecar.waits()
    assert "does not understand" in sidecar.words[-1].message
    assert isinstance(sidecar.sigterm(), Misconfigured)


def test_it_is_told_again_and_again_and_its_time_is_not_extended(pod: Pod) -> None:
    pod.sync.told(60)
    left = pod.sync.store.patience.left()
    pod.sync.told(6000)
    assert left is not None
    assert (pod.sync.store.patience.left() or 0) <= left


def test_sigterm_bounds_what_the_operator_allowed(pod: Pod) -> None:
    pod.sync.told(6000)
    pod.sync.trainer_ended(5)
    pod.sync.told(6000)
    assert (pod.sync.store.patience.left() or 0) <= 5


def test_a_sidecar_that_heard_sigterm_first_does_not_wait(pod: Pod) -> None:
    pod.sync.trainer_ended(60)
    pod.sync.told(60)
    assert pod.sync.run().reason == report.REASON_PUBLISHED
    assert not pod.sync.reporter.current().last_words


def test_the_sidecar_of_a_pod_that_publishes_nothing_waits_as_well(tmp_path: Path) -> None:
    plan = TrainingPlan(namespace="vision", job="digits", uid="uid", attempt=1, publish=False)
    sidecar = Sidecar(Pod(tmp_path, plan))
    sidecar.pod.sync.told(60)
    sidecar.waits()
    found = sidecar.sigterm()
    assert isinstance(found, Termination)
    assert found.reason == report.REASON_NOTHING_TO_PUBLISH


def test_a_finished_program_in_a_pod_that_has_begun_to_end_is_published_before_sigterm(pod: Pod) -> None:
    pod.work.end_began.write_text(Path("/proc/uptime").read_text())
    sidecar = Sidecar(pod)
    sidecar.waits()
    assert sidecar.words[-1].complete
    assert (pod.sync.store.patience.left() or 0) <= pod.sync.grace
    assert sidecar.sigterm() == sidecar.words[-1]


def test_a_program_that_has_not_finished_and_a_pod_that_does_not_end_are_waited_for(pod: Pod) -> None:
    pod.sync.look_for_the_end()
    assert not pod.sync.ended.is_set(), "the pod does not end"
    pod.work.end_began.write_text(Path("/proc/uptime").read_text())
    (pod.work.directory(environment.OUTPUT_DIR) / environment.SUCCESS_MARKER).unlink()
    pod.sync.look_for_the_end()
    assert not pod.sync.ended.is_set(), "the program saves a checkpoint"


# -- what a finished program's result does not wait for -------------------------------------------------------------

LOGS = {name: name.encode() for name in ("a", "b", "c")}


def sigterm(pod: Pod) -> None:
    pod.sync.trainer_ended(60)


def operator_s_answer(pod: Pod) -> None:
    pod.sync.told(60)


def end_of_the_pod(pod: Pod) -> None:
    pod.work.end_began.write_text(Path("/proc/uptime").read_text())


ENDS = [sigterm, operator_s_answer, end_of_the_pod]


def at_first(pod: Pod, beginning: str, end: Callable[[Pod], None]) -> None:
    """Let the end be heard when the first write begins whose name has `beginning` in it."""
    heard: list[str] = []

    def hear(what: str) -> None:
        if beginning in what and not heard:
            heard.append(what)
            end(pod)

    pod.store.before = hear


def after_output(pod: Pod, kind: str) -> int:
    """How many writes of this kind come after the output is complete."""
    assert pod.sync.ended.is_set()
    manifest = pod.store.writes.index(f"put {storage.manifest(storage.output(pod.sync.job, 1))}")
    return len([what for what in pod.store.writes[manifest:] if f"/{kind}/" in what and what.startswith("put ")])


@pytest.mark.parametrize("end", ENDS)
def test_logs_on_their_way_ahead_give_way_to_the_result_when_a_finished_program_ends(
    pod: Pod, end: Callable[[Pod], None]
) -> None:
    pod.write(environment.LOG_DIR, LOGS)
    pod.sync.poll = 0.01
    at_first(pod, "/tensorboard/1/files/a", end)
    sidecar = Sidecar(pod)
    until(lambda: pod.sync.ended.is_set() and sidecar.words, what="the result is published")
    sidecar.sigterm()
    assert after_output(pod, "tensorboard") == 3, "two of three logs and their manifest"


@pytest.mark.parametrize("end", ENDS)
def test_a_checkpoint_of_a_finished_program_gives_way_to_the_result_when_the_end_begins(
    pod: Pod, end: Callable[[Pod], None]
) -> None:
    pod.write(environment.CHECKPOINT_DIR, {f"400/{name}": data for name, data in LOGS.items()})
    pod.sync.poll = 0.01
    pod.sync.ahead.through = True
    at_first(pod, "/400/1/a", end)
    sidecar = Sidecar(pod)
    until(lambda: pod.sync.ended.is_set() and sidecar.words, what="the result is published")
    sidecar.sigterm()
    assert after_output(pod, "checkpoints/400") == 3, "two of three files and their manifest"


def test_a_pod_that_ends_while_its_result_is_sent_ahead_bounds_the_time_for_it(pod: Pod) -> None:
    at_first(pod, "/output/1/files/", end_of_the_pod)
    for _ in range(2):
        pod.sync.look()
    assert (pod.sync.store.patience.left() or 0) > 0
    assert pod.sync.ahead.through, "what is sent of it need not be sent again"


def test_a_pod_that_ends_is_seen_in_the_pause_after_rounds_that_failed(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def an_hour(*_: object) -> float:
        pauses.append(3600.0)
        return pauses[-1]

    monkeypatch.setattr("fovea_agent.sync.pause_after", an_hour)
    pod.sync.poll = 0.01
    sidecar = Sidecar(pod)
    until(lambda: pauses, what="the pause begins")
    end_of_the_pod(pod)
    sidecar.waits()
    assert isinstance(sidecar.sigterm(), Termination)


def test_one_request_that_takes_long_is_stopped_in_the_middle_when_something_else_comes_first(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events").write_bytes(b"0123456789")
    said: list[str] = []

    def pause() -> None:
        if said:
            raise Postponed

    class Slow(MemoryStore):
        def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:
            reading = body()
            said.append(reading.read(1).decode())
            while reading.read(1):
                said.append("more")
            return super().put(key, body, size, md5)

    with pytest.raises(Postponed):
        send_ahead(Sending(Slow(), pause=pause), Folder(tmp_path, "logs"), Publication("vision/logs", "files", 1))
    assert said == ["0"]


def test_the_last_words_say_when_the_pod_began_to_end(pod: Pod) -> None:
    (pod.work.directory(environment.OUTPUT_DIR) / environment.SUCCESS_MARKER).unlink()
    sidecar = Sidecar(pod)
    before = datetime.now(UTC) - timedelta(seconds=2)
    pod.work.end_began.write_text(Path("/proc/uptime").read_text())
    pod.sync.told(60)
    sidecar.waits()
    said = sidecar.words[-1]
    assert not said.complete
    assert before <= datetime.fromisoformat(said.end_began) <= datetime.now(UTC)


def test_they_say_nothing_of_a_pod_that_has_not_begun_to_end(pod: Pod) -> None:
    sidecar = Sidecar(pod)
    pod.sync.told(60)
    sidecar.waits()
    assert sidecar.words[-1].end_began == ""
