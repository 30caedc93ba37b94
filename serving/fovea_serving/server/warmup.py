"""Warm-up: the requests recorded with a model are run before it answers anybody; one that fails, fails the load."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import tensorflow as tf
from fovea_api.contract.signatures import WARMUP_FILE
from tensorflow_serving.apis import inference_pb2, prediction_log_pb2

from fovea_serving.protocol import examples, predict
from fovea_serving.protocol.errors import ServingError, internal, invalid_argument, unimplemented
from fovea_serving.server.runtime_errors import from_tensorflow
from fovea_serving.server.servable import Servable

log = logging.getLogger(__name__)

MOST_RECORDS: Final = 1000


def warm_up(servable: Servable, *, iterations: int = 1) -> int:
    """Run each recorded request `iterations` times; the number of records. Raises ServingError. Blocks."""
    path = servable.path / WARMUP_FILE
    if not path.is_file():
        log.info("No warmup data file found at %s", path)
        return 0
    started, count = time.monotonic(), 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            count += 1
            if count > MOST_RECORDS:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({MOST_RECORDS})")  # noqa: TRY301
            entry = prediction_log_pb2.PredictionLog.FromString(record)
            for _ in range(max(1, iterations)):
                _replay(servable, entry)
    except ServingError as error:
        raise ServingError(error.code, f"Warmup record {count} of {path} failed: {error.message}") from error
    except tf.errors.OpError as error:
        raise from_tensorflow(error) from error
    except Exception as error:
        raise internal(f"Failed to parse warmup record: {error} from {path}") from error
    log.info("Ran %d warmup records of %s in %.3f s", count, path, time.monotonic() - started)
    return count


def _replay(servable: Servable, entry: Any) -> None:
    kind = entry.WhichOneof("log_type")
    if kind == "predict_log":
        wanted = predict.prepare(servable.signatures, entry.predict_log.request)
        servable.run(wanted.signature, wanted.feeds, wanted.outputs)
    elif kind == "classify_log":
        _run(servable, examples.prepare_classify(servable.signatures, entry.classify_log.request))
    elif kind == "regress_log":
        _run(servable, examples.prepare_regress(servable.signatures, entry.regress_log.request))
    elif kind == "multi_inference_log":
        for call in examples.prepare_multi(servable.signatures, entry.multi_inference_log.request):
            _run(servable, call)
    elif kind is not None and kind != "predict_streamed_log":
        raise unimplemented(f"Unsupported log_type for warmup: {kind}")


def _run(servable: Servable, call: examples.ExampleCall) -> None:
    values = servable.run(call.signature, call.feeds, call.outputs)
    examples.fill_result(call, values, inference_pb2.InferenceResult())
