"""The flags of the agent's subcommands."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from fovea_api.contract import environment
from fovea_api.contract.report import REPORT_AT_LEAST_EVERY, TERMINATION_LOG

from fovea_agent.ending import GRACE
from fovea_agent.outcome import Result
from fovea_agent.settings import DEFAULT_TRANSFERS, POLL, REPORT_INTERVAL, SETTLE

PATIENCE = 300.0
Run = Callable[[argparse.Namespace], Result]
Group = Callable[[argparse.ArgumentParser], None]
"""Adds flags that several subcommands have."""


def parser(runs: Mapping[str, Run]) -> argparse.ArgumentParser:
    """Of the command line; `runs` has what each subcommand does, by its name."""
    made = argparse.ArgumentParser(
        prog="fovea-agent", description="Moves what a pod needs and makes between its volume and the object store."
    )
    made.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, (summary, groups) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=runs[name])
        for group in groups:
            group(command)
    return made


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"fovea-agent {version('fovea-agent')}\n")


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


def _sync(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--fetch", action="store_true", help="first do what fetch does: the pod has no container for it"
    )
    command.add_argument("--grace-period", type=float, default=GRACE, metavar="SECONDS", help="the pod's (%(default)s)")
    command.add_argument(
        "--poll", type=float, default=POLL, metavar="SECONDS", help="look for checkpoints (%(default)s)"
    )
    command.add_argument(
        "--settle",
        type=float,
        default=SETTLE,
        metavar="SECONDS",
        help="a checkpoint that has not changed for this long is whole (%(default)s)",
    )


def _fetch_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--stay", action="store_true", help="then wait for SIGTERM: as a sidecar, beside the server's start"
    )


def _batch(command: argparse.ArgumentParser) -> None:
    command.add_argument("--poll", type=float, default=0.2, metavar="SECONDS", help="look for answers (%(default)s)")


def _check_store(command: argparse.ArgumentParser) -> None:
    _endpoint(command, required=False)
    command.add_argument("--prefix", default="", help="what the key may reach, such as a namespace (the whole bucket)")


_COMMANDS: Mapping[str, tuple[str, tuple[Group, ...]]] = {
    "fetch": (
        "init container of a training pod: checkpoint, inputs and cache to the working volume",
        (_common, _transfer, _patience, _work),
    ),
    "sync": (
        "sidecar of a training pod: publishes checkpoints as they appear and, at SIGTERM, everything else",
        (_common, _transfer, _patience, _work, _sync, _reports),
    ),
    "fetch-model": (
        "init container or sidecar of a serving pod: a model version, verified",
        (_common, _transfer, _patience, _fetch_model),
    ),
    "batch": (
        "sidecar of a pod of a batch prediction: brings shards, publishes the answers and at the end the output",
        (_common, _transfer, _work_folder, _reports, _batch),
    ),
    "provision": (
        "makes the bucket of a MinIO and a key per namespace, each for its own prefix",
        (_common, _patience, _provision_arguments),
    ),
    "check-store": (
        "checks that an object store has what Fovea relies on; writes a few small objects and removes them",
        (_common, _patience, _object_store, _check_store),
    ),
}
