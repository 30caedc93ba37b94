"""Entry point `fovea-model-server`: a server that takes the command line of `tensorflow_model_server`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from fovea_api.standard_output import until_nobody_reads

from fovea_serving.server import flags
from fovea_serving.server.absent_modules import without

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    return until_nobody_reads(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s] %(message)s", stream=sys.stderr
    )
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        settings, notes = flags.parse(arguments, os.environ)
    except flags.UsageError as error:
        print(f"fovea-model-server: {error}", file=sys.stderr)
        return USAGE_ERROR
    if settings.help:
        print(flags.usage())
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # TensorFlow takes seconds to import: a wrong command line should not have to wait for it.
    with without("keras"):
        from fovea_serving.server import process

    if settings.version:
        print(process.versions_text())
        return 0
    for note in notes:
        logging.getLogger(__name__).info(note)
    return process.run(settings)


if __name__ == "__main__":
    sys.exit(main())
