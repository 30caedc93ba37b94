"""A program has ended and containers of others keep its pod alive: the sidecar hears of it before SIGTERM."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_agent.errors import Misconfigured
from fovea_api.contract import environment, report, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Termination
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
