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
from tensorflow.python.client import pywrap_tf_session as tf_session

from fovea_serving.protocol import signatures
from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.signatures import Signature
from fovea_serving.protocol.tensors import Array
from fovea_serving.server import sharing
from fovea_serving.server.runtime_errors import from_tensorflow

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
        self._tensors: dict[str, Any] = {}
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
        made = [tensor for tensor in dict.fromkeys(tensors) if tensor not in feed]
        try:
            values = dict(zip(made, self._made(made, feed, timeout), strict=True)) if made else {}
        except (tf.errors.OpError, TypeError, ValueError, RuntimeError) as error:
            raise from_tensorflow(error) from error
        # The runtime does not give back what it was fed.
        found = [values[tensor] if tensor in values else feed[tensor] for tensor in tensors]
        # A scalar string comes as plain bytes; every other scalar has what an array has.
        return [np.array(value, dtype=object) if isinstance(value, bytes) else value for value in found]

    def _made(self, tensors: Sequence[str], feed: Mapping[str, Array], timeout: float | None) -> list[Any]:
        """What the runtime makes of a feed.

        `Session.run` would refuse in Python what the runtime may well take, shapes other than the graph declares, and
        makes up its mind about fetches at each call, which takes longer than a small graph. What it calls in the end has
        no public name. A callable of the session has, but its timeout is fixed, so that each call would need its own.
        """
        feeds = {self._tensor(name).ref(): array for name, array in feed.items()}
        fetches = [self._tensor(name) for name in tensors]
        milliseconds = 0 if timeout is None else max(1, int(timeout * 1000))
        options = tf_session.TF_NewBufferFromString(
            config_pb2.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
        )
        try:
            found: list[Any] = self._session._do_run(None, [], fetches, feeds, options, None)  # noqa: SLF001
        finally:
            tf_session.TF_DeleteBuffer(options)
        return found

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            try:
                self._tensors[name] = self._session.graph.get_tensor_by_name(name)
            except KeyError as error:
                raise ValueError(error.args[0]) from error
        return self._tensors[name]

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
    # Otherwise TensorFlow takes nearly all of it at once, and another process on the same GPU finds none.
    config.gpu_options.allow_growth = not settings.gpu_memory_fraction
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
