"""Shards that appear in the working volume, and the answers to them that are left there (`fovea_api.contract.batch`)."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fovea_api.contract import batch, exit_codes
from fovea_api.contract.batch import Shard, Summary

from fovea_serving.batch import records
from fovea_serving.batch.answering import Answer, Answering
from fovea_serving.batch.entries import Writer
from fovea_serving.batch.inputs import ToRows
from fovea_serving.batch.records import Record
from fovea_serving.batch.sizes import size_of
from fovea_serving.protocol.errors import ServingError, invalid_argument
from fovea_serving.protocol.signatures import Signature

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
MOST_BYTES: Final = 64 << 20
"""Of the records of one run."""
FIRST_ERRORS: Final = 3
LONGEST_REASON: Final = 2000
"""Characters: the runtime may quote a whole record."""


@dataclass(frozen=True)
class Model:
    """The model, and how it is asked. `runners`: runs at once."""

    answering: Answering
    signature: Signature
    to_rows: ToRows
    batch_size: int
    runners: int


@dataclass
class Volume:
    """The working volume, with the formats of what is there."""

    work: Path
    input_format: str
    output_format: str
    model: Model
    poll: float = POLL_SECONDS
    _waits: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        """Answer shards until the agent says that all is done, or why it is not; the exit code. Raises DamagedShardError."""
        self._clear()
        with ThreadPoolExecutor(self.model.runners, thread_name_prefix="run") as pool:
            while True:
                code = self._ended()
                if code is not None:
                    pool.shutdown(cancel_futures=True)
                    return code
                number = min(self._numbers(batch.SHARDS), default=None)
                if number is None:
                    self._waits.wait(self.poll)
                else:
                    self._answer(number, pool)

    def _clear(self) -> None:
        """Remove what a run of this program before this one has not finished."""
        for name in (batch.SHARDS, batch.ANSWERS):
            folder = self.work / name
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".*"):
                shutil.rmtree(left)

    def _ended(self) -> int | None:
        stopped = self.work / batch.STOPPED
        if stopped.exists():
            said = json.loads(stopped.read_text())
            log.error("The agent cannot go on: %s: %s", said.get("reason"), said.get("message"))
            return int(said.get("exit_code", exit_codes.INTERNAL))
        if (self.work / batch.DONE).exists():
            log.info("All is answered and published")
            return exit_codes.OK
        return None

    def _numbers(self, name: str) -> set[int]:
        return {int(entry.name) for entry in (self.work / name).iterdir() if entry.name.isdecimal()}

    def _answer(self, number: int, pool: ThreadPoolExecutor) -> None:
        folder, target = self.work / batch.SHARDS / str(number), self.work / batch.ANSWERS / str(number)
        if not target.exists():
            unfinished = target.with_name(f".{number}")
            try:
                self._make(folder, unfinished, pool)
            except FileNotFoundError:
                if folder.exists():
                    raise
                # The agent took the shard back: its answer is published already.
                shutil.rmtree(unfinished, ignore_errors=True)
                return
            unfinished.rename(target)
        removed = folder.with_name(f".{number}")
        with suppress(FileNotFoundError):
            folder.rename(removed)
            shutil.rmtree(removed)

    def _make(self, folder: Path, target: Path, pool: ThreadPoolExecutor) -> None:
        started = time.monotonic()
        shard = Shard.from_json((folder / batch.SHARD_FILE).read_text())
        target.mkdir()
        summary = self._write(folder, shard, target, pool)
        (target / batch.SUMMARY_FILE).write_text(summary.to_json())
        target.chmod(0o2777)  # the agent removes it, and may run as another user
        seconds = time.monotonic() - started
        log.info(
            "Shard %d of %d: %d records (%d errors) in %.2f s, %.1f records/s",
            shard.number, shard.of, summary.records, summary.errors, seconds, summary.records / max(seconds, 1e-6),
        )  # fmt: skip

    def _write(self, folder: Path, shard: Shard, target: Path, pool: ThreadPoolExecutor) -> Summary:
        found = records.of_shard(folder, shard, self.input_format)
        total, errors = 0, 0
        first: list[str] = []
        errors_path = target / batch.ERRORS
        with (
            Writer(target / batch.PREDICTIONS, self.output_format, self.model.signature) as writer,
            errors_path.open("w", encoding="utf-8") as problems,
        ):
            for name, answer in answers(self.model, found, pool):
                total += 1
                try:
                    if isinstance(answer, ServingError):
                        raise answer
                    writer.write(name, answer)
                except ServingError as error:
                    reason = error.message[:LONGEST_REASON]
                    problems.write(json.dumps({"record": name, "error": reason}, ensure_ascii=False) + "\n")
                    errors += 1
                    first += [f"{name}: {reason}"] if len(first) < FIRST_ERRORS else []
        if not errors:
            errors_path.unlink()
        return Summary(total, errors, tuple(first))


def answers(model: Model, found: Iterator[Record], pool: ThreadPoolExecutor) -> Iterator[tuple[str, Answer]]:
    """For each record its name and its answer, in order. A few batches are under way at once, and no more are in memory."""
    waiting: deque[tuple[list[str], Future[list[Answer]]]] = deque()
    for some in batches(found, model.batch_size):
        if len(waiting) > model.runners:
            names, future = waiting.popleft()
            yield from zip(names, future.result(), strict=True)
        waiting.append(([record.name for record in some], pool.submit(_answer_batch, model, some)))
    while waiting:
        names, future = waiting.popleft()
        yield from zip(names, future.result(), strict=True)


def batches(found: Iterator[Record], most: int) -> Iterator[list[Record]]:
    """Consecutive records, at most as many, and of no more than MOST_BYTES unless it is one."""
    gathered: list[Record] = []
    size = 0
    for record in found:
        length = size_of(record.content)
        if gathered and (len(gathered) >= most or size + length > MOST_BYTES):
            yield gathered
            gathered, size = [], 0
        gathered.append(record)
        size += length
    if gathered:
        yield gathered


def _answer_batch(model: Model, some: Sequence[Record]) -> list[Answer]:
    """Records that are no input of the model have their error, the others are answered together."""
    found: dict[int, Answer] = {}
    rows = []
    for place, record in enumerate(some):
        try:
            if record.problem:
                raise invalid_argument(record.problem)
            rows.append((place, model.to_rows(record)))
        except ServingError as error:
            found[place] = error
        except (ValueError, OverflowError) as error:  # of texts that UTF-8 cannot hold, and the like
            found[place] = invalid_argument(f"The record cannot be read: {error}")
    answered = model.answering.answer([each for _, each in rows])
    found |= {place: answer for (place, _), answer in zip(rows, answered, strict=True)}
    return [found[place] for place in range(len(some))]
