"""How far a prediction is: the sum of its workers' reports while they run, their last word once it is published.

A worker is a number of the Job, not a pod: the pod that follows another one begins with all that its number has answered, so of
the reports of one number only the furthest counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fovea_api.contract import batch, names
from fovea_api.contract.progress import MAX_COUNT
from fovea_api.contract.report import REASON_PUBLISHED, ProgressReport, Termination
from fovea_api.v1alpha1.batch_prediction_status import PredictionProgress, ShardCount, WorkersStatus

from fovea_operator.desired.batch_job import SHARD_BYTES, SHARD_RECORDS
from fovea_operator.reconcile.batch import outcome
from fovea_operator.reconcile.batch.view import View, worker_of
from fovea_operator.reconcile.shared.counts import counted
from fovea_operator.reconcile.shared.observed import PodRecord
from fovea_operator.reconcile.shared.pods import ended

RECORDS, ERRORS, SHARDS, SHARDS_TOTAL = "records", "errors", "shards", "shards_total"
"""Names of the metrics in a worker's report, and (but for the last) in the termination message that says where the output is."""
_SIGNIFICANT = 4
"""Digits of a pace."""


@dataclass(frozen=True)
class Totals:
    """Counts over all workers."""

    records: int = 0
    errors: int = 0
    shards: int = 0
    shards_total: int | None = None

    @property
    def error_ratio(self) -> float:
        """Errors divided by records."""
        return self.errors / self.records if self.records else 0.0

    @property
    def reach(self) -> tuple[int, int, int]:
        """Orders counts of the same shards by how far they are: as a whole, since records and errors are those of the shards."""
        return self.shards, self.records, self.errors


def reported(view: View) -> Totals:
    """The sum of the workers' counts, or what the status says if that is further: an operator that starts has heard nobody yet."""
    known = _of_status(view.status.progress)
    furthest: dict[int, Totals] = {}
    total = known.shards_total
    for worker, counts in _said(view):
        furthest[worker] = max(furthest.get(worker, counts), counts, key=_reach)
        if counts.shards_total:
            total = max(total or 0, counts.shards_total)
    heard = furthest.values()
    # Each number by itself never goes back; all of them stay within what the answered shards hold.
    records = max(known.records, _sum(each.records for each in heard))
    errors = max(known.errors, _sum(each.errors for each in heard))
    shards = max(known.shards, _sum(each.shards for each in heard))
    return Totals(records, min(errors, records), shards if total is None else min(shards, total), total)


def further(one: ProgressReport | None, other: ProgressReport) -> ProgressReport:
    """Of two reports of one worker, by whichever of its pods, the one that counts more."""
    return other if one is None else max(one, other, key=lambda report: _counts(_metrics(report)).reach)


def with_last_words(known: ProgressReport | None, pod: PodRecord) -> ProgressReport | None:
    """The furthest report of a worker, after the last words of one of its pods: no operator may have listened before."""
    said = outcome.said_in(pod.container(names.BATCH_CONTAINER).termination_message)
    if said is None or said.reason == REASON_PUBLISHED:
        return known
    before = _metrics(known) if known is not None else {}
    total = {SHARDS_TOTAL: before[SHARDS_TOTAL]} if SHARDS_TOTAL in before else {}
    return further(known, ProgressReport(metrics={**total, **said.metrics}))


def final(said: Termination) -> Totals:
    """The totals by the worker that published the output."""
    records, errors, shards = (counted(said.metrics.get(name)) or 0 for name in (RECORDS, ERRORS, SHARDS))
    return Totals(records, min(errors, records), shards, shards)


def is_lost(view: View, totals: Totals) -> bool:
    """Whether there are too many errors before the end, whatever the records that are left are answered with."""
    if totals.shards_total is None or totals.shards >= totals.shards_total:
        return False  # Once all shards are answered, the output is published, and says what is wrong with each record.
    # A record has at least one byte, and a shard no more bytes than that, unless it is a single record.
    most = SHARD_RECORDS if view.spec.input.format == batch.IMAGES else SHARD_BYTES
    left = (totals.shards_total - totals.shards) * most
    return totals.errors > view.spec.max_error_ratio * (totals.records + left)


def of(totals: Totals, pace: float | None = None) -> PredictionProgress:
    """What the status says of it. `pace`: records a second, None where that is not known."""
    percent = None
    if totals.shards_total is not None:
        percent = 100 * totals.shards // totals.shards_total if totals.shards_total else 100
    return PredictionProgress(
        summary=f"{totals.records} records" if percent is None else f"{percent}%",
        records=totals.records,
        errors=totals.errors,
        error_ratio=round(totals.error_ratio, 6),
        shards=ShardCount(done=totals.shards, total=totals.shards_total),
        percent=percent,
        records_per_second=None if pace is None else float(f"{pace:.{_SIGNIFICANT}g}"),
        eta_seconds=_eta(totals, pace),
    )


def pace(view: View) -> float | None:
    """Records a second of all workers that run; None where none of them is known long enough."""
    paces = [
        heard.pace.steps_per_second
        for pod in view.working
        if (heard := view.observed.heard.get(pod.uid)) is not None and heard.pace is not None
    ]
    return sum(paces) if paces else None


def workers(view: View) -> WorkersStatus:
    """The workers that are there, counted; one that is replaced while its pod still ends is one worker."""
    succeeded = {
        worker_of(pod) for pod in view.pods if isinstance(view.outcomes[pod.uid], (outcome.Done, outcome.Success))
    }
    return WorkersStatus(
        active=len({worker_of(pod) for pod in view.live} - succeeded),
        succeeded=len(succeeded),
        failed=sum(ended(each.pod) for each in view.failed)
        + sum(earlier.failures + earlier.disruptions for earlier in view.earlier_pods.values()),
    )


def _eta(totals: Totals, pace: float | None) -> int | None:
    if not pace or not totals.shards or totals.shards_total is None:
        return None
    left = (totals.shards_total - totals.shards) * totals.records / totals.shards
    return round(min(left / pace, MAX_COUNT))


def _said(view: View) -> Iterator[tuple[int, Totals]]:
    """What each pod has counted, those that are gone included, by the number of its worker."""
    for pod in view.all_pods:
        yield worker_of(pod), _counts(_metrics_of(view, pod))
    for worker, report in view.observed.heard_before.items():
        yield worker, _counts(_metrics(report))


def _metrics_of(view: View, pod: PodRecord) -> Mapping[str, float]:
    """What a pod has counted: by its last report, or by its last words, since no operator may have listened before."""
    heard = view.observed.heard.get(pod.uid)
    reported = _metrics(heard.report) if heard is not None else {}
    said = outcome.said_in(pod.container(names.BATCH_CONTAINER).termination_message)
    if said is None or said.reason == REASON_PUBLISHED:
        return reported  # that one speaks for all workers
    last = {SHARDS_TOTAL: reported[SHARDS_TOTAL], **said.metrics} if SHARDS_TOTAL in reported else said.metrics
    return max(reported, last, key=lambda each: counted(each.get(SHARDS)) or 0)


def _metrics(report: ProgressReport) -> Mapping[str, float]:
    return report.metrics if isinstance(report.metrics, Mapping) else {}


def _counts(metrics: Mapping[str, float]) -> Totals:
    """The numbers of a report, which may be anything."""
    records, errors, shards = (counted(metrics.get(name)) or 0 for name in (RECORDS, ERRORS, SHARDS))
    return Totals(records, errors, shards, counted(metrics.get(SHARDS_TOTAL)))


def _reach(counts: Totals) -> tuple[int, int, int]:
    return counts.reach


def _of_status(known: PredictionProgress | None) -> Totals:
    return Totals() if known is None else Totals(known.records, known.errors, known.shards.done, known.shards.total)


def _sum(counts: Iterable[int]) -> int:
    return min(sum(counts), MAX_COUNT)
