"""Entry point `fovea-model-server`: a server that takes the command line of `tensorflow_model_server`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from fovea_api.standard_output import until_nobody_reads

from fovea_serving.server import flags

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


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """Nothing imports the module within the block; an import after the block still works.

    TensorFlow imports Keras for programs that build models, and goes on without where there is none. To serve a graph
    it is 100 MiB and a second or two for nothing.
    """
    sys.modules[module] = None  # type: ignore[assignment] # Python's way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules[module]


if __name__ == "__main__":
    sys.exit(main())
