"""How a verifier stands up to the fast gradient sign method: accuracy where one picture of each pair is changed against it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from fovea_trainers.errors import FlagError
from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.evaluation import Evaluation, Evaluator, Sums
from fovea_trainers.runtime.strategy import Batches
from fovea_trainers.runtime.totals import Total, total
from fovea_trainers.vision.faces.sets import BATCH
from fovea_trainers.vision.faces.verification import cosine


def epsilons(given: str) -> list[float]:
    """Changes of a pixel, of 255, as numbers. Raises FlagError."""
    words = [word.strip() for word in given.split(",") if word.strip()]
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = [-1.0]
    if not all(0 < epsilon <= 255 for epsilon in found):
        raise FlagError(f'--fgsm must be numbers up to 255, such as 1,2,4,8, or empty, not "{given}"')
    return found


def attack(
    model: keras.Model, pairs: Batches, threshold: float, changes: Sequence[float], check: Callable[[], None]
) -> Evaluation:
    """The share of right decisions by how far each pixel is changed, 0 first; `pairs` are batches of `sets.BATCH`."""
    wanted = [0.0, *changes] if changes else []
    return Evaluator(evaluation(model, threshold, wanted), BATCH, Sums.ratios)(pairs if wanted else (), check)


def evaluation(
    model: keras.Model, threshold: float, changes: Sequence[float]
) -> Callable[[tf.Tensor, tf.Tensor], Mapping[str, Total]]:
    """Right decisions on a batch of pairs, by the changes.

    Each pixel of the first picture goes in the direction that makes people less similar to themselves, or more to others.
    """

    def evaluate(images: tf.Tensor, people: tf.Tensor) -> Mapping[str, Total]:
        attacked, same = images[0::2], people[0::2] == people[1::2]
        fixed = model(images[1::2], training=False)
        with tf.GradientTape() as tape:
            tape.watch(attacked)
            similarity = cosine(model(attacked, training=False), fixed)
        against = tf.where(same, -1.0, 1.0)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        direction = against * tf.sign(tape.gradient(similarity, attacked))

        def right(change: float) -> Total:
            changed = tf.clip_by_value(attacked + change * direction, 0.0, 255.0)
            decided = cosine(model(changed, training=False), fixed) >= threshold
            return total(tf.cast(decided == same, tf.float32))

        return {f"{change:g}": right(change) for change in changes}

    return evaluate


def report(attacked: Evaluation) -> dict[str, Any]:
    """For evaluation.json."""
    return {
        "attack": "fgsm",
        "pairs": int(attacked.totals.counts["0"]),
        "accuracy": [{"epsilon": epsilon, "accuracy": accuracy} for epsilon, accuracy in _points(attacked)],
    }


def curve(attacked: Evaluation) -> bytes:
    """Accuracy over the change of a pixel, as a PNG."""

    def draw(axes: Any) -> None:
        axes.plot(*zip(*_points(attacked), strict=True), marker="o")
        axes.set(xlabel="change of each pixel, of 255", ylabel="accuracy", ylim=(0, 1), title="Robustness against FGSM")
        axes.grid(visible=True, alpha=0.3)

    return pictures.plot(draw)


def _points(attacked: Evaluation) -> list[tuple[float, float]]:
    return [
        (float(name), accuracy)
        for name, accuracy in attacked.metrics.items()
        if name in attacked.totals.counts and name != "loss"
    ]
