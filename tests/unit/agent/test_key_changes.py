"""A key that is replaced while an agent works: its successor is taken up once it is mounted, wherever the agent is."""

from collections.abc import Callable

import pytest
from fovea_agent.errors import KeyMissing, KeyRefused, KeyUnknown, KeyWithdrawn
from fovea_agent.keys import KeyInUse
from fovea_agent.patience import Patience
from fovea_agent.settings import StoreAccess
from fovea_api.contract import exit_codes

HERE = ("GET", "fovea", "vision")
ELSEWHERE = ("GET", "fovea", "medical")


class Rotation:
    """A store that accepts `valid` only, and a mount that shows it from the look `mounted_at` on (0: never)."""

    def __init__(self, mounted_at: int) -> None:
        self.now, self.looks, self.mounted_at = 0.0, 0, mounted_at
        self.valid = "old"
        self.patience = Patience(None, clock=lambda: self.now, sleep=self.sleep)
        self.keys = KeyInUse(self.access("old"), self.patience, 2, self.look)

    @staticmethod
    def access(secret: str, bucket: str = "fovea") -> StoreAccess:
        return StoreAccess("http://minio:9000", bucket, "the-key", secret)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self) -> StoreAccess:
        self.looks += 1
        if self.looks % 2 and self.looks != self.mounted_at:
            raise KeyMissing("the Secret is being written")
        return self.access("new" if self.mounted_at and self.looks >= self.mounted_at else "old")

    def request(self, keys: KeyInUse, error: type[KeyRefused] = KeyUnknown) -> Callable[[], str]:
        def once() -> str:
            if keys.wire.access.secret_key != self.valid:
                raise error("the object store refused the key")
            return f"answer from {keys.wire.access.bucket}"

        return once


@pytest.mark.parametrize("error", [KeyUnknown, KeyRefused], ids=["unknown to the store", "not allowed here"])
@pytest.mark.parametrize("bucket", ["fovea", "archive"])
def test_a_key_that_is_replaced_during_the_work_is_taken_up_once_it_is_mounted(
    bucket: str, error: type[KeyRefused]
) -> None:
    rotation = Rotation(mounted_at=12)
    keys = rotation.keys if bucket == "fovea" else rotation.keys.at(bucket)
    keys.through_changes(HERE, rotation.request(keys, error))
    rotation.valid = "new"
    assert keys.through_changes(HERE, rotation.request(keys, error)) == f"answer from {bucket}"
    assert rotation.looks == 12
    assert 20 < rotation.now < 60, "it waits longer from time to time"


def test_a_bucket_that_was_not_asked_before_knows_that_the_key_was_good() -> None:
    rotation = Rotation(mounted_at=4)
    rotation.keys.through_changes(HERE, rotation.request(rotation.keys))
    rotation.valid = "new"
    other = rotation.keys.at("archive")
    assert other.through_changes(("GET", "archive", "x"), rotation.request(other)) == "answer from archive"


def test_a_successor_that_is_mounted_already_is_used_at_once_even_by_an_agent_that_has_just_started() -> None:
    rotation = Rotation(mounted_at=1)
    rotation.valid = "new"
    assert rotation.keys.through_changes(HERE, rotation.request(rotation.keys)) == "answer from fovea"
    assert rotation.now == 0


def test_a_key_that_was_never_accepted_is_refused_at_once() -> None:
    rotation = Rotation(mounted_at=0)
    rotation.valid = "new"
    with pytest.raises(KeyRefused) as caught:
        rotation.keys.through_changes(HERE, rotation.request(rotation.keys))
    assert (caught.value.exit_code, rotation.now) == (exit_codes.KEY_REFUSED, 0)


def test_a_place_that_a_good_key_may_not_reach_is_refused_at_once() -> None:
    rotation = Rotation(mounted_at=0)
    rotation.keys.through_changes(HERE, rotation.request(rotation.keys))
    rotation.valid = "another"
    with pytest.raises(KeyRefused) as caught:
        rotation.keys.through_changes(ELSEWHERE, rotation.request(rotation.keys, KeyRefused))
    assert (caught.value.exit_code, rotation.now) == (exit_codes.KEY_REFUSED, 0)


@pytest.mark.parametrize(
    ("grace", "least", "most"),
    [(None, 100, 230), (600.0, 100, 230), (60.0, 50, 60)],
    ids=["during the work", "after some minutes", "in the grace period"],
)
def test_a_key_that_is_withdrawn_for_good_asks_for_another_attempt(
    grace: float | None, least: float, most: float
) -> None:
    rotation = Rotation(mounted_at=0)
    rotation.keys.through_changes(HERE, rotation.request(rotation.keys))
    rotation.valid = "new"
    if grace is not None:
        rotation.patience.end_at(grace)
    with pytest.raises(KeyWithdrawn) as caught:
        rotation.keys.through_changes(HERE, rotation.request(rotation.keys))
    assert (caught.value.exit_code, caught.value.reason) == (exit_codes.RESTART, "KeyRefused")
    assert least < rotation.now < most


def test_when_the_pod_ends_even_a_key_that_was_never_accepted_is_waited_for() -> None:
    rotation = Rotation(mounted_at=12)
    rotation.valid = "new"
    rotation.patience.end_at(600.0)
    assert rotation.keys.through_changes(HERE, rotation.request(rotation.keys)) == "answer from fovea"

    never = Rotation(mounted_at=0)
    never.valid = "new"
    never.patience.end_at(60.0)
    with pytest.raises(KeyRefused) as caught:
        never.keys.through_changes(HERE, never.request(never.keys))
    assert caught.value.exit_code == exit_codes.KEY_REFUSED


def test_a_key_that_nobody_mounts_is_refused_when_it_is_refused() -> None:
    rotation = Rotation(mounted_at=0)
    root = KeyInUse(rotation.access("old"), rotation.patience, 2, None)
    root.through_changes(HERE, rotation.request(root))
    rotation.valid = "new"
    with pytest.raises(KeyRefused):
        root.through_changes(HERE, rotation.request(root))
    assert (rotation.looks, rotation.now) == (0, 0)


@pytest.mark.parametrize("ending", [False, True])
def test_what_can_be_done_without_waits_for_a_key_only_when_the_store_knows_it_no_more(ending: bool) -> None:
    rotation = Rotation(mounted_at=12)
    rotation.keys.through_changes(HERE, rotation.request(rotation.keys))
    rotation.valid = "new"
    if ending:
        rotation.patience.end_at(600.0)
    with pytest.raises(KeyRefused):
        rotation.keys.through_changes(HERE, rotation.request(rotation.keys, KeyRefused), needed=False)
    assert rotation.now == 0
    assert rotation.keys.through_changes(HERE, rotation.request(rotation.keys), needed=False) == "answer from fovea"


def test_what_can_be_done_without_proves_nothing_of_the_place() -> None:
    """A key that may list the parts of an upload there may not write there because of that."""
    rotation = Rotation(mounted_at=0)
    rotation.keys.through_changes(HERE, rotation.request(rotation.keys), needed=False)
    rotation.valid = "another"
    with pytest.raises(KeyRefused):
        rotation.keys.through_changes(HERE, rotation.request(rotation.keys, KeyRefused))
    assert rotation.now == 0
