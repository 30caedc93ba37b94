"""Entry point `fovea-batch`: a model on the shards that `fovea-agent batch` brings, without a port and without the store."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from fovea_api.contract import batch, environment, exit_codes
from fovea_api.contract.signatures import SERVING_DEFAULT
from fovea_api.standard_output import until_nobody_reads

from fovea_serving.batch.sizes import FEWEST, MOST, ROWS_A_CORE
from fovea_serving.server.absent_modules import without


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer shards until all are published; the exit code."""
    return until_nobody_reads(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s] %(message)s", stream=sys.stderr
    )
    options = _parser().parse_args(arguments)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.umask(0o002)  # the agent, which may run as another user, removes what is left for it
    # TensorFlow takes seconds to import: a wrong command line should not have to wait for it.
    with without("keras"):
        from fovea_serving.batch import program

    code = program.run(options)
    logging.shutdown()
    sys.stdout.flush()
    if code != exit_codes.OK:
        os._exit(code)  # runs of the model that are under way cannot be interrupted
    return code


def _leave(number: int, _frame: FrameType | None) -> None:
    """A shard that is not answered is simply answered again."""
    os._exit(128 + number)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fovea-batch",
        description="Answers the shards of a batch prediction that fovea-agent brings, with a SavedModel.",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="the SavedModel")
    parser.add_argument("--input-format", choices=batch.INPUT_FORMATS, required=True)
    parser.add_argument("--output-format", choices=batch.OUTPUT_FORMATS, required=True)
    parser.add_argument(
        "--work", type=Path, default=Path(environment.WORK_MOUNT), metavar="FOLDER", help="(%(default)s)"
    )
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help=f"records in one run ({ROWS_A_CORE} a core, {FEWEST} to {MOST})",
    )
    parser.add_argument(
        "--signature", default=SERVING_DEFAULT, metavar="NAME", help="of the model, which is asked (%(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="of TensorFlow; a limit on CPU is not seen otherwise (cores)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
