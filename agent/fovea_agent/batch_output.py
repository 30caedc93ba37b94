"""The output of a batch prediction, made of the answers to its shards: a file for each shard, or one submission for Kaggle.

What it holds follows from the answers alone. So two pods that compose it at once write the same, and one that died is
followed by another.
"""

import csv
import hashlib
import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

from fovea_api.contract import batch, storage
from fovea_api.contract.entries import Entries, Entry
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import BatchPlan
from fovea_api.contract.report import REASON_OUTPUT_TAKEN, Published

from fovea_agent import log
from fovea_agent.batch_answers import Answer, read_answers
from fovea_agent.batch_claim import Claim
from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import Conflict, Misconfigured
from fovea_agent.folder import Folder, Window
from fovea_agent.parallel import run_each
from fovea_agent.publish import Publication, describe, write_manifest
from fovea_agent.sending import Sending
from fovea_agent.shortcuts import COPYING
from fovea_agent.store import Store

PAGE = 256
"""Small files on the disk at once while they are joined."""


@dataclass(frozen=True)
class Written:
    """A file that is ready to be sent."""

    path: Path
    size: int
    sha256: str
    md5: bytes


@dataclass(frozen=True)
class Output:
    """Where the output goes, and how. `staging` is a folder on the pod's volume; `prediction` the prefix of the answers.

    `account`: uid of the pod's service account, for the claim.
    """

    plan: BatchPlan
    sending: Sending
    prediction: str
    staging: Path
    account: str = ""

    @property
    def location(self) -> storage.Location:
        """Its place; raises Misconfigured."""
        try:
            location = storage.Location.parse(self.plan.output_uri)
        except ValueError as error:
            raise Misconfigured(f"the output {self.plan.output_uri!r}: {error}; correct spec.output.uri") from error
        if not location.key:
            raise Misconfigured(
                f"the output {self.plan.output_uri} is a whole bucket: name a folder in it, in spec.output.uri"
            )
        return location

    @property
    def store(self) -> Store:
        """Of the output's bucket; raises Misconfigured."""
        try:
            return self.sending.store.at(self.location.bucket)
        except ValueError as error:
            raise Misconfigured(f"the output {self.plan.output_uri!r}: {error}; correct spec.output.uri") from error

    @cached_property
    def claim(self) -> Claim:
        """The claim to the place; raises Misconfigured."""
        return Claim(self.plan, self.store, self.location.key, self.account)

    # -- before anything is answered --------------------------------------------------------------------------------

    def occupy(self) -> None:
        """Let no other prediction write to the place, which has no output yet. Raises Misconfigured when it has one, or is another's."""
        self.refuse_files()
        self.claim.hold()
        try:
            self.refuse_files()  # the one before may have published, and removed its claim, between the two
        except Misconfigured:
            self.claim.release()
            raise

    def refuse_files(self) -> None:
        """Raise Misconfigured when the place has files with the names of an output, before this prediction has begun."""
        store, key = self.store, self.location.key
        names = [storage.MANIFEST, batch.SUBMISSION, batch.ERRORS]
        found = next((name for name in names if store.find(f"{key}/{name}") is not None), None)
        if found is None:
            part = next(iter(store.listing(f"{key}/part-")), None)
            found = part.key.removeprefix(f"{key}/") if part is not None else None
        if found is not None:
            raise self.taken(f"has a file {found} already")

    def is_published(self) -> bool:
        """Whether there is an output at the place, of whatever."""
        return self.store.find(storage.manifest(self.location.key)) is not None

    def taken(self, what: str) -> Misconfigured:
        """Say that the place is another output's."""
        return Misconfigured(
            f"the place of the output, {self.plan.output_uri}, {what}: name an empty folder in spec.output.uri, or remove what is "
            "there",
            reason=REASON_OUTPUT_TAKEN,
        )

    # -- once all is answered ---------------------------------------------------------------------------------------

    def compose(self, count: int) -> tuple[Published, dict[str, float]]:
        """Write the output of `count` shards; returns what was published and the totals. Raises AgentError."""
        answers = read_answers(self.sending.store, self.prediction, range(count), self.sending.transfers)
        self.staging.mkdir(parents=True, exist_ok=True)
        made = {}
        if any(answer.errors for answer in answers):
            made[batch.ERRORS] = self._joined(batch.ERRORS, self._errors(answers))
        if self.plan.output_format == batch.KAGGLE:
            made[batch.SUBMISSION] = self._joined(batch.SUBMISSION, self._submission(answers))
            parts: dict[str, Answer] = {}
        else:
            parts = {batch.part(answer.number, count, self.plan.output_format): answer for answer in answers}
        entries = [Entry(name, name, one.size, one.sha256) for name, one in made.items()]
        entries += [Entry(n, n, a.predictions.size, a.predictions.sha256) for n, a in parts.items()]
        manifest = Manifest(1, Entries(sorted(entries, key=lambda entry: entry.path)), complete=True)
        self._write(made, parts, manifest)
        totals = {
            "records": float(sum(answer.summary.records for answer in answers)),
            "errors": float(sum(answer.summary.errors for answer in answers)),
            "shards": float(count),
        }
        return describe(self.store, self.location.key, manifest), totals

    def _write(self, made: dict[str, Written], parts: dict[str, Answer], manifest: Manifest) -> None:
        store, prefix = self.store, self.location.key
        publication = Publication(prefix, "", 1)
        try:
            if not self.is_published():
                self.claim.hold()
                there = {item.key: item.etag for item in store.listing(f"{prefix}/")}
                for name, one in made.items():
                    self._put(f"{prefix}/{name}", one)
                tasks = (partial(self._bring, f"{prefix}/{n}", answer, there) for n, answer in parts.items())
                run_each(tasks, self.sending.transfers)
            if not self.is_published():
                self.claim.hold()
            write_manifest(store, publication, manifest)
        except Conflict as error:
            raise self.taken(f"has another publication ({error.message})") from error
        self.claim.release()
        log.info("the output is published", prefix=prefix, digest=manifest.digest, files=len(manifest.entries))

    def _bring(self, key: str, answer: Answer, there: dict[str, str]) -> None:
        """Let the predictions of a shard be an object of the output: a copy within the store, where it can make one."""
        self.claim.renew()
        answers, output = self.sending.store, self.store
        source = f"{answer.prefix}/{answer.predictions.key}"
        found = answers.find(source)
        etag = found.etag if found is not None else ""
        if etag and there.get(key) == etag:
            return  # from a pod that died here
        # An ETag with a dash is of an object in parts, of which a copy has another one.
        if etag and "-" not in etag and answers.bucket == output.bucket:
            copied = self.sending.shortcuts.take(COPYING, output.patience, lambda: output.copy(source, etag, key))
            if copied is not None:
                return
        wanted = Wanted(source, str(answer.number), answer.predictions.size, sha256=answer.predictions.sha256)
        run_each(downloads(answers, [wanted], self.staging, self.staging, durable=False), 1)
        written = _written(self.staging / wanted.path)
        self._put(key, written)
        written.path.unlink()

    def _put(self, key: str, file: Written) -> None:
        folder = Folder(self.staging.parent, self.staging.name)
        self.store.put(key, partial(Window, folder, file.path.name, 0, file.size), file.size, file.md5)

    def _joined(self, name: str, chunks: Iterator[bytes]) -> Written:
        path = self.staging / name
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        return _written(path)

    def _files(self, entries: Sequence[tuple[str, Entry]]) -> Iterator[bytes]:
        """The contents of small objects, in order: a few of them are fetched at once."""
        for first in range(0, len(entries), PAGE):
            some = list(enumerate(entries[first : first + PAGE]))
            wanted = [
                Wanted(f"{prefix}/{entry.key}", f"joined/{number}", entry.size, sha256=entry.sha256)
                for number, (prefix, entry) in some
            ]
            run_each(
                downloads(self.sending.store, wanted, self.staging, self.staging, durable=False), self.sending.transfers
            )
            for one in wanted:
                file = self.staging / one.path
                yield file.read_bytes()
                file.unlink()

    def _errors(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        return self._files([(answer.prefix, answer.errors) for answer in answers if answer.errors is not None])

    def _submission(self, answers: Sequence[Answer]) -> Iterator[bytes]:
        """Lines in the order of their ids: by number where all are numbers, else as texts. The lines wait on the disk."""
        numbers, offsets, ids = array("Q"), array("Q", [0]), []
        numbered = True
        spool = self.staging / "lines"
        with spool.open("w+b") as file:
            for content in self._files([(answer.prefix, answer.predictions) for answer in answers]):
                for row in csv.reader(io.StringIO(content.decode(), newline="")):
                    line = _csv_line(row)
                    file.write(line)
                    offsets.append(offsets[-1] + len(line))
                    ids.append(row[0])
                    numbered = numbered and _is_number(row[0])
            if numbered:
                numbers.extend(map(int, ids))
                ids.clear()
            order = sorted(range(len(offsets) - 1), key=numbers.__getitem__ if numbered else ids.__getitem__)
            yield _csv_line(batch.KAGGLE_COLUMNS)
            yield from _lines(file, offsets, order)
        spool.unlink()


def _lines(file: BinaryIO, offsets: Sequence[int], order: Sequence[int]) -> Iterator[bytes]:
    for place in order:
        file.seek(offsets[place])
        yield file.read(offsets[place + 1] - offsets[place])


def _csv_line(row: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _written(path: Path) -> Written:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return Written(path, size, sha256.hexdigest(), md5.digest())
