"""A pod's share of a batch prediction: `fovea-agent batch`, the native sidecar beside the program that has the model.

Of P pods number i brings the shards i, i + P, … to the working volume, two at a time, and publishes what the program answers
(`fovea_api.contract.batch`). The pod that finds all shards answered writes the output.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fovea_api.contract import batch, report, storage
from fovea_api.contract.batch import Shard
from fovea_api.contract.plan import BatchPlan
from fovea_api.contract.progress import Progress
from fovea_api.contract.report import Termination

from fovea_agent import log
from fovea_agent.batch_answers import Answer, is_answered, publish_answer, published_answers, read_answers
from fovea_agent.batch_output import Output
from fovea_agent.batch_plan import PlannedShards
from fovea_agent.batch_shards import Part
from fovea_agent.beneath import folder_beneath
from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import Changed, Corrupt, Misconfigured, Missing, Replaced
from fovea_agent.object_reader import append_range
from fovea_agent.parallel import run_each
from fovea_agent.restore import is_number
from fovea_agent.sending import Sending
from fovea_agent.settings import DEFAULT_TRANSFERS, WorkVolume
from fovea_agent.store import Store

AHEAD = 2
"""Shards on the volume that are not answered: one that the program works on, and the next."""
POLL = 0.2
"""Seconds between two looks for answers."""
PROGRESS_FILE = "progress.jsonl"
STAGING = "batch"


def staging(work: WorkVolume) -> Path:
    """The agent's own folder, on the volume on which shards appear by rename."""
    return work.staging / STAGING


@dataclass
class Tally:
    """What this pod's shards add up to, as far as they are answered."""

    shards: set[int] = field(default_factory=set)
    records: int = 0
    errors: int = 0

    def count(self, answer: Answer) -> None:
        """One more, if it was not counted before."""
        if answer.number not in self.shards:
            self.shards.add(answer.number)
            self.records += answer.summary.records
            self.errors += answer.summary.errors

    def metrics(self) -> dict[str, float]:
        """For reports."""
        return {"records": float(self.records), "errors": float(self.errors), "shards": float(len(self.shards))}


@dataclass
class Batch:
    """One run of `batch`, of the pod with the number `index`."""

    plan: BatchPlan
    index: int
    store: Store
    work: WorkVolume
    transfers: int = DEFAULT_TRANSFERS
    poll: float = POLL
    account: str = ""
    """Uid of the pod's service account; empty: unknown."""
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.prediction = storage.batch(self.plan.namespace, self.plan.name, self.plan.uid)
        self.sending = Sending(self.store, transfers=self.transfers)
        self.staging = staging(self.work)
        self.output = Output(self.plan, self.sending, self.prediction, self.staging / "output", self.account)
        self.planned = self._planned()
        self.count = 0
        self._turn = threading.RLock()
        """For the answers on the volume, and what is counted of them."""
        self._is_answering = False

    def _planned(self) -> PlannedShards:
        try:
            location = storage.Location.parse(self.plan.input_uri)
            source = self.store.at(location.bucket)
        except ValueError as error:
            raise Misconfigured(f"the input {self.plan.input_uri!r}: {error}; correct spec.input.uri") from error
        return PlannedShards(self.plan, self.store, self.prediction, source, location, self.staging)

    def run(self) -> Termination:
        """Bring, publish, and in the end compose; returns what to say. Raises AgentError."""
        self._prepare()
        self._check_formats()
        self._pin()
        # In this order: another pod may publish the last answer and the output at any time.
        published_before = self.output.is_published()
        answered = published_answers(self.store, self.prediction)
        if published_before and len(answered) < self.count:
            raise self.output.taken("has another publication")
        if not published_before:
            self.output.claim.hold()
        self._answer_own(answered)
        missing = self.count - len(published_answers(self.store, self.prediction))
        if missing:
            return Termination(
                report.REASON_NOTHING_TO_PUBLISH,
                f"the shards of this pod are answered; {missing} of {self.count} are with other pods, the last of which "
                "writes the output",
                metrics=self.tally.metrics(),
            )
        published, totals = self.output.compose(self.count)
        records, errors = int(totals["records"]), int(totals["errors"])
        without = f", {errors} of them with an error instead of an answer" if errors else ""
        return Termination(
            report.REASON_PUBLISHED,
            f"{records} records are answered{without}; the output is {published.uri}",
            output=published,
            metrics=totals,
            complete=True,
        )

    # -- the beginning ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        os.umask(0o002)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.staging)  # of an earlier run of this container
        self.staging.mkdir(parents=True)
        for name in (batch.SHARDS, batch.ANSWERS):
            with folder_beneath(self.work.root, name, make=True) as folder, suppress(PermissionError):
                os.fchmod(folder, 0o2777)  # the program may run as another user
        for marker in (batch.DONE, batch.STOPPED):
            (self.work.root / marker).unlink(missing_ok=True)

    def _check_formats(self) -> None:
        for name, given, known in (
            ("input", self.plan.input_format, batch.INPUT_FORMATS),
            ("output", self.plan.output_format, batch.OUTPUT_FORMATS),
        ):
            if given not in known:
                raise Misconfigured(f"spec.{name}.format is {given!r}: it is one of {', '.join(known)}")
        if self.plan.output_format == batch.KAGGLE and self.plan.input_format != batch.IMAGES:
            raise Misconfigured(
                f"a submission for Kaggle has a line for each picture, but spec.input.format is {self.plan.input_format}: "
                "choose another spec.output.format"
            )

    def _pin(self) -> None:
        """Go by the list of shards that is published; publish it where there is none."""
        while not self.planned.fetch():
            try:
                self.output.occupy()
            except Misconfigured:
                if self.planned.fetch():
                    break  # another pod has begun meanwhile: the files are of this prediction
                raise
            self.planned.make()
        self.count = sum(1 for _ in self.planned.read())
        log.info("shards of this pod", index=self.index, workers=self.plan.workers, shards=self.count)

    # -- the shards -------------------------------------------------------------------------------------------------

    def _answer_own(self, answered: set[int]) -> None:
        """Until each shard of this pod has its answer in the store."""
        own = range(self.index, self.count, self.plan.workers)
        for answer in read_answers(self.store, self.prediction, sorted(answered.intersection(own)), self.transfers):
            self.tally.count(answer)
        self._report()
        self._drop_foreign(set(own) - answered)
        self._is_answering = True
        waiting = self._waiting()
        more = True
        while True:
            self.output.claim.renew()
            self._publish_answers()
            here = self._numbers(batch.SHARDS)
            if more and len(here) < AHEAD:
                number, part = next(waiting, (-1, None))
                more = part is not None
                if part is not None and number not in here:
                    self._bring(number, part)
                continue
            if not more and len(self.tally.shards) == len(own):
                return
            threading.Event().wait(self.poll)

    def _waiting(self) -> Iterator[tuple[int, Part]]:
        """The shards of this pod that have no answer. Another pod of the same number may have been faster: each is asked for."""
        for number, part in enumerate(self.planned.read()):
            if number % self.plan.workers != self.index or number in self.tally.shards:
                continue
            if number in self._numbers(batch.ANSWERS):
                continue  # of an earlier run of this container: it is published in its turn
            if is_answered(self.store, self.prediction, number):
                self._count(number)
                continue
            yield number, part

    def _drop_foreign(self, wanted: set[int]) -> None:
        """Remove what an earlier run left on the volume of shards that are answered by now."""
        for name in (batch.SHARDS, batch.ANSWERS):
            for number in self._numbers(name) - wanted:
                self._remove(name, number)

    def publish_last(self) -> None:
        """Publish what the program has answered, before the pod ends. Raises AgentError.

        For a thread of its own: that of `run` may be waiting for a shard, and publishes nothing from now on.
        """
        self._turn.acquire()
        if self._is_answering:
            self._publish_answers()

    def _publish_answers(self) -> None:
        for number in sorted(self._numbers(batch.ANSWERS)):
            with self._turn:
                if number in self._numbers(batch.ANSWERS):
                    self._publish(number)

    def _publish(self, number: int) -> None:
        publish_answer(self.sending, self.work, self.prediction, number)
        # A program that died between its answer and the end of the shard would answer it again.
        self._remove(batch.SHARDS, number)
        self._remove(batch.ANSWERS, number)
        self._count(number)
        log.info("shard answered", shard=number, of=self.count, **self.tally.metrics())

    def _count(self, number: int) -> None:
        answer = Answer.read(self.store, self.prediction, number)
        with self._turn:
            self.tally.count(answer)
            self._report()

    def _numbers(self, name: str) -> set[int]:
        with folder_beneath(self.work.root, name) as folder:
            return {int(entry) for entry in os.listdir(folder) if is_number(entry)}  # noqa: PTH208 - of a descriptor

    def _remove(self, name: str, number: int) -> None:
        with folder_beneath(self.work.root, name) as folder, suppress(FileNotFoundError):
            # By rename first: the program never sees half of it.
            os.rename(str(number), self.staging / f"removed-{name}-{number}", src_dir_fd=folder)
            shutil.rmtree(self.staging / f"removed-{name}-{number}")

    def _bring(self, number: int, part: Part) -> None:
        """Let a shard appear on the volume, whole. Raises Replaced when its objects are no longer what was listed."""
        staged = self.staging / f"shard-{number}"
        records = staged / batch.RECORDS
        records.mkdir(parents=True)
        try:
            shard = self._pictures(number, part, records) if not part.end else self._range(number, part, records)
        except (Changed, Missing, Corrupt) as error:
            raise Replaced(
                f"the input is no longer what this prediction began with ({error.message}); all pods read the same data. "
                "Create another prediction for the data as it is now"
            ) from error
        (staged / batch.SHARD_FILE).write_text(shard.to_json())
        for made in (staged, records):
            made.chmod(0o2777)  # the program removes it, and may run as another user
        with folder_beneath(self.work.root, batch.SHARDS) as folder:
            os.rename(staged, str(number), dst_dir_fd=folder)

    def _pictures(self, number: int, part: Part, records: Path) -> Shard:
        files = [f"{place:06d}" for place in range(len(part.sources))]
        wanted = [
            Wanted(self.planned.key_of(one), file, one.size, etag=one.etag)
            for one, file in zip(part.sources, files, strict=True)
        ]
        tasks = downloads(self.planned.source, wanted, records, self.staging, durable=False)
        run_each(tasks, self.transfers)
        names = tuple(self._name(one.path) for one in part.sources)
        return Shard(number, self.count, tuple(files), names)

    def _range(self, number: int, part: Part, records: Path) -> Shard:
        (source,) = part.sources
        key, store = self.planned.key_of(source), self.planned.source
        with (records / "records").open("wb") as file:
            append_range(file, store, key, source.etag, 0, part.header)
            append_range(file, store, key, source.etag, part.start, part.end - part.start)
        name = self._name(source.path)
        return Shard(number, self.count, ("records",), (), name, part.start, part.header)

    def _name(self, path: str) -> str:
        return path or self.planned.location.key.rpartition("/")[2]

    def _report(self) -> None:
        """For the reporter, which reads it as it reads the progress of a trainer."""
        metrics = self.tally.metrics() | {"shards_total": float(self.count)}
        unfinished = self.staging / f"{PROGRESS_FILE}.new"
        unfinished.write_text(Progress(self.tally.records, metrics=metrics).to_json() + "\n")
        unfinished.rename(self.staging / PROGRESS_FILE)
