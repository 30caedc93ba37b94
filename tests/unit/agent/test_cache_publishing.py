"""A cache that its program says is whole: published while the program goes on, and never half of it."""

from pathlib import Path

import pytest
from fovea_agent.errors import Misconfigured
from fovea_agent.restore import read_manifest
from fovea_api.contract import environment, storage
from support.sidecar import Pod

PARENT = storage.cache("vision", "features")


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def mark(pod: Pod) -> Path:
    return pod.write(environment.OUTPUT_DIR, {environment.CACHE_MARKER: b""}) / environment.CACHE_MARKER


def generations(pod: Pod) -> dict[int, dict[str, bytes]]:
    """The files of each generation in the store."""
    numbers = [number for number in range(1, 9) if storage.manifest(f"{PARENT}/{number}") in pod.store.content]
    return {
        number: {
            entry.path: pod.store.read(f"{PARENT}/{number}/{entry.key}")
            for entry in read_manifest(pod.store, f"{PARENT}/{number}").entries
        }
        for number in numbers
    }


def test_a_generation_is_published_each_time_that_the_program_says_that_its_cache_is_whole(pod: Pod) -> None:
    pod.write(environment.CACHE_DIR, {"vgg": b"features"})
    assert pod.sync.look()
    assert generations(pod) == {}
    said = mark(pod)
    for _ in range(2):
        assert pod.sync.look()
        assert generations(pod) == {1: {"vgg": b"features"}}
    said.unlink()
    pod.write(environment.CACHE_DIR, {"vgg": b"features of more"})
    assert pod.sync.look()
    assert generations(pod).keys() == {1}
    mark(pod)
    assert pod.sync.look()
    assert generations(pod) == {1: {"vgg": b"features"}, 2: {"vgg": b"features of more"}}
    pod.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
    pod.end()
    assert generations(pod).keys() == {1, 2}, "the end has nothing new to publish"


def test_a_cache_that_its_program_changes_while_it_is_sent_is_published_when_it_is_whole_again(pod: Pod) -> None:
    pod.write(environment.CACHE_DIR, {"a": b"whole", "b": b"whole"})
    said = mark(pod)

    def go_on(what: str) -> None:
        if "/cache/" in what and said.exists():
            said.unlink()

    pod.store.before = go_on
    assert pod.sync.look()
    assert generations(pod) == {}, "it may have been half of what the program writes"
    pod.store.before = lambda _: None
    mark(pod)
    assert pod.sync.look()
    assert generations(pod) == {1: {"a": b"whole", "b": b"whole"}}


def test_a_checkpoint_does_not_wait_for_the_cache(pod: Pod) -> None:
    pod.write(environment.CACHE_DIR, {"a": b"1", "b": b"2"})
    mark(pod)

    def go_on(what: str) -> None:
        if "/cache/" in what and not pod.published():
            pod.checkpoint(100)

    pod.store.before = go_on
    pod.sync.poll = pod.sync.checkpoints.poll = 0
    assert pod.sync.look()
    assert generations(pod) == {}
    assert pod.sync.look()
    assert pod.published() == {100: b"w100"}
    assert generations(pod) == {1: {"a": b"1", "b": b"2"}}


def test_a_program_that_fails_after_its_cache_is_whole_leaves_it_to_the_next_attempt(pod: Pod) -> None:
    pod.write(environment.CACHE_DIR, {"vgg": b"features"})
    mark(pod)
    pod.end()
    assert not pod.termination.complete
    assert generations(pod) == {1: {"vgg": b"features"}}


def test_a_store_that_refuses_the_cache_costs_no_checkpoint(pod: Pod) -> None:
    pod.write(environment.CACHE_DIR, {"vgg": b"features"})
    mark(pod)
    tries = []

    def refuse(what: str) -> None:
        if "/cache/" in what:
            tries.append(what)
            raise Misconfigured("the store does not understand")

    pod.store.before = refuse
    pod.checkpoint(100)
    assert pod.sync.look()
    pod.checkpoint(200)
    assert pod.sync.look()
    assert (set(pod.published()), len(tries)) == ({100, 200}, 1)
    assert pod.sync.left_out.sentence() == ""
