"""From the command line to the answers: the model is loaded once, checked against the formats, and asked until all is done."""

from __future__ import annotations

import argparse
import logging
import os
import time

from fovea_api.contract import exit_codes

from fovea_serving.batch import entries, inputs
from fovea_serving.batch.answering import Answering
from fovea_serving.batch.inputs import UnfitModelError
from fovea_serving.batch.records import DamagedShardError
from fovea_serving.batch.shards import Model, Volume
from fovea_serving.batch.sizes import default_batch_size
from fovea_serving.protocol.errors import ServingError
from fovea_serving.server import devices, servable
from fovea_serving.server.servable import SessionSettings

log = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """The exit code."""
    try:
        model = load(options)
    except (ServingError, UnfitModelError) as error:
        log.error("The model %s cannot be asked: %s", options.model, error)  # noqa: TRY400 - a fault of the model's, not of ours
        return exit_codes.CONFIGURATION
    try:
        return Volume(options.work, options.input_format, options.output_format, model).run()
    except DamagedShardError as error:
        log.error("%s", error)  # noqa: TRY400 - a fault of the data
        return exit_codes.DATA_CORRUPT
    except OSError as error:
        log.error("The working volume cannot be used: %s", error)  # noqa: TRY400 - the path says it all
        return exit_codes.VOLUME


def load(options: argparse.Namespace) -> Model:
    """The model with the code of the model server. Raises ServingError, UnfitModelError."""
    started = time.monotonic()
    cores = options.threads or len(os.sched_getaffinity(0))
    settings = SessionSettings(intra_op_threads=options.threads, inter_op_threads=options.threads)
    loaded = servable.load(options.model, settings)
    signature = loaded.signatures.get(options.signature)
    if signature is None:
        raise UnfitModelError(f"it has no signature {options.signature!r}, but {', '.join(sorted(loaded.signatures))}")
    to_rows = inputs.for_model(signature, options.input_format, options.model)
    entries.of_format(options.output_format, signature)
    size = options.batch_size or default_batch_size(cores)
    runners = devices.default_batching(cores, devices.gpus()).runners
    log.info(
        "Loaded %s in %.1f s: signature %s, %d records in a run, %d runs at once",
        options.model, time.monotonic() - started, options.signature, size, runners,
    )  # fmt: skip
    return Model(Answering(loaded, signature), signature, to_rows, size, runners)
