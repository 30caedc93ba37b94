"""One loaded version of a model: the only module that runs TensorFlow graphs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from fovea_serving.server import sharing, signatures
from fovea_serving.server.errors import ServingError, from_tensorflow
from fovea_serving.server.signatures import Signature
from fovea_serving.server.tensors import Array

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How TensorFlow runs a model: thread counts (0: as many as there are cores), tags of the graph, share of a GPU.

    `row_wise_signatures` are those whose outputs are taken to be row-wise because the operator says so ("*": all).
    """

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    tags: tuple[str, ...] = ("serve",)
    gpu_memory_fraction: float = 0.0
    row_wise_signatures: tuple[str, ...] = ()


class Servable:
    """A SavedModel in a session of its own, so that closing it gives its memory back."""

    def __init__(
        self,
        *,
        session: Any,
        definitions: Mapping[str, meta_graph_pb2.SignatureDef],
        row_wise: Mapping[str, frozenset[str]],
        path: Path,
    ) -> None:
        self._session = session
        self._graph_shapes: dict[str, tuple[int, ...] | None] = {}
        self.path = path
        self.definitions = definitions
        self.signatures: dict[str, Signature] = {
            name: signatures.from_definition(name, definition, row_wise.get(name, frozenset()))
            for name, definition in definitions.items()
        }

    def run(
        self,
        signature: Signature,
        feeds: Sequence[Array],
        outputs: Sequence[str],
        timeout: float | None = None,
    ) -> list[Array]:
        """Fetch the outputs (aliases) for feeds in the signature's order; timeout in seconds. Blocks the thread."""
        feed = {slot.tensor: array for slot, array in zip(signature.inputs.values(), feeds, strict=True)}
        fetch = [signature.outputs[alias].tensor for alias in outputs]
        return self.fetch(fetch, feed, timeout)

    def fetch(self, tensors: Sequence[str], feed: Mapping[str, Array], timeout: float | None = None) -> list[Array]:
        """Values of tensors of the graph."""
        declared = all(self._graph_takes(tensor, array) for tensor, array in feed.items())
        milliseconds = 0 if timeout is None else max(1, int(timeout * 1000))
        options = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds) if milliseconds else None
        try:
            found: list[Any] = (
                self._session.run(list(tensors), feed, options=options)
                if declared
                else self._fetch_of_any_shape(tensors, feed, milliseconds)
            )
        except (tf.errors.OpError, TypeError, ValueError, RuntimeError) as error:
            raise from_tensorflow(error) from error
        # A scalar string comes as plain bytes; every other scalar has what an array has.
        return [np.array(value, dtype=object) if isinstance(value, bytes) else value for value in found]

    def _graph_takes(self, tensor: str, array: Array) -> bool:
        """Whether an array has the shape that the graph declares, which the signature need not repeat."""
        if tensor not in self._graph_shapes:
            try:
                shape = self._session.graph.get_tensor_by_name(tensor).shape
            except (KeyError, ValueError):
                return True  # the run says what is wrong
            sizes = None if shape.rank is None else tuple(-1 if size is None else size for size in shape)
            self._graph_shapes[tensor] = sizes
        return signatures.fits(self._graph_shapes[tensor], array.shape)

    def _fetch_of_any_shape(self, tensors: Sequence[str], feed: Mapping[str, Array], milliseconds: int) -> list[Any]:
        """Like `session.run`, which refuses in Python what the runtime may well take: other shapes than declared."""
        options = config_pb2.CallableOptions(feed=list(feed), fetch=list(tensors))
        options.run_options.timeout_in_ms = milliseconds
        # It cannot be asked for under a public name.
        call = self._session._make_callable_from_options(options)  # noqa: SLF001
        found: list[Any] = call(*feed.values())
        return found

    def close(self) -> None:
        """Give the session's memory back; no call may be under way."""
        self._session.close()


def load(path: Path, settings: SessionSettings) -> Servable:
    """Load a SavedModel; raises ServingError with the runtime's words. Blocks the thread."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=settings.intra_op_threads,
        inter_op_parallelism_threads=settings.inter_op_threads,
        allow_soft_placement=True,
    )
    config.gpu_options.per_process_gpu_memory_fraction = settings.gpu_memory_fraction
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, list(settings.tags), str(path))
        graph.finalize()
    except Exception as error:
        session.close()
        if isinstance(error, ServingError):
            raise
        raise from_tensorflow(error) from error
    definitions = {
        name: definition
        for name, definition in meta_graph.signature_def.items()
        if not name.startswith("__saved_model_init_op")
    }
    row_wise = sharing.shareable_outputs(path, meta_graph, definitions, settings.row_wise_signatures)
    return Servable(session=session, definitions=definitions, row_wise=row_wise, path=path)
