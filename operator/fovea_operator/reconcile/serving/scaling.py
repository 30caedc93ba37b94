"""How many pods a version is to have by the requests under way, and when it has none. A function of what was read, the size before, and the time.

As in Knative, two windows decide: a minute, and six seconds for a burst. Pods end only once fewer have been enough for
`stabilizationSeconds`, and never while a rollout runs.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from fovea_api.v1alpha1.model_deployment_status import Place, PlaceStep
from fovea_api.v1alpha1.scaling import Scale, Scaling

from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Event
from fovea_operator.reconcile.shared.traffic import Load, Sample

WINDOW = timedelta(seconds=60)
BURST_WINDOW = timedelta(seconds=6)
BURST = 2
"""A burst: so many times as many requests in its window as in the long one."""


class Recommended(NamedTuple):
    """A number of pods, and the requests under way that ask for it."""

    replicas: int
    concurrency: float


def recommended(samples: Sequence[Sample], target: int) -> Iterator[tuple[datetime, Recommended]]:
    """At each sample, by those before it."""
    long, short = _Mean(WINDOW), _Mean(BURST_WINDOW)
    for sample in samples:
        steady, burst = long.after(sample, samples), short.after(sample, samples)
        concurrency = burst if burst >= BURST * steady else steady
        yield sample.time, Recommended(math.ceil(concurrency / target), concurrency)


class _Mean:
    """Of the samples in a window that ends with the newest one."""

    def __init__(self, window: timedelta) -> None:
        self._window = window
        self._sum = self._first = self._count = 0

    def after(self, sample: Sample, samples: Sequence[Sample]) -> float:
        """With one more sample."""
        self._sum, self._count = self._sum + sample.active, self._count + 1
        while samples[self._first].time <= sample.time - self._window:
            self._sum, self._count = self._sum - samples[self._first].active, self._count - 1
            self._first += 1
        return self._sum / self._count


def scale(
    spec: Scaling, before: Scale | None, load: Load | None, held: int, now: datetime, *, grows_only: bool
) -> Scale:
    """The number of pods now. `held`: requests that wait for a pod. `grows_only`: while a rollout runs."""
    known = before or Scale(replicas=spec.least, since=times.text(now))
    size = min(max(known.replicas, spec.least), spec.most)
    asked = Recommended(math.ceil(held / spec.target), held)
    if load is not None and load.samples:
        since = now - timedelta(seconds=spec.stabilization)
        recent = _held_since(since, list(recommended(load.samples, spec.target)))
        asked = max(asked, recent[-1])
        # Where something is not known, there may be more requests than were seen, and no fewer.
        covered = load.begun is not None and load.begun <= since and not load.trouble
        if covered and not grows_only and (enough := max(recent)).replicas < size:
            asked, size = max(asked, enough), spec.least
    if asked.replicas > size:
        size = min(asked.replicas, spec.most)
    if size == known.replicas:
        return known
    changed = {"replicas": size, "since": times.text(now), "concurrency": round(asked.concurrency, 1)}
    return known.model_copy(update=changed)


def _held_since(since: datetime, asked: Sequence[tuple[datetime, Recommended]]) -> list[Recommended]:
    """What was asked for since then: each number holds until the next reading, so the last one before counts too.

    The newest one always does, however old it is, and however short the time.
    """
    before = bisect_right([at for at, _ in asked], since)
    return [each for _, each in asked[max(0, before - 1) :]]


def is_idle(spec: Scaling, load: Load | None) -> bool:
    """Whether no request had come, or been under way, for as long as the spec says, at the newest reading. What is not known is not idle."""
    if load is None or load.trouble or load.begun is None or not load.samples:
        return False
    since = load.samples[-1].time - timedelta(seconds=spec.idle)
    quiet = load.last_request is None or load.last_request <= since
    return load.begun <= since and quiet and load.samples[-1].active == 0


def asked_since(place: Place, load: Load | None) -> bool:
    """Whether a request has come to the pods of a version since it is idle."""
    since = times.parse(place.since)
    return (
        load is not None
        and since is not None
        and ((load.last_request is not None and load.last_request > since) or any(s.active for s in load.samples[-1:]))
    )


def events(before: Scale | None, after: Scale | None) -> Iterator[Event]:
    """One for each change of the size, with the numbers that decided."""
    if before is None or after is None or before.replicas == after.replicas:
        return
    why = f"{after.concurrency:g} requests under way" if after.concurrency is not None else "spec.scaling"
    yield Event("Normal", "Scaled", f"From {before.replicas} to {after.replicas} pods: {why}.")


SLEEPS = frozenset({PlaceStep.IDLE, PlaceStep.WAKING})
"""Steps in which requests go to the activator."""
