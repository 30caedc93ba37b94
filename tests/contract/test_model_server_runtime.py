"""One version of a model in TensorFlow's runtime: what a run costs beside the graph, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from fovea_serving.protocol.errors import ServingError
from fovea_serving.server.servable import Servable
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session as tf_session


def servable(inputs: dict[str, Any], outputs: dict[str, Any], graph: tf.Graph) -> Servable:
    definition = meta_graph_pb2.SignatureDef()
    for named, target in ((inputs, definition.inputs), (outputs, definition.outputs)):
        for alias, tensor in named.items():
            target[alias].CopyFrom(tf.compat.v1.saved_model.build_tensor_info(tensor))
    session = tf.compat.v1.Session(graph=graph)
    return Servable(session=session, definitions={"serving_default": definition}, row_wise={}, path=Path("/none"))


@pytest.fixture
def doubling() -> Iterator[Servable]:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        made = servable({"x": x}, {"twice": 2 * x, "again": x, "word": tf.constant("é")}, graph)
    yield made
    made.close()


def run(made: Servable, feed: Any, *outputs: str, timeout: float | None = None) -> list[Any]:
    return made.run(made.signatures["serving_default"], [np.asarray(feed, np.float32)], outputs, timeout)


def test_a_request_of_an_undeclared_shape_prepares_nothing_in_the_runtime(
    doubling: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = []
    prepare = tf.compat.v1.Session._make_callable_from_options
    monkeypatch.setattr(
        tf.compat.v1.Session,
        "_make_callable_from_options",
        lambda self, options: prepared.append(options) or prepare(self, options),
    )
    for seconds in (None, 1.0, 2.0, 3.0):
        assert run(doubling, [[1, 2], [3, 4]], "twice", timeout=seconds)[0].tolist() == [[2, 4], [6, 8]]
        assert run(doubling, 3, "twice", timeout=seconds)[0].tolist() == 6
    assert len(prepared) <= 1


def test_no_run_leaves_its_options_in_memory_also_one_of_tensors_that_are_not_there(
    doubling: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, deleted = [], []
    make, delete = tf_session.TF_NewBufferFromString, tf_session.TF_DeleteBuffer
    monkeypatch.setattr(tf_session, "TF_NewBufferFromString", lambda text: made.append(make(text)) or made[-1])
    monkeypatch.setattr(tf_session, "TF_DeleteBuffer", lambda buffer: deleted.append(buffer) or delete(buffer))
    run(doubling, 3, "twice")
    for feed, fetch in (({"other:0": np.float32(1)}, "mul:0"), ({"x:0": np.float32(1)}, "other:0"), ({}, "no name")):
        with pytest.raises(ServingError):
            doubling.fetch([fetch], feed)
    assert deleted == made != []


def test_outputs_may_be_inputs_or_asked_for_twice(doubling: Servable) -> None:
    found = run(doubling, [1, 2], "again", "twice", "word", "again", "twice")
    assert [value.tolist() for value in found] == [[1, 2], [2, 4], "é".encode(), [1, 2], [2, 4]]
    assert run(doubling, [7], "again")[0].tolist() == [7]


def test_what_the_graph_has_not_is_the_requests_fault_in_words(doubling: Servable) -> None:
    with pytest.raises(ServingError, match=r"INVALID_ARGUMENT: .*'nothing:0'"):
        doubling.fetch(["nothing:0"], {})
