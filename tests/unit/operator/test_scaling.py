"""How many pods the requests under way ask for: a table of loads, and what holds for every load."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from fovea_api.v1alpha1.scaling import Scale, Scaling
from fovea_operator.reconcile.serving.scaling import events, is_idle, scale
from fovea_operator.reconcile.shared.traffic import Load, Sample
from hypothesis import given
from hypothesis import strategies as st
from support.observations import at

NOW = 1000


def spec(**given: Any) -> Scaling:
    return Scaling.model_validate({"minReplicas": 1, "maxReplicas": 10, "targetConcurrency": 4, **given})


def load(*spans: tuple[int, int], begun: int = NOW - 600, trouble: str = "") -> Load:
    """A reading each second up to now: spans of (seconds, requests under way), the last one the newest."""
    active = [requests for seconds, requests in spans for _ in range(seconds)]
    first = NOW - len(active) + 1
    samples = tuple(Sample(at(first + number), count) for number, count in enumerate(active))
    busy = [sample.time for sample in samples if sample.active]
    return Load(samples, busy[-1] if busy else None, at(begun), trouble)


def old(seen: Load, seconds: float) -> Load:
    """The same, so much earlier."""
    return replace(
        seen, samples=tuple(Sample(each.time - timedelta(seconds=seconds), each.active) for each in seen.samples)
    )


@dataclass
class Row:
    before: int | None
    load: Load | None
    after: int
    spec: Scaling = field(default_factory=spec)
    held: int = 0
    grows_only: bool = False


TABLE = {
    "a model of which nothing is known has its least number": Row(None, None, 1),
    "the requests of a minute by the target": Row(1, load((120, 12)), 3),
    "a part of a pod is a whole one": Row(1, load((120, 13)), 4),
    "a burst is answered within seconds": Row(1, load((60, 1), (6, 32)), 8),
    "what a burst has started stays as long": Row(8, load((60, 1), (6, 32), (50, 1)), 8),
    "six seconds of a few more requests are no burst": Row(2, load((60, 6), (6, 9)), 2),
    "never more than maxReplicas": Row(2, load((120, 400)), 10),
    "fewer requests for a while change nothing": Row(8, load((60, 32), (59, 2)), 8),
    "fewer for stabilizationSeconds end pods": Row(8, load((120, 32), (125, 2)), 1),
    "as many stay as were needed in that time": Row(8, load((70, 32), (90, 2), (30, 12)), 3),
    "never fewer than minReplicas": Row(3, load((180, 0)), 2, spec(minReplicas=2)),
    "without a reading the number stays": Row(4, Load(), 4),
    "while the gateway cannot be read the number stays": Row(4, load((180, 0), trouble="no proxy answers"), 4),
    "what is known of the load starts pods all the same": Row(1, load((120, 12), trouble="one proxy is silent"), 3),
    "an operator that is new ends no pod before it has seen enough": Row(4, load((30, 0), begun=NOW - 30), 4),
    "but it starts some": Row(1, load((30, 12), begun=NOW - 30), 3),
    "while a rollout runs no pod ends": Row(8, load((180, 2)), 8, grows_only=True),
    "but more start": Row(2, load((180, 32)), 8, grows_only=True),
    "another spec counts at once": Row(8, load((30, 32)), 3, spec(maxReplicas=3)),
    "also upwards": Row(1, None, 2, spec(minReplicas=2)),
    "a model that wakes has a pod for each targetConcurrency requests that wait": Row(1, None, 3, held=9),
    "one that reaches zero has a pod while it serves": Row(2, load((180, 0)), 1, spec(minReplicas=0)),
    "with a stabilization of 0 s pods end with the requests": Row(
        8, load((60, 32), (61, 2)), 1, spec(stabilizationSeconds=0)
    ),
    "and stay with the requests": Row(8, load((120, 32)), 8, spec(stabilizationSeconds=0)),
    "and more start with them": Row(1, load((120, 32)), 8, spec(stabilizationSeconds=0)),
    "a reading holds until the next one, however short the stabilization": Row(
        8, old(load((120, 32)), 1.2), 8, spec(stabilizationSeconds=1)
    ),
    "where readings are rare, the one before the stabilization began counts, too": Row(
        8, Load((Sample(at(NOW - 90), 32), Sample(at(NOW), 2)), at(NOW), at(0)), 8
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_the_number_of_pods(row: Row) -> None:
    before = None if row.before is None else Scale(replicas=row.before, since="2026-01-01T00:00:00Z")
    after = scale(row.spec, before, row.load, row.held, at(NOW), grows_only=row.grows_only)
    assert after.replicas == row.after
    if before is not None and after.replicas == before.replicas:
        assert after == before, "the status is written for a change only"


def test_a_change_is_an_event_with_the_number_that_decided() -> None:
    before = Scale(replicas=1)
    after = scale(spec(), before, load((120, 12)), 0, at(NOW), grows_only=False)
    assert [event.message for event in events(before, after)] == ["From 1 to 3 pods: 12 requests under way."]
    assert (list(events(after, after)), list(events(None, after))) == ([], [])


@given(
    spans=st.lists(st.tuples(st.integers(1, 80), st.integers(0, 200)), max_size=8),
    before=st.integers(1, 50),
    least=st.integers(0, 5),
    more=st.integers(1, 20),
    held=st.integers(0, 100),
    grows_only=st.booleans(),
    stabilization=st.integers(0, 120),
    age=st.floats(0, 30),
)
def test_whatever_the_load_the_number_stays_within_the_spec_and_is_enough_for_a_steady_load(
    spans: list[tuple[int, int]],
    before: int,
    least: int,
    more: int,
    held: int,
    grows_only: bool,
    stabilization: int,
    age: float,
) -> None:
    wanted = spec(minReplicas=least, maxReplicas=least + more, stabilizationSeconds=stabilization)
    known = Scale(replicas=before, since="2026-01-01T00:00:00Z")
    after = scale(wanted, known, load(*spans), held, at(NOW), grows_only=grows_only)
    assert wanted.least <= after.replicas <= wanted.most
    if grows_only:
        assert after.replicas >= min(before, wanted.most)
    steady = old(load(*spans, (120, 20)), age)
    assert scale(wanted, known, steady, held, at(NOW), grows_only=grows_only).replicas >= min(5, wanted.most)


@pytest.mark.parametrize(
    ("seen", "idle"),
    [
        (load((400, 0)), True),
        (load((100, 3), (299, 0)), False),
        (load((100, 3), (301, 0)), True),
        (load((400, 0), (1, 1)), False),
        (load((200, 0), begun=NOW - 200), False),
        (replace(old(load((400, 0)), 200), last_request=at(NOW - 400)), False),
        (load((400, 0), trouble="no proxy answers"), False),
        (Load(), False),
        (None, False),
    ],
    ids=[
        "no request in all of the time",
        "one within idleSeconds",
        "none within idleSeconds",
        "one that is under way",
        "nothing is known of the time before",
        "nothing is known of the time since",
        "the gateway cannot be read",
        "no reading yet",
        "nothing counts",
    ],
)
def test_a_model_is_idle_only_if_that_is_known(seen: Load | None, idle: bool) -> None:
    assert is_idle(spec(minReplicas=0, idleSeconds=300), seen) == idle


def test_the_window_of_a_reading_ends_with_it() -> None:
    """A model that had many requests an hour ago is not judged by them."""
    old = Load((Sample(at(NOW) - timedelta(hours=1), 400), Sample(at(NOW), 4)), at(NOW), at(0))
    assert scale(spec(), Scale(replicas=1), old, 0, at(NOW), grows_only=False).replicas == 1
