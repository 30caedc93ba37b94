"""The command line: `fovea-operator run`. Settings come from FOVEA_OPERATOR_* variables; each has an option too."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from fovea_api.standard_output import until_nobody_reads

from . import logs
from .settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, configure, run. Exit code 0 after a signal, 1 when the lease was lost or nothing could start."""
    return until_nobody_reads(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    try:
        given = {
            f"FOVEA_OPERATOR_{name.upper()}": text
            for name, text in options.items()
            if text is not None and name != "command"
        }
        settings = Settings.from_environment({**os.environ, **given})
    except ValueError as error:
        parser.error(str(error))
    logs.configure(settings.log_format, settings.log_level)
    # Late: --help and --version need not load Kopf.
    from . import runtime

    return runtime.run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fovea-operator", description="Fovea's operator: turns TrainingJobs and ModelDeployments into pods."
    )
    parser.add_argument("--version", action="version", version=f"fovea-operator {version('fovea-operator')}")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="run the operator until SIGTERM",
        description="Runs until SIGTERM. Each option can be given as FOVEA_OPERATOR_<NAME> in the environment; "
        "an option wins. "
        "The API server is found by KUBECONFIG, the pod's service account or ~/.kube/config.",
    )
    for field in fields(Settings):
        run.add_argument(_option(field.name), metavar=_metavar(field.default), help=f"default: {_shown(field.default)}")
    return parser


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _metavar(default: Any) -> str:
    if isinstance(default, bool):
        return "true|false"
    if isinstance(default, tuple):
        return "A,B,…"
    return {int: "N", float: "SECONDS"}.get(type(default), "TEXT")


def _shown(default: Any) -> str:
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    return text.replace("%", "%%") or "empty"


if __name__ == "__main__":
    sys.exit(main())
