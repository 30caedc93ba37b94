"""Two batch predictions with one place for their outputs: at any moment one of them may write there, and the other one says why not."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fovea_agent.batch import Batch
from fovea_agent.batch_claim import LAPSES, RENEWED_EVERY, Claim
from fovea_agent.batch_output import Output
from fovea_agent.errors import KeyRefused, Misconfigured
from fovea_agent.own_account import uid_of_account
from fovea_agent.settings import WorkVolume
from fovea_agent.store import StoredObject
from fovea_api.contract import batch, report, storage
from fovea_api.contract.batch import Summary
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import BatchPlan
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory_store import Died, MemoryStore
from support.pod_tokens import token

PLACE = "vision/out"
ONE = BatchPlan(
    "vision", "pets", "1", 1, "s3://fovea/vision/in", batch.JSONL, f"s3://fovea/{PLACE}", batch.JSONL, "d", 4, 9
)
TWO = replace(ONE, name="other", uid="2")
NEXT = replace(ONE, uid="3")
"""The prediction that was submitted under the name of ONE, after that was deleted."""


def claim(store: MemoryStore, plan: BatchPlan = ONE, later: timedelta = timedelta()) -> Claim:
    return Claim(plan, store, PLACE, clock=lambda: datetime.now(UTC) + later)


def holders(store: MemoryStore) -> dict[str, str]:
    """The uids that the claims name."""
    prefix = f"{PLACE}/claims/"
    return {k.removeprefix(prefix): json.loads(v)["uid"] for k, v in store.content.items() if k.startswith(prefix)}


def refusal(does: Callable[[], Any]) -> str:
    with pytest.raises(Misconfigured) as refused:
        does()
    assert refused.value.reason == report.REASON_OUTPUT_TAKEN
    return refused.value.message


def test_a_place_that_another_prediction_has_claimed_is_refused_with_its_name_and_what_to_do() -> None:
    store = MemoryStore()
    claim(store).hold()
    message = refusal(claim(store, TWO).hold)
    assert "is claimed by prediction 'pets' of namespace 'vision' (uid 1)" in message
    assert "name another folder in spec.output.uri" in message
    assert f"remove s3://fovea/{PLACE}/claims/1 and submit again" in message
    assert holders(store) == {"1": "1"}


def test_workers_of_one_prediction_share_its_claim() -> None:
    store = MemoryStore()
    for _ in range(3):
        claim(store).hold()
    assert holders(store) == {"1": "1"}


def test_a_claim_that_nobody_renewed_for_an_hour_is_replaced_and_never_taken_back() -> None:
    store = MemoryStore()
    first = claim(store)
    first.hold()
    refusal(claim(store, TWO, LAPSES - timedelta(seconds=1)).hold)
    claim(store, TWO, LAPSES).hold()
    assert holders(store) == {"1": "1", "2": "2"}
    assert "has meanwhile been claimed by prediction 'other'" in refusal(first.hold)
    assert "meanwhile" in refusal(claim(store, ONE, 2 * LAPSES).hold)


def test_a_prediction_of_the_same_name_replaces_the_claim_of_the_deleted_one_which_stays_out() -> None:
    store = MemoryStore()
    old, new = claim(store), claim(store, NEXT)
    old.hold()
    new.hold()
    refusal(old.hold)
    new.hold()
    assert holders(store) == {"1": "1", "2": "3"}


@pytest.mark.parametrize("theirs,own", [("of A", "of B"), ("of A", ""), ("", "of B")])
def test_a_prediction_of_the_same_name_in_another_cluster_keeps_its_claim_for_as_long_as_it_renews_it(
    theirs: str, own: str
) -> None:
    store = MemoryStore()
    there, here = replace(claim(store), account=theirs), replace(claim(store, NEXT), account=own)
    there.hold()
    message = refusal(here.hold)
    assert "(uid 1), which has this name in another cluster, or was submitted with another service account" in message
    assert f"remove s3://fovea/{PLACE}/claims/1 and submit again" in message
    there.hold()
    replace(here, clock=lambda: datetime.now(UTC) + LAPSES).hold()
    assert holders(store) == {"1": "1", "2": "3"}


def test_in_one_cluster_the_claim_of_the_deleted_namesake_is_void_at_once() -> None:
    store = MemoryStore()
    replace(claim(store), account="of A").hold()
    replace(claim(store, NEXT), account="of A").hold()
    assert holders(store) == {"1": "1", "2": "3"}


def test_workers_that_cannot_read_their_account_share_the_claim_all_the_same() -> None:
    store = MemoryStore()
    for account in ("of A", "", "of A"):
        replace(claim(store), account=account).hold()
    assert holders(store) == {"1": "1"}


def test_a_claim_of_an_earlier_release_is_read() -> None:
    store = MemoryStore()
    store.content[f"{PLACE}/claims/1"] = json.dumps({"namespace": "vision", "name": "pets", "uid": "1"}).encode()
    claim(store).hold()
    claim(store, NEXT).hold()
    assert holders(store) == {"1": "1", "2": "3"}


@pytest.mark.parametrize(
    "text,uid",
    [
        (token(**{"kubernetes.io": {"namespace": "vision", "serviceaccount": {"name": "default", "uid": "a1"}}}), "a1"),
        (token(), ""),
        (token(**{"kubernetes.io": {"serviceaccount": None}}), ""),
        ("no token", ""),
        ("a.%%%.b", ""),
        (None, ""),
    ],
)
def test_the_account_is_that_of_the_pod_s_own_token(tmp_path: Path, text: str | None, uid: str) -> None:
    if text is not None:
        (tmp_path / report.REPORT_TOKEN_FILE).write_text(text)
    assert uid_of_account(tmp_path / report.REPORT_TOKEN_FILE) == uid


def test_a_worker_renews_the_claim_that_it_holds_now_and_then() -> None:
    store, now = MemoryStore(), [0.0]
    own = replace(claim(store), monotonic=lambda: now[0])
    own.renew()
    assert not store.writes, "it holds none yet"
    own.hold()
    now[0] = RENEWED_EVERY - 1
    own.renew()
    now[0] = RENEWED_EVERY
    own.renew()
    own.renew()
    assert store.writes == [f"put {PLACE}/claims/1"] * 2


def test_an_object_that_is_no_claim_is_another_s() -> None:
    store = MemoryStore()
    store.content[f"{PLACE}/claims/1"] = b"[]"
    assert "an object that is no claim of Fovea" in refusal(claim(store).hold)


def test_a_claim_that_may_not_be_removed_ends_nothing() -> None:
    class Stingy(MemoryStore):
        def remove(self, keys: Any) -> None:
            raise KeyRefused("s3:DeleteObject")

    store = Stingy()
    claim(store).hold()
    claim(store).release()
    assert holders(store) == {"1": "1"}


STEPS = st.lists(st.tuples(st.sampled_from([ONE, TWO, NEXT]), st.integers(0, 3)), min_size=1, max_size=12)


@settings(max_examples=200)
@given(STEPS)
def test_whoever_holds_the_place_is_the_only_one_and_none_comes_back(steps: list[tuple[BatchPlan, int]]) -> None:
    store, past = MemoryStore(), []
    for plan, hours in steps:
        try:
            claim(store, plan, timedelta(hours=hours)).hold()
        except Misconfigured:
            assert past[-1] != plan.uid
        else:
            assert plan.uid not in past[:-1], "who was replaced stays out"
            past += [plan.uid] if past[-1:] != [plan.uid] else []
    assert list(holders(store).values()) == past


# -- with a pod around it ----------------------------------------------------------------------------------------------


@dataclass
class Pods:
    """Pods whose program has answered both shards, each prediction's with other digits."""

    store: MemoryStore
    folder: Path

    def __post_init__(self) -> None:
        self.store.content["vision/in/a.jsonl"] = b"1\n2\n3\n4\n"

    def pod(self, plan: BatchPlan, account: str = "") -> Batch:
        folder = self.folder / plan.uid
        for number in range(2):
            made = folder / batch.ANSWERS / str(number)
            made.mkdir(parents=True)
            (made / batch.PREDICTIONS).write_bytes(f"answer {number} of {plan.uid}\n".encode())
            (made / batch.SUMMARY_FILE).write_text(Summary(2).to_json())
        return Batch(plan, 0, self.store, WorkVolume(folder, folder), poll=0.01, account=account)

    def texts(self) -> set[str]:
        """Who wrote the files that the manifest names."""
        manifest = Manifest.from_json(self.store.content[storage.manifest(PLACE)])
        return {self.store.content[f"{PLACE}/{each.key}"].decode().split()[-1] for each in manifest.entries}


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    return Pods(MemoryStore(), tmp_path)


def test_a_pod_of_another_cluster_is_refused_before_it_answers_anything(pods: Pods) -> None:
    replace(claim(pods.store), account="of A").hold()
    assert "in another cluster" in refusal(pods.pod(NEXT, "of B").run)
    assert not [key for key in pods.store.content if key.startswith(storage.batch("vision", "pets", "3"))]


def test_an_output_has_no_claim_left_beside_it(pods: Pods) -> None:
    pods.pod(ONE).run()
    assert holders(pods.store) == {}
    assert pods.texts() == {"1"}


@pytest.mark.parametrize("lives", range(16))
def test_wherever_the_first_prediction_dies_the_second_is_refused_and_the_first_goes_on(pods: Pods, lives: int) -> None:
    first, store = pods.pod(ONE), pods.store
    store.lives = lives
    try:
        first.run()
    except Died:
        store.lives = None
        if holders(store) or f"{PLACE}/manifest.json" in store.content:
            refusal(pods.pod(TWO).run)
            Pods(store, pods.folder / "again").pod(ONE).run()
            assert pods.texts() == {"1"}
            assert holders(store) == {}
    else:
        assert pods.texts() == {"1"}


def test_a_prediction_that_publishes_while_another_one_looks_at_the_place_keeps_it(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim is gone when the other one claims: the files tell."""
    first, second, store = pods.pod(ONE), pods.pod(TWO), pods.store
    look, before = store.listing, [first.run]

    def listing(prefix: str) -> Iterator[StoredObject]:
        if prefix.startswith(f"{PLACE}/claims/") and before:
            before.pop()()
        return look(prefix)

    monkeypatch.setattr(store, "listing", listing)
    assert "has a file manifest.json already" in refusal(second.run)
    assert (holders(store), pods.texts()) == ({}, {"1"})
    assert not [key for key in store.content if key.startswith(storage.batch("vision", "other", "2"))]


def test_a_prediction_that_was_replaced_while_it_stood_still_does_not_publish(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, store = pods.pod(ONE), pods.store
    write = Output._bring

    def stands_still(self: Output, *arguments: Any) -> None:
        claim(store, TWO, LAPSES).hold()
        write(self, *arguments)

    monkeypatch.setattr(Output, "_bring", stands_still)
    assert "has meanwhile been claimed by prediction 'other'" in refusal(first.run)
    assert storage.manifest(PLACE) not in store.content
