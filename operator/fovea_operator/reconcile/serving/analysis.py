"""Whether a candidate is good enough, by what the gateway has counted of its requests and of the stable version's.

Of a hundred requests, two may fail by chance, and the 99th percentile is hardly more than the slowest one of them. A candidate
goes back only where that cannot be chance. Where it may be, it gets more requests, but no next step.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fovea_api.v1alpha1.conditions import ServingReason
from fovea_api.v1alpha1.model_deployment_status import Place
from fovea_api.v1alpha1.rollout import Analysis

from fovea_operator.reconcile.serving.health import Problem
from fovea_operator.reconcile.shared.traffic import NO_REQUESTS, Requests, Traffic

_QUANTILE = 0.99
_NOBODY_COUNTS = (
    "the gateway's count of requests: there is none (gateway.statisticsPort of the chart; rollout.analysis.minRequests: 0 "
    "lets time alone decide)"
)
_CHANCE = 1e-4
"""How probable it may be, at most, that a candidate that is no slower than allowed looks like one that is."""
_MORE = "more requests, which tell it from chance"


@dataclass(frozen=True)
class Verdict:
    """What the requests say of a candidate: it failed, it is not known yet, or, with neither, it is good."""

    failed: Problem | None = None
    waits_for: str = ""


@dataclass(frozen=True)
class _Baseline:
    """What the candidate is compared with."""

    error_ratio: float | None = None
    """None: too few of its requests are known."""
    requests: int = 0
    p99: float | None = None


def judge(analysis: Analysis, candidate: Place, stable: Place, traffic: Traffic | None, weight: int) -> Verdict:
    """The verdict on the requests so far, of a candidate with that weight. Nothing is decided on fewer than `minRequests`."""
    if analysis.min_requests == 0:
        return Verdict()
    if traffic is None:
        return Verdict(waits_for=_NOBODY_COUNTS)
    answers = _of_answers(analysis, candidate, stable, traffic)
    requests = _of_requests(analysis, candidate, stable, traffic, weight)
    for verdict in (answers, requests):
        if verdict.failed is not None:
            return verdict
    return Verdict(waits_for=answers.waits_for or (requests.waits_for if weight else ""))


def _of_answers(analysis: Analysis, candidate: Place, stable: Place, traffic: Traffic) -> Verdict:
    """Of how far the answers to mirrored requests are apart."""
    if analysis.max_drift is None:
        return Verdict()
    seen = traffic.compared
    if seen.total < analysis.min_requests:
        return Verdict(
            waits_for=f"{analysis.min_requests} mirrored requests to versions {stable.version} and {candidate.version}"
        )
    if seen.mean <= analysis.max_drift:
        return Verdict()
    alone = f"; it failed {seen.failed} of them alone" if seen.failed else ""
    said = (
        f"its answers to {seen.total} mirrored requests differ by {_percent(seen.mean)} from those of version {stable.version}"
        f"{alone} (rollout.analysis.maxDrift allows {_percent(analysis.max_drift)})"
    )
    if not _is_no_chance(seen.mean, seen.total, analysis.max_drift):
        return Verdict(waits_for=f"more mirrored requests, which tell it from chance: {said}")
    return Verdict(failed=Problem(ServingReason.DIFFERENT, said))


def _of_requests(analysis: Analysis, candidate: Place, stable: Place, traffic: Traffic, weight: int) -> Verdict:
    """Of errors and latency."""
    doubt = ""
    for window in (traffic.whole, traffic.recent):
        asked = window.get(candidate.deployment, NO_REQUESTS)
        if asked.total >= analysis.min_requests:
            against = _baseline(analysis, stable, window, traffic.whole)
            for finding in _findings(analysis, asked, candidate, stable, against, weight):
                if not finding.lacks:
                    return Verdict(failed=finding.problem)
                doubt = doubt or f"{finding.lacks}: {finding.problem.message}"
    if traffic.trouble:
        return Verdict(waits_for=f"the gateway's count of requests, which cannot be read: {traffic.trouble}")
    asked = traffic.whole.get(candidate.deployment, NO_REQUESTS)
    if asked.total < analysis.min_requests:
        return Verdict(waits_for=f"{analysis.min_requests} requests to version {candidate.version}")
    if not doubt and weight < 100 and traffic.whole.get(stable.deployment, NO_REQUESTS).total < analysis.min_requests:
        return Verdict(waits_for=f"{analysis.min_requests} requests to version {stable.version}, to compare with")
    return Verdict(waits_for=doubt)


def _baseline(
    analysis: Analysis, stable: Place, window: Mapping[str, Requests], whole: Mapping[str, Requests]
) -> _Baseline:
    """The stable version in the same time, or since the step began.

    Where it has no requests any more, the errors of when it last had enough, be it before the candidate's first step: clients go
    on to send the same. Its latency then says nothing about now, on machines that others use too.
    """
    for seen in (window, whole):
        asked = seen.get(stable.deployment, NO_REQUESTS)
        if asked.total >= analysis.min_requests:
            return _Baseline(asked.error_ratio, asked.total, asked.quantile(_QUANTILE))
    if stable.traffic is not None and stable.traffic.requests >= analysis.min_requests:
        return _Baseline(stable.traffic.error_ratio, stable.traffic.requests)
    return _Baseline()


@dataclass(frozen=True)
class _Finding:
    """The candidate is beyond a bound."""

    problem: Problem
    lacks: str
    """What is missing before that is sure; empty: it is."""


def _findings(
    analysis: Analysis, asked: Requests, candidate: Place, stable: Place, against: _Baseline, weight: int
) -> Iterator[_Finding]:
    ratio, allowed = asked.error_ratio, (against.error_ratio or 0.0) + analysis.max_error_ratio
    if ratio > allowed:
        said = (
            f"{asked.failed} of {asked.total} requests to version {candidate.version} failed ({_percent(ratio)}; "
            f"{_compared(analysis, stable, against)})"
        )
        yield _Finding(Problem(ServingReason.ERRORS, said), _lacks(analysis, asked, stable, against, weight))
    if not against.p99:
        return
    longest = analysis.max_latency_ratio * against.p99
    slower = asked.slower_than(longest)
    if slower > 1 - _QUANTILE:
        p99 = asked.quantile(_QUANTILE) or 0.0
        said = (
            f"{_percent(slower)} of {asked.total} requests to version {candidate.version} took longer than {longest:.1f} ms; "
            f"its 99th percentile is {p99:.1f} ms, that of version {stable.version} {against.p99:.1f} ms "
            f"(rollout.analysis.maxLatencyRatio: {analysis.max_latency_ratio:g})"
        )
        is_sure = _is_no_chance(slower, sum(asked.latencies.values()), 1 - _QUANTILE)
        yield _Finding(Problem(ServingReason.SLOW, said), "" if is_sure else _MORE)


def _compared(analysis: Analysis, stable: Place, against: _Baseline) -> str:
    """With what, in words."""
    most = f"rollout.analysis.maxErrorRatio allows {_percent(analysis.max_error_ratio)}"
    if against.error_ratio is None:
        few = f"fewer than {analysis.min_requests} requests to version {stable.version} were counted"
        return f"compared with nothing, since {few}; {most}"
    return f"of version {stable.version} {_percent(against.error_ratio)}; {most} more"


def _lacks(analysis: Analysis, asked: Requests, stable: Place, against: _Baseline, weight: int) -> str:
    """What is missing before it is sure that the candidate fails more than allowed: neither count may be so by chance."""
    known = against.error_ratio
    if known is None and weight < 100:
        return f"{analysis.min_requests} requests to version {stable.version}, to compare with"
    if not _is_no_chance(asked.error_ratio, asked.total, (known or 0.0) + analysis.max_error_ratio):
        return _MORE
    # By as much as the candidate fails, less what is allowed, so many requests to the stable version would hardly have gone well.
    if known is None or _is_no_chance(1 - known, against.requests, 1 - (asked.error_ratio - analysis.max_error_ratio)):
        return ""
    if weight < 100:
        return _MORE
    few = f"the {against.requests} requests that version {stable.version} had are too few to tell it from chance"
    return f"you, since {few} (rollout.promotedVersion or rollout.abortedVersion)"


def _is_no_chance(part: float, measured: int, expected: float) -> bool:
    """Whether so many of the requests are beyond a bound, of which that part is expected, that it is hardly chance (Chernoff's bound).

    It holds for the mean of numbers from 0 to 1, too.
    """
    if part <= expected or not 0 < expected < 1:
        return part > expected
    distance = part * math.log(part / expected)
    if part < 1:
        distance += (1 - part) * math.log((1 - part) / (1 - expected))
    return measured * distance > -math.log(_CHANCE)


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
