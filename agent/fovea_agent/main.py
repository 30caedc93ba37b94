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
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from fovea_api.contract import environment, exit_codes
from fovea_api.contract.plan import ModelPlan, TrainingPlan
from fovea_api.contract.report import REPORT_AT_LEAST_EVERY, TERMINATION_LOG, Termination
from fovea_api.standard_output import until_nobody_reads

from fovea_agent import log
from fovea_agent.ending import GRACE, grace_left, seconds_since
from fovea_agent.outcome import Result, outcome
from fovea_agent.settings import (
    DEFAULT_TRANSFERS,
    POLL,
    REPORT_INTERVAL,
    SETTLE,
    StoreAccess,
    WorkVolume,
    read_plan,
)

if TYPE_CHECKING:
    from fovea_agent.report import Reporter
    from fovea_agent.store import Store
    from fovea_agent.sync import Sync

PATIENCE = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns its exit code."""
    return until_nobody_reads(lambda: _run(_parser().parse_args(arguments)))


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


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"fovea-agent {version('fovea-agent')}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fovea-agent", description="Moves what a pod needs and makes between its volume and the object store."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(
        commands,
        "fetch",
        _fetch,
        "init container of a training pod: checkpoint, inputs and cache to the working volume",
        (_common, _transfer, _patience, _work),
    )
    sync = _add(
        commands,
        "sync",
        _sync,
        "sidecar of a training pod: publishes checkpoints as they appear and, at SIGTERM, everything else",
        (_common, _transfer, _patience, _work),
    )
    sync.add_argument("--fetch", action="store_true", help="first do what fetch does: the pod has no container for it")
    sync.add_argument("--grace-period", type=float, default=GRACE, metavar="SECONDS", help="the pod's (%(default)s)")
    sync.add_argument("--poll", type=float, default=POLL, metavar="SECONDS", help="look for checkpoints (%(default)s)")
    sync.add_argument(
        "--settle",
        type=float,
        default=SETTLE,
        metavar="SECONDS",
        help="a checkpoint that has not changed for this long is whole (%(default)s)",
    )
    _reports(sync)
    model = _add(
        commands,
        "fetch-model",
        _fetch_model,
        "init container of a serving pod: a model version, verified",
        (_common, _transfer, _patience),
    )
    model.add_argument(
        "--stay", action="store_true", help="then wait for SIGTERM: as a sidecar, beside the server's start"
    )
    batch = _add(
        commands,
        "batch",
        _batch,
        "sidecar of a pod of a batch prediction: brings shards, publishes the answers and at the end the output",
        (_common, _transfer, _work_folder, _reports),
    )
    batch.add_argument("--poll", type=float, default=0.2, metavar="SECONDS", help="look for answers (%(default)s)")
    provision = _add(
        commands,
        "provision",
        _provision,
        "makes the bucket of a MinIO and a key per namespace, each for its own prefix",
        (_common, _patience),
    )
    _provision_arguments(provision)
    check = _add(
        commands,
        "check-store",
        _check_store,
        "checks that an object store has what Fovea relies on; writes a few small objects and removes them",
        (_common, _patience, _object_store),
    )
    _endpoint(check, required=False)
    check.add_argument("--prefix", default="", help="what the key may reach, such as a namespace (the whole bucket)")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], Result],
    summary: str,
    groups: tuple[Callable[[argparse.ArgumentParser], None], ...],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=summary)
    command.set_defaults(run=run)
    for group in groups:
        group(command)
    return command


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    command.add_argument(
        "--termination-log", default=TERMINATION_LOG, metavar="FILE", help="(%(default)s; empty: none)"
    )


def _object_store(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--object-store", type=Path, default=Path(environment.OBJECT_STORE_MOUNT), metavar="FOLDER", help="its keys"
    )


def _transfer(command: argparse.ArgumentParser) -> None:
    _object_store(command)
    command.add_argument("--transfers", type=int, default=DEFAULT_TRANSFERS, metavar="N", help="at once (%(default)s)")


def _patience(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--patience", type=float, default=PATIENCE, metavar="SECONDS", help="for an unreachable store (%(default)s)"
    )


def _work_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--work", type=Path, default=Path(environment.WORK_MOUNT), metavar="FOLDER", help="(%(default)s)"
    )


def _reports(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--report-interval", type=float, default=REPORT_INTERVAL, metavar="SECONDS", help="(%(default)s)"
    )
    command.add_argument(
        "--report-at-least-every", type=float, default=REPORT_AT_LEAST_EVERY, metavar="SECONDS", help="(%(default)s)"
    )
    command.add_argument("--report-token", type=Path, default=Path(environment.REPORT_TOKEN_MOUNT), metavar="FOLDER")


def _work(command: argparse.ArgumentParser) -> None:
    _work_folder(command)
    command.add_argument(
        "--state",
        type=Path,
        default=Path(environment.AGENT_MOUNT),
        metavar="FOLDER",
        help="of the agents (%(default)s)",
    )


def _endpoint(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument(
        "--endpoint", required=required, metavar="URL", help="of a MinIO; its root key comes from the environment"
    )
    command.add_argument("--bucket", default="", help="(the contract's)")
    command.add_argument("--region", default="", help="(us-east-1)")
    command.add_argument("--ca-bundle", type=Path, metavar="FILE", help="certificate authority of the endpoint")


def _provision_arguments(command: argparse.ArgumentParser) -> None:
    _endpoint(command, required=True)
    command.add_argument("--namespace", action="append", default=[], metavar="NAME", help="repeatable")
    command.add_argument(
        "--unless-labelled",
        action="append",
        default=[],
        metavar="NAME",
        help="as --namespace, unless it has the label fovea.dev/object-store: then --labelled does it; repeatable",
    )
    command.add_argument("--labelled", action="store_true", help="namespaces by their label fovea.dev/object-store")
    command.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="look again (once)")
    command.add_argument("--shared-prefix", action="append", default=[], metavar="PREFIX", help="readable for all")
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("--apply", action="store_true", help="apply the Secrets through the API server of this cluster")
    target.add_argument("--print", action="store_true", help="write the Secrets to standard output as YAML")
    target.add_argument("--directory", type=Path, metavar="FOLDER", help="write key files to FOLDER/<namespace>/")


if __name__ == "__main__":
    sys.exit(main())
