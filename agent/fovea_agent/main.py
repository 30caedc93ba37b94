"""The command line: `fovea-agent fetch | sync | fetch-model | batch | provision | check-store`.

A command imports what it needs once it handles signals: as process 1 of a container it would not be sent those that it
does not handle yet.
"""

import argparse
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from fovea_api.contract import exit_codes
from fovea_api.contract.plan import ModelPlan, TrainingPlan
from fovea_api.contract.report import Termination
from fovea_api.standard_output import until_nobody_reads

from fovea_agent import log
from fovea_agent.arguments import Run, parser
from fovea_agent.ending import grace_left, seconds_since
from fovea_agent.outcome import Result, outcome
from fovea_agent.settings import StoreAccess, WorkVolume, read_plan

if TYPE_CHECKING:
    from fovea_agent.report import Reporter
    from fovea_agent.store import Store
    from fovea_agent.sync import Sync


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns its exit code."""
    return until_nobody_reads(lambda: _run(parser(RUNS).parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    log.configure(options.log_level)
    run: Callable[[argparse.Namespace], Result] = options.run
    termination, code = outcome(lambda: run(options))
    say = log.info if code in (exit_codes.OK, exit_codes.ALREADY_COMPLETE) else log.error
    say("ended", reason=termination.reason, message=termination.message, exit_code=code)
    if options.termination_log:
        _leave(termination, Path(options.termination_log))
    return code


def _leave(termination: Termination, file: Path) -> None:
    text = termination.to_json()
    said = Termination.from_json(text)
    left_out = termination.metrics.keys() - (said.metrics.keys() if said is not None else ())
    if left_out:
        log.warning("more metrics than a termination message holds: left out", metrics=sorted(left_out))
    try:
        file.write_text(text)
    except OSError as error:
        log.error("termination message not written", path=file, error=str(error))


def _fetch(options: argparse.Namespace) -> Result:
    _exit_at_sigterm()
    from fovea_agent.fetch import Fetch

    plan = read_plan(TrainingPlan.from_json, os.environ)
    return Fetch(
        plan,
        _store(options, options.patience, plan.namespace),
        WorkVolume(options.work, options.state),
        options.transfers,
    ).run()


def _sync(options: argparse.Namespace) -> Result:
    # Blocked in every thread and waited for by one: a handler could interrupt the main thread while it holds a lock.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    work = WorkVolume(options.work, options.state)
    work.agent.mkdir(parents=True, exist_ok=True)
    # The hook runs, too, when only this container is ended: what an earlier run of it left does not time this pod's end.
    work.end_began.unlink(missing_ok=True)
    if not options.fetch:
        work.sync_ready.touch()
    begun = _hear_the_end(signals, work, options.grace_period)
    plan = read_plan(TrainingPlan.from_json, os.environ)
    os.umask(0o002)
    # A sidecar that is started again while the program runs has fetched before.
    fetches = not work.sync_ready.exists()
    # While training goes on there is no reason to give up: it would only lose checkpoints.
    store = _store(options, options.patience if fetches else None, plan.namespace)
    reporter = _reporter(options, plan, store, work)
    reporter.start()
    if fetches:
        ended, code = _fetch_first(options, plan, store, work)
        if code != exit_codes.OK:
            return ended, code
    from fovea_agent.program_log import ProgramLog
    from fovea_agent.streams import Streams
    from fovea_agent.sync import Sync

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # checkpoints on their way are held open

    def tell(termination: Termination) -> None:
        if options.termination_log:
            _leave(termination, Path(options.termination_log))

    sync = Sync(
        plan, store, work, reporter, options.poll, options.transfers, tell, options.settle, options.grace_period
    )
    sync.streams = Streams(plan, store, work, options.transfers)
    sync.streams.start()
    if plan.report_url:
        sync.program_log = ProgramLog(plan.report_url, options.report_token)
    reporter.program_ended = lambda: sync.told(grace_left(options.grace_period, 0))
    begun.put(sync)
    return sync.run(), exit_codes.OK


def _hear_the_end(signals: Collection[signal.Signals], work: WorkVolume, grace: float) -> "SimpleQueue[Sync]":
    """Wait for a signal on a thread; what is put into the queue returned hears of it."""
    begun: SimpleQueue[Sync] = SimpleQueue()

    def wait() -> None:
        signal.sigwait(signals)
        if not (work.sync_ready.exists() or work.is_used()):  # the program has not started: there is nothing to publish
            os._exit(128 + signal.SIGTERM)
        begun.get().trainer_ended(grace_left(grace, seconds_since(work.end_began)))

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return begun


def _fetch_first(options: argparse.Namespace, plan: TrainingPlan, store: "Store", work: WorkVolume) -> Result:
    """The part of `fetch` in a pod that has no container for it; only when all is in place the program may start."""
    from fovea_agent.fetch import Fetch

    termination, code = Fetch(plan, store, work, options.transfers).run()
    if code == exit_codes.OK:
        log.info("fetched", message=termination.message)
        store.patience.without_limit()
        work.sync_ready.touch()
    return termination, code


def _reporter(options: argparse.Namespace, plan: TrainingPlan, store: "Store", work: WorkVolume) -> "Reporter":
    from fovea_agent.report import Reporter

    return Reporter(
        plan.report_url,
        options.report_token,
        work.root,
        work.progress,
        interval=options.report_interval,
        at_least_every=options.report_at_least_every,
        unreachable_since=lambda: store.patience.unreachable_since,
    )


def _fetch_model(options: argparse.Namespace) -> Result:
    _exit_at_sigterm()
    from fovea_agent.fetch_model import fetch_model

    plan = read_plan(ModelPlan.from_json, os.environ)
    fetched = fetch_model(plan, _store(options, options.patience, plan.namespace), options.transfers)
    if options.stay:
        _stay()
    return fetched, exit_codes.OK


def _stay() -> NoReturn:
    """Wait for SIGTERM as a program of a few megabytes: a sidecar that ends is started again."""
    # Blocked, it is kept for the program that follows: process 1 of a container loses one for which it has no handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    wait = f"import signal; signal.sigwait({{{signal.SIGTERM:d}}})"
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", wait])  # noqa: S606 - this very program


def _batch(options: argparse.Namespace) -> Result:
    from fovea_agent.batch_command import Command

    def tell(termination: Termination) -> None:
        if options.termination_log:
            _leave(termination, Path(options.termination_log))

    # While the program works there is no reason to give up: it would only lose its start.
    return Command(options, os.environ, lambda namespace: _store(options, None, namespace), tell).run()


def _provision(options: argparse.Namespace) -> Result:
    _exit_at_sigterm()
    from fovea_agent.provision import provision_from_command_line

    return provision_from_command_line(options, os.environ), exit_codes.OK


def _check_store(options: argparse.Namespace) -> Result:
    _exit_at_sigterm()
    from fovea_agent.check_store import check_from_command_line

    return check_from_command_line(options, os.environ), exit_codes.OK


def _store(options: argparse.Namespace, patience: float | None, namespace: str) -> "Store":
    from fovea_agent.patience import Patience
    from fovea_agent.store import Store

    def mounted() -> StoreAccess:
        return StoreAccess.from_directory(options.object_store, namespace)

    return Store(mounted(), Patience(patience), connections=options.transfers + 2, mounted=mounted)


def _exit_at_sigterm() -> None:
    """As process 1 of a container a program without a handler would not get SIGTERM at all."""

    def leave(number: int, _frame: FrameType | None) -> None:
        os._exit(128 + number)  # threads that wait for the store would hold up an orderly exit

    signal.signal(signal.SIGTERM, leave)


RUNS: Mapping[str, Run] = {
    "fetch": _fetch,
    "sync": _sync,
    "fetch-model": _fetch_model,
    "batch": _batch,
    "provision": _provision,
    "check-store": _check_store,
}


if __name__ == "__main__":
    sys.exit(main())
