"""The tiny SavedModel of the model server's tests: a signature for each kind of request. Imports TensorFlow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf


def _spec(dtype: Any, shape: Sequence[int | None], name: str) -> Any:
    return tf.TensorSpec(shape, dtype, name=name)


def _brightness(data: Any) -> Any:
    pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
    return tf.reduce_mean(tf.cast(pixels, tf.float32))


def _feature(examples: Any) -> Any:
    return tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]


class Tiny(tf.Module):
    """Pictures, floats, examples, and a signature that takes as long as its input says."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = tf.Variable(bias)

    @tf.function(input_signature=[_spec(tf.string, [None], "image")])
    def serving_default(self, image: Any) -> Any:
        mean = tf.map_fn(_brightness, image, fn_output_signature=tf.float32)
        return {"label": tf.where(mean > 127.0, "bright", "dark"), "brightness": mean, "raw_bytes": image}

    @tf.function(input_signature=[_spec(tf.float32, [None], "x")])
    def half_plus_two(self, x: Any) -> Any:
        return {"y": x / 2.0 + 2.0 + self.bias}

    @tf.function(input_signature=[_spec(tf.float32, [None, 2], "a"), _spec(tf.int64, [None], "b")])
    def pair(self, a: Any, b: Any) -> Any:
        return {"sum": a + tf.cast(b, tf.float32)[:, None], "b": b}

    @tf.function(input_signature=[_spec(tf.float32, [], "x")])
    def scalar(self, x: Any) -> Any:
        return {"y": x + 1.0}

    @tf.function(input_signature=[_spec(tf.string, [], "name")])
    def greet(self, name: Any) -> Any:
        return {"greeting": tf.strings.join(["hello ", name])}

    @tf.function(input_signature=[_spec(tf.float32, [None], "x")])
    def whole_batch(self, x: Any) -> Any:
        return {"mean": tf.boolean_mask(tf.reduce_mean(x, keepdims=True), [True])}

    @tf.function(input_signature=[_spec(tf.float32, [None], "seconds")])
    def slow(self, seconds: Any) -> Any:
        end = tf.timestamp() + tf.cast(tf.reduce_max(seconds), tf.float64)
        last = tf.while_loop(lambda now: now < end, lambda now: [tf.timestamp()], [tf.timestamp()])
        return {"slept": seconds + 0.0 * tf.cast(last[0], tf.float32)}

    @tf.function(input_signature=[_spec(tf.string, [None], "inputs")])
    def classify(self, inputs: Any) -> Any:
        x = _feature(inputs)
        return {"scores": tf.stack([1.0 - x, x], axis=1), "classes": tf.tile([["no", "yes"]], [tf.shape(x)[0], 1])}

    @tf.function(input_signature=[_spec(tf.string, [None], "inputs")])
    def regress(self, inputs: Any) -> Any:
        return {"outputs": _feature(inputs) * 10.0}


SIGNATURES = (
    "serving_default", "half_plus_two", "pair", "scalar", "greet", "whole_batch", "slow", "classify", "regress",
)  # fmt: skip


def save_model(folder: Path, *, bias: float = 0.0) -> None:
    """Write the SavedModel; `half_plus_two` answers x / 2 + 2 + bias."""
    tiny = Tiny(bias)
    tf.saved_model.save(tiny, str(folder), signatures={name: getattr(tiny, name) for name in SIGNATURES})


class Behaving(tf.Module):
    """`half_plus_two` with a fault: for tests of what notices it."""

    def __init__(self, bias: float, fails: float, sleeps: float, mebibytes: int) -> None:
        super().__init__()
        self.bias = tf.Variable(bias)
        self.fails, self.sleeps, self.mebibytes = fails, sleeps, mebibytes

    @tf.function(input_signature=[_spec(tf.float32, [None], "x")])
    def half_plus_two(self, x: Any) -> Any:
        done = [self._slept()] if self.sleeps else []
        if self.fails:
            done.append(tf.debugging.Assert(tf.random.uniform([]) >= self.fails, ["this version is broken"]))
        if self.mebibytes:
            done.append(tf.reduce_sum(tf.random.uniform([self.mebibytes, 1 << 18])))
        with tf.control_dependencies([each for each in done if each is not None]):
            return {"y": x / 2.0 + 2.0 + self.bias}

    def _slept(self) -> Any:
        from tensorflow.python.data.experimental.ops import testing

        pause = tf.data.Dataset.range(1).apply(testing.sleep(round(1e6 * self.sleeps)))
        return pause.reduce(tf.constant(0, tf.int64), lambda total, one: total + one)


def save_behaving(folder: Path, *, bias: float, fails: float = 0.0, sleeps: float = 0.0, mebibytes: int = 0) -> None:
    """A SavedModel that fails a part of its requests, or sleeps for seconds in each, or takes so much memory for each."""
    model = Behaving(bias, fails, sleeps, mebibytes)
    tf.saved_model.save(model, str(folder), signatures={"half_plus_two": model.half_plus_two})
