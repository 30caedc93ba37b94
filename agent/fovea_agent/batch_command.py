"""The life of `fovea-agent batch`: its signals, its reports, and what it leaves for the program beside it.

It imports what it needs once it handles signals (see `main`).
"""

import argparse
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fovea_api.contract import batch, exit_codes
from fovea_api.contract.plan import BatchPlan
from fovea_api.contract.report import REPORT_TOKEN_FILE, Termination

from fovea_agent import log
from fovea_agent.ending import GRACE_MARGIN
from fovea_agent.errors import AgentError, Misconfigured
from fovea_agent.outcome import Result, outcome
from fovea_agent.settings import WorkVolume, read_plan

if TYPE_CHECKING:
    from fovea_agent.report import Reporter
    from fovea_agent.store import Store

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass
class End:
    """The end of the pod. Before all is said it ends the agent, once the answers on the volume are published.

    The program has ended by then: a native sidecar gets SIGTERM after it. What it has not answered is answered by the next pod.
    """

    publish: Callable[[], None] = lambda: None
    """Publishes the answers; called from another thread."""
    grace: float = batch.GRACE_SECONDS - GRACE_MARGIN
    concluded: threading.Event = field(default_factory=threading.Event)
    pod_ends: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """Block the signals in every thread, and wait for them on one: a handler could interrupt a thread that holds a lock."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def _wait(self) -> None:
        number = signal.sigwait(SIGNALS)
        if not self.concluded.is_set():
            self._publish(128 + number)
        if not self.concluded.is_set():
            os._exit(128 + number)
        self.pod_ends.set()

    def _publish(self, code: int) -> None:
        # The store may be away, or slow: whatever it does, this takes no longer than the pod has.
        late = threading.Timer(self.grace, os._exit, [code])
        late.daemon = True
        late.start()
        try:
            self.publish()
        except (AgentError, OSError) as error:
            log.warning("answers are not published: the next pod makes them again", error=str(error))
        except Exception:  # noqa: BLE001 - a defect must not keep the agent from ending
            log.error("defect", with_traceback=True)
        late.cancel()


@dataclass(frozen=True)
class Command:
    """One run; `tell` leaves the termination message."""

    options: argparse.Namespace
    variables: Mapping[str, str]
    store: Callable[[str], "Store"]
    tell: Callable[[Termination], None]

    def run(self) -> Result:
        """Bring and publish, say how that ended, and stay: a container of this kind that ends before the program is started again."""
        end = End()
        end.listen()
        reporters: list[Reporter] = []
        work = WorkVolume(self.options.work, self.options.work)
        termination, code = outcome(lambda: self._work(work, reporters, end))
        self.tell(termination)
        end.concluded.set()
        _leave(work.root, termination, code)
        for reporter in reporters:
            reporter.over(termination)
        log.info("all is said: waiting for the end of the pod", reason=termination.reason, exit_code=code)
        end.pod_ends.wait()
        for reporter in reporters:
            reporter.stop(0.0)
        return termination, code

    def _work(self, work: WorkVolume, reporters: "list[Reporter]", end: End) -> Result:
        from fovea_agent.batch import PROGRESS_FILE, Batch, staging
        from fovea_agent.own_account import uid_of_account
        from fovea_agent.report import Reporter

        plan = read_plan(BatchPlan.from_json, self.variables)
        store = self.store(plan.namespace)
        reporter = Reporter(
            plan.report_url,
            self.options.report_token,
            work.root,
            str((staging(work) / PROGRESS_FILE).relative_to(work.root)),
            interval=self.options.report_interval,
            at_least_every=self.options.report_at_least_every,
            unreachable_since=lambda: store.patience.unreachable_since,
        )
        reporters.append(reporter)
        reporter.start()
        account = uid_of_account(self.options.report_token / REPORT_TOKEN_FILE)
        made = Batch(plan, self._index(), store, work, self.options.transfers, self.options.poll, account)
        end.publish = made.publish_last
        return made.run(), exit_codes.OK

    def _index(self) -> int:
        text = self.variables.get(batch.INDEX, "")
        if not text.isdecimal():
            raise Misconfigured(
                f"the environment variable {batch.INDEX} is {text!r}, not the number of a pod: an Indexed Job fills it in"
            )
        return int(text)


def _leave(root: Path, termination: Termination, code: int) -> None:
    """The marker by which the program ends. Whole, since it appears by rename."""
    name, text = batch.DONE, ""
    if code != exit_codes.OK:
        name, text = batch.STOPPED, json.dumps(json.loads(termination.to_json()) | {"exit_code": code})
    try:
        unfinished = root / f".{name}"
        unfinished.write_text(text)
        unfinished.rename(root / name)
    except OSError as error:
        log.error("the program cannot be ended: the volume cannot be written to", path=root / name, error=str(error))
