"""Which objects and parts a second try sends: what is absent, or is there with another size or ETag."""

from datetime import UTC, datetime

import pytest
from fovea_agent.folder import Fingerprint
from fovea_agent.publish import parts_to_send, to_send
from fovea_agent.store import Part, StoredObject

SMALL = Fingerprint(3, "sha", "00aa", 0, (b"\x00\xaa",))
BIG = Fingerprint(10, "sha", "whatever-3", 4, (b"\x01", b"\x02", b"\x03"))


def stored(size: int, etag: str) -> StoredObject:
    return StoredObject("k", size, etag, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("present", "sent"),
    [
        pytest.param({}, ["k"], id="absent"),
        pytest.param({"k": stored(3, "00aa")}, [], id="there"),
        pytest.param({"k": stored(3, "00ab")}, ["k"], id="there with other content of the same size"),
        pytest.param({"k": stored(2, "00aa")}, ["k"], id="there with another size"),
        pytest.param(
            {"k": stored(3, "00aa-1")}, ["k"], id="there with an ETag that is no MD5 (encrypted by a key service)"
        ),
    ],
)
def test_an_object_is_sent_unless_the_store_has_it(present: dict[str, StoredObject], sent: list[str]) -> None:
    assert to_send({"k": SMALL}, present) == sent


@pytest.mark.parametrize(
    ("present", "sent"),
    [
        pytest.param({}, [1, 2, 3], id="a new upload"),
        pytest.param({1: Part(4, "01"), 2: Part(4, "02"), 3: Part(2, "03")}, [], id="only to be completed"),
        pytest.param({2: Part(4, "02")}, [1, 3], id="parts arrive in any order"),
        pytest.param({1: Part(4, "01"), 2: Part(4, "ff"), 3: Part(3, "03")}, [2, 3], id="other content, other size"),
    ],
)
def test_a_part_is_sent_unless_the_store_has_it(present: dict[int, Part], sent: list[int]) -> None:
    assert parts_to_send(BIG, present) == sent
