"""What the agent reports to the operator while training goes on: the trainer's last progress line, the last checkpoint."""

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import urllib3
from fovea_api.contract.evaluation import Best
from fovea_api.contract.metrics import chosen
from fovea_api.contract.progress import Progress
from fovea_api.contract.report import (
    PROGRESS_PATH,
    REPORT_AT_LEAST_EVERY,
    REPORT_TOKEN_FILE,
    ProgressAnswer,
    ProgressReport,
    Termination,
)

from fovea_agent import log
from fovea_agent.errors import Vanished, VolumeProblem
from fovea_agent.folder import Folder
from fovea_agent.settings import REPORT_INTERVAL

TAIL = 64 * 1024
CONNECT, READ = 3.0, 5.0
LAST_POST = 2.0
"""Seconds to wait for the operator: to connect, for its answer, and for either when the grace period is over."""


def last_progress(tail: bytes) -> Progress | None:
    """The last complete line that is a progress line; a line that is still being written has no newline yet."""
    *lines, _unfinished = tail.split(b"\n")
    for line in reversed(lines):
        if not line.strip():
            continue
        try:
            return Progress.from_json(line.decode())
        except ValueError:
            continue  # any program may write here; the line before it still holds
    return None


@dataclass(frozen=True)
class Checkpointed:
    """The checkpoint that was published last; `time` is RFC 3339."""

    step: int
    digest: str
    time: str


def build_report(
    progress: Progress | None,
    checkpoint: Checkpointed | None,
    unreachable_since: datetime | None = None,
    *,
    publishing: bool = False,
    last_words: str = "",
    left_out: str = "",
    best: Best | None = None,
) -> ProgressReport:
    """Put it all together."""
    built = ProgressReport(publishing=publishing, last_words=last_words, left_out=left_out)
    if unreachable_since is not None:
        built = replace(built, store_unreachable_since=f"{unreachable_since:%Y-%m-%dT%H:%M:%SZ}")
    if best is not None:
        built = replace(built, best_step=best.step, best_metric=best.metric, best_value=best.value)
    if progress is not None:
        kept = chosen({name: value for name, value in progress.metrics.items() if math.isfinite(value)})
        built = replace(
            built,
            step=progress.step,
            steps=progress.steps,
            epoch=progress.epoch,
            epochs=progress.epochs,
            metrics=kept,
            metrics_left_out=len(progress.metrics) - len(kept),
        )
    if checkpoint is not None:
        built = replace(
            built,
            checkpoint_step=checkpoint.step,
            checkpoint_digest=checkpoint.digest,
            checkpoint_time=checkpoint.time,
        )
    return built


class Reporter:
    """Posts a report when it changed, at most every `interval` seconds, on a thread of its own.

    At least every `at_least_every` seconds it is posted anyway, for the answer: that may say that the program has ended.
    A report that cannot be posted is logged once per streak and never stops anything: the next one says it all again.
    """

    def __init__(
        self,
        url: str,
        token_directory: Path,
        volume: Path,
        progress_file: str,
        *,
        interval: float = REPORT_INTERVAL,
        at_least_every: float = REPORT_AT_LEAST_EVERY,
        unreachable_since: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """`unreachable_since` tells since when (UTC) the object store does not answer, None while it does."""
        self.left_out: Callable[[], str] = lambda: ""
        self.program_ended: Callable[[], object] = lambda: None
        """Called at every answer that says so."""
        self.best: Best | None = None
        """The best checkpoint by an evaluator's word."""
        self._url = url.rstrip("/") + PROGRESS_PATH if url else ""
        self._token = token_directory / REPORT_TOKEN_FILE
        directory, _, self._file = progress_file.rpartition("/")
        self._folder = Folder(volume, directory)
        self._interval, self._at_least_every = interval, at_least_every
        self._unreachable_since = unreachable_since
        self._http = urllib3.PoolManager(retries=False)
        self._timeout = urllib3.Timeout(connect=CONNECT, read=READ)
        self._checkpoint: Checkpointed | None = None
        self._publishing = False
        self._last_words = ""
        self._posted, self._posted_at = ProgressReport(), time.monotonic()
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="report", daemon=True)

    def checkpointed(self, checkpoint: Checkpointed) -> None:
        """Remember the checkpoint that was published last."""
        self._checkpoint = checkpoint

    def publishing(self) -> None:
        """Remember that the program has ended. The kubelet says so only when the whole pod has."""
        self._publishing = True

    def over(self, termination: Termination) -> None:
        """Remember that nothing is left to publish, and the report on it."""
        self._last_words = termination.to_json()

    def start(self) -> None:
        """Begin, when there is somebody to report to."""
        if self._url:
            self._thread.start()

    def stop(self, within: float | None = None) -> None:
        """Post what is new and end; with few seconds left only if it takes no longer than a moment."""
        if not self._url:
            return
        self._stop.set()
        most = None if within is None else max(LAST_POST, within)
        self._thread.join(most)
        if self._thread.is_alive():
            log.warning("the last progress is not reported: the report before it takes too long", url=self._url)
            return
        if most is not None:
            self._timeout = urllib3.Timeout(connect=min(CONNECT, most), read=min(READ, most))
        self.post_if_changed()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval):
            self.post_if_changed()

    def current(self) -> ProgressReport:
        """All there is to report now. Progress that cannot be read is left out and named."""
        left_out = self.left_out()
        try:
            progress = self._read_progress()
        except (OSError, VolumeProblem) as error:
            progress = None
            left_out = "; ".join(filter(None, (left_out, f"the progress ({error})")))
        return build_report(
            progress,
            self._checkpoint,
            self._unreachable_since(),
            publishing=self._publishing,
            last_words=self._last_words,
            left_out=left_out,
            best=self.best,
        )

    def step(self) -> int | None:
        """The step that the program said last, None when it said none that can be read."""
        try:
            progress = self._read_progress()
        except (OSError, VolumeProblem):
            return None
        return progress.step if progress is not None else None

    def post_if_changed(self) -> None:
        """Post the present report unless it was posted already, not long ago."""
        try:
            current = self.current()
            if current == self._posted and time.monotonic() < self._posted_at + self._at_least_every:
                return
            answer = self._post(current)
        except (OSError, urllib3.exceptions.HTTPError, VolumeProblem) as error:
            if not self._failing:
                log.warning("progress report failed; further failures are not logged", url=self._url, error=str(error))
            self._failing = True
            return
        if self._failing:
            log.info("progress reports are accepted again", url=self._url)
        self._failing, self._posted, self._posted_at = False, current, time.monotonic()
        if answer.program_ended:
            self.program_ended()

    def _post(self, current: ProgressReport) -> ProgressAnswer:
        token = self._token.read_text().strip()  # every time: it is renewed in place
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        # No redirect is followed: the token is for this address alone.
        answer = self._http.request(
            "POST", self._url, body=current.to_json(), headers=headers, redirect=False, timeout=self._timeout
        )
        if answer.status >= 300:
            raise urllib3.exceptions.HTTPError(f"status {answer.status}: {answer.data[:200].decode(errors='replace')}")
        return ProgressAnswer.from_json(answer.data.decode(errors="replace"))

    def _read_progress(self) -> Progress | None:
        try:
            with self._folder.open(self._file) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL))
                return last_progress(file.read())
        except Vanished:
            return None
