"""Models in the manner of TensorFlow Serving's own test data: graphs of TensorFlow 1 behind its classic signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1


def save_half_plus(folder: Path, bias: float, *, shapes: bool = True, kind: str = "dense") -> None:
    """x / 2 + bias, of numbers and of tf.Examples whose feature x is dense, sparse or ragged.

    The graph declares [?, 1] for x; without `shapes` the signature says nothing about shapes, as old exporters did.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        half, plus = v1.get_variable("half", initializer=0.5), v1.get_variable("plus", initializer=bias)
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        x = tf.identity(_feature(examples, kind), name="x")
        y = tf.add(tf.multiply(half, x), plus, name="y")
        other = tf.add(y, 1.0, name="y_plus_1")
        session.run(v1.global_variables_initializer())
        signatures = {
            "serving_default": _signature({"x": x}, {"y": y}, "tensorflow/serving/predict", shapes),
            "regress_x_to_y": _signature({"inputs": examples}, {"outputs": y}, "tensorflow/serving/regress", shapes),
            "regress_x2_to_y3": _signature({"inputs": x}, {"outputs": other}, "tensorflow/serving/regress", shapes),
            "classify_x_to_y": _signature({"inputs": examples}, {"scores": y}, "tensorflow/serving/classify", shapes),
        }
        _write(session, folder, signatures)


def _feature(examples: Any, kind: str) -> Any:
    if kind == "dense":
        return tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
    if kind == "sparse":
        return tf.sparse.to_dense(tf.io.parse_example(examples, {"x": tf.io.VarLenFeature(tf.float32)})["x"])
    return tf.io.parse_example(examples, {"x": tf.io.RaggedFeature(tf.float32)})["x"].to_tensor()


def save_counter(folder: Path) -> None:
    """A number that is kept between requests: `incr_counter`, `incr_counter_by`, `reset_counter`, `get_counter`."""
    with tf.Graph().as_default(), v1.Session() as session:
        counter = v1.get_variable("counter", initializer=0.0, use_resource=False)
        delta = v1.placeholder_with_default(1.0, [], name="delta")
        outputs = {
            "get_counter": ({}, tf.identity(counter)),
            "incr_counter": ({}, v1.assign_add(counter, 1.0)),
            "incr_counter_by": ({"delta": delta}, v1.assign_add(counter, delta)),
            "reset_counter": ({}, v1.assign(counter, 0.0)),
        }
        session.run(v1.global_variables_initializer())
        predict = "tensorflow/serving/predict"
        _write(session, folder, {
            name: _signature(inputs, {"output": output}, predict, True) for name, (inputs, output) in outputs.items()
        })  # fmt: skip


def _signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str, shapes: bool) -> Any:
    def described(tensors: dict[str, Any]) -> dict[str, Any]:
        found = {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in tensors.items()}
        for info in found.values():
            if not shapes:
                info.ClearField("tensor_shape")
        return found

    return v1.saved_model.build_signature_def(described(inputs), described(outputs), method)


def _write(session: Any, folder: Path, signatures: dict[str, Any]) -> None:
    builder = v1.saved_model.Builder(str(folder))
    builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
    builder.save()
