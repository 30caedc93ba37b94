"""All attempts and pods of a job read the same data, whatever becomes of it meanwhile, or say that they cannot."""

import gzip
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from fovea_agent.errors import Changed, Corrupt, Replaced, TooNew
from fovea_agent.inputs import Inputs
from fovea_api.contract import exit_codes, listing, storage
from fovea_api.contract.plan import Input
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory_store import MemoryStore

JOB = storage.job("vision", "digits", "uid")
DATA = "vision/datasets/digits"
ITEM = Input("data", f"s3://fovea/{DATA}")
PIN = storage.input_listing(JOB, "data")


class Pods:
    """The pods of one job, one after the other, each with a volume of its own."""

    def __init__(self, folder: Path, store: MemoryStore) -> None:
        self.folder, self.store, self.numbers = folder, store, count()

    def fetch(self, item: Input = ITEM) -> tuple[dict[str, bytes], listing.Identity | None]:
        inputs = self.folder / str(next(self.numbers))
        Inputs(self.store, JOB, inputs, inputs / ".staging", 1).fetch(item)
        place = inputs / item.name
        files = {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}
        assert not list((inputs / ".staging").iterdir())
        return (files if place.is_dir() else {"": place.read_bytes()}), listing.read(inputs, item.name)


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    store = MemoryStore()
    store.content = {f"{DATA}/a.png": b"a", f"{DATA}/0/größe 🤗.png": b"0"}
    return Pods(tmp_path, store)


NAMES = st.lists(st.sampled_from(["a", "ä b", "0"]), min_size=1, max_size=2).map(lambda parts: "/".join([*parts, "f"]))
DATA_SETS = st.dictionaries(NAMES, st.binary(max_size=3), max_size=5)


@settings(deadline=None, max_examples=60)
@given(first=DATA_SETS.filter(bool), then=DATA_SETS)
def test_a_later_attempt_reads_exactly_what_the_first_one_read_or_names_what_is_gone(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, bytes], then: dict[str, bytes]
) -> None:
    store = MemoryStore()
    pods = Pods(tmp_path_factory.mktemp("pods"), store)
    store.content = {f"{DATA}/{name}": data for name, data in first.items()}
    read, identity = pods.fetch()
    assert read == first
    pinned = {PIN: store.content[PIN]}
    store.content = {f"{DATA}/{name}": data for name, data in then.items()} | pinned
    lost = {name for name, data in first.items() if then.get(name) != data}
    if any(first[name] for name in lost):  # an empty file is what it was even when it is gone
        with pytest.raises(Replaced) as caught:
            pods.fetch()
        assert any(f"{DATA}/{name}" in caught.value.message for name in lost)
    elif not lost:
        assert pods.fetch() == (first, identity)
    assert store.content[PIN] == pinned[PIN]


def test_what_is_added_later_is_not_read_and_the_identity_stays(pods: Pods) -> None:
    before = pods.fetch()
    pods.store.content[f"{DATA}/b.png"] = b"b"
    assert pods.fetch() == before
    other = Pods(pods.folder / "other", pods.store)
    other.store.content.pop(PIN)
    assert other.fetch()[0].keys() == {"a.png", "0/größe 🤗.png", "b.png"}


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_an_object_that_is_no_longer_what_it_was_is_named_with_what_to_do(pods: Pods, change: str) -> None:
    pods.fetch()
    if change == "replaced":
        pods.store.content[f"{DATA}/a.png"] = b"A"
    else:
        del pods.store.content[f"{DATA}/a.png"]
    with pytest.raises(Replaced) as caught:
        pods.fetch()
    assert (caught.value.reason, caught.value.exit_code) == ("InputReplaced", exit_codes.DATA_CORRUPT)
    assert exit_codes.outcome(caught.value.exit_code) is exit_codes.Outcome.PERMANENT
    for words in ("input 'data'", f"{DATA}/a.png", "Submit a new job", "spec.checkpoint.from"):
        assert words in caught.value.message


def test_one_object_as_an_input_is_pinned_as_well(pods: Pods) -> None:
    item = Input("data", f"s3://fovea/{DATA}/a.png")
    before = pods.fetch(item)
    assert before[0] == {"": b"a"}
    pods.store.content[f"{DATA}/a.png/b"] = b"now it is a folder, too"
    assert pods.fetch(item) == before
    pods.store.content[f"{DATA}/a.png"] = b"A"
    with pytest.raises(Replaced):
        pods.fetch(item)


def at_the_read(pods: Pods, key: str, happens: Callable[[], None]) -> None:
    """Let something happen once, when `key` is read."""
    read = pods.store.read

    def reading(wanted: str) -> bytes:
        if wanted == key:
            pods.store.read = read  # type: ignore[method-assign]
            happens()
        return read(wanted)

    pods.store.read = reading  # type: ignore[method-assign]


def test_of_two_pods_that_read_different_data_the_second_reads_again_what_the_first_has_read(pods: Pods) -> None:
    first: list[object] = []

    def another_pod() -> None:
        pods.store.content[f"{DATA}/b.png"] = b"b"  # after the listing of this pod
        first.append(pods.fetch())

    at_the_read(pods, f"{DATA}/a.png", another_pod)
    assert pods.fetch() == first[0]
    assert pods.fetch() == first[0]


def test_data_that_changes_under_one_pod_is_read_as_another_pod_has_read_it_since(pods: Pods) -> None:
    first: list[object] = []

    def another_pod() -> None:
        pods.store.content[f"{DATA}/a.png"] = b"A"
        first.append(pods.fetch())

    at_the_read(pods, f"{DATA}/0/größe 🤗.png", another_pod)
    assert pods.fetch() == first[0]


def test_data_that_changes_while_the_first_attempt_reads_it_is_pinned_by_nobody(pods: Pods) -> None:
    at_the_read(pods, f"{DATA}/0/größe 🤗.png", lambda: pods.store.content.update({f"{DATA}/a.png": b"A"}))
    with pytest.raises(Changed):
        pods.fetch()
    assert PIN not in pods.store.content
    assert pods.fetch()[0]["a.png"] == b"A"


def lines_of(pods: Pods) -> list[str]:
    return gzip.decompress(pods.store.content[PIN]).decode().splitlines()


@pytest.mark.parametrize("damage", ["cut", "no end", "a line less", "a line more", "no gzip", "empty"])
def test_a_damaged_listing_is_corrupt_and_never_half_a_data_set(pods: Pods, damage: str) -> None:
    pods.fetch()
    lines = lines_of(pods)
    whole = pods.store.content[PIN]
    pods.store.content[PIN] = {
        "cut": whole[:-9],
        "no end": gzip.compress("\n".join(lines[:-1]).encode()),
        "a line less": gzip.compress("\n".join([*lines[:1], *lines[2:]]).encode()),
        "a line more": gzip.compress("\n".join([*lines, lines[1]]).encode()),
        "no gzip": b"[]",
        "empty": b"",
    }[damage]
    with pytest.raises(Corrupt, match=r"inputs/data\.jsonl\.gz is corrupt"):
        pods.fetch()


def test_a_listing_of_a_newer_release_is_not_understood_and_not_replaced(pods: Pods) -> None:
    newer = gzip.compress(json.dumps({"format": 2, "release": "9.1.0"}).encode())
    pods.store.content[PIN] = newer
    with pytest.raises(TooNew, match=r"Fovea 9\.1\.0"):
        pods.fetch()
    assert pods.store.content[PIN] == newer
