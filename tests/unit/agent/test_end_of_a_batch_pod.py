"""A pod of a batch prediction ends while answers lie on its volume: they are published before the agent goes."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fovea_agent.batch import Batch
from fovea_agent.batch_answers import published_answers
from fovea_agent.connections import Readable
from fovea_agent.settings import WorkVolume
from fovea_api.contract import batch, storage
from fovea_api.contract.batch import Summary
from fovea_api.contract.plan import BatchPlan
from support.memory_store import MemoryStore
from support.polling import until

PREFIX = storage.batch("vision", "pets", "1")
PLAN = BatchPlan(
    "vision", "pets", "1", 1, "s3://fovea/vision/in", batch.JSONL, "s3://fovea/vision/out", batch.JSONL, "d", 4, 9
)


class Gate:
    """Who comes waits until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, *_: Any, **__: Any) -> None:
        self.reached.set()
        assert self.opened.wait(60)


class Slow(MemoryStore):
    """Waits before an answer is written."""

    def __init__(self, before_an_answer: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.content["vision/in/a.jsonl"] = b"1\n2\n3\n4\n5\n6\n"
        self._before_an_answer = before_an_answer

    def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        if key.startswith(storage.batch_answer(PREFIX, 0)):
            self._before_an_answer()
        return super().put(key, body, size, md5)


def answer(work: Path, number: int) -> None:
    """What the program does."""
    made = work / f".answer-{number}"
    made.mkdir()
    (made / batch.PREDICTIONS).write_bytes(b"answer\n")
    (made / batch.SUMMARY_FILE).write_text(Summary(2).to_json())
    made.rename(work / batch.ANSWERS / str(number))


class Pods:
    """`batch` on threads, which end with the test."""

    def __init__(self) -> None:
        self._made: list[Batch] = []

    def start(self, store: MemoryStore, work: Path, bring: Callable[..., None] | None = None) -> Batch:
        """`bring` in the place of what brings a shard."""
        pod = Batch(PLAN, 0, store, WorkVolume(work, work), poll=0.01)
        if bring is not None:
            pod._bring = bring  # type: ignore[method-assign]
        self._made.append(pod)
        threading.Thread(target=self._run, args=(pod,), daemon=True).start()
        return pod

    def _run(self, pod: Batch) -> None:
        with suppress(SystemExit):
            pod.run()

    def stop(self) -> None:
        for pod in self._made:
            pod._publish_answers = sys.exit  # type: ignore[method-assign,assignment]


@pytest.fixture
def pods() -> Iterator[Pods]:
    made = Pods()
    yield made
    made.stop()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def test_an_answer_is_published_although_the_next_shard_is_still_on_its_way(
    pods: Pods, gate: Gate, tmp_path: Path
) -> None:
    store = Slow()
    pod = pods.start(store, tmp_path, bring=gate)
    assert gate.reached.wait(60)
    answer(tmp_path, 0)
    pod.publish_last()
    assert published_answers(store, PREFIX) == {0}
    assert list((tmp_path / batch.ANSWERS).iterdir()) == []
    assert pod.tally.shards == {0}


def test_an_answer_that_is_being_published_is_waited_for_and_the_rest_follows(
    pods: Pods, gate: Gate, tmp_path: Path
) -> None:
    store = Slow(gate)
    pod = pods.start(store, tmp_path)
    until((tmp_path / batch.SHARDS / "1").is_dir, what="two shards are there")
    answer(tmp_path, 0)
    assert gate.reached.wait(60)
    answer(tmp_path, 1)
    last = threading.Thread(target=pod.publish_last)
    last.start()
    assert published_answers(store, PREFIX) == set()
    gate.opened.set()
    last.join(60)
    assert {0, 1} <= published_answers(store, PREFIX)
    answers = [write for write in store.writes if "/answers/" in write]
    assert len(answers) == len(set(answers)), "none is published twice"


def test_before_the_shards_are_known_there_is_nothing_to_publish(tmp_path: Path) -> None:
    store = Slow()
    Batch(PLAN, 0, store, WorkVolume(tmp_path, tmp_path)).publish_last()
    assert not store.writes


END = """
import os, signal, threading
from fovea_agent.batch_command import End
def publish():
    print("published", flush=True)
    {does}
end = End(publish, grace={grace})
end.listen()
{before}
os.kill(os.getpid(), signal.SIGTERM)
threading.Event().wait(60) if not end.pod_ends.wait(30) else print("said", flush=True)
"""


@pytest.mark.parametrize(
    "does,grace,before,code,says",
    [
        ("", 60, "", 143, ["published"]),
        ("threading.Event().wait(60)", 0.1, "", 143, ["published"]),
        ("raise OSError('the volume')", 60, "", 143, ["published"]),
        ("raise ValueError('a defect')", 60, "", 143, ["published"]),
        ("end.concluded.set()", 60, "", 0, ["published", "said"]),
        ("", 60, "end.concluded.set()", 0, ["said"]),
    ],
    ids=["published", "too slow", "the volume", "a defect", "all is said meanwhile", "all is said before"],
)
def test_sigterm_publishes_first_and_ends_the_agent_in_time(
    does: str, grace: float, before: str, code: int, says: list[str]
) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", END.format(does=does, grace=grace, before=before)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (code, says), done.stderr
    assert time.monotonic() - began < 25
