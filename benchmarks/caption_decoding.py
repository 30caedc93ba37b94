"""What captions cost: words for each second of CPU with keys and values that are kept, against the naive loop.

    python benchmarks/caption_decoding.py                      # the article's sizes, captions of 20 and 40 words
    python benchmarks/caption_decoding.py --d-model 64 --layers 2 --heads 4 --dff 128

The naive loop gives the decoder the whole caption for every word, and looks at the last logits. All are graphs, on random
weights whose captions never end before the last word; the time of a picture's features and of the encoder is not counted.
A row is the median of the runs after the first, in turns, in seconds of CPU: other work on the machine hardly counts.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from fovea_trainers.captions import decoding
from fovea_trainers.captions.transformer import Decoder, Sizes
from fovea_trainers.captions.words import END, START

VOCABULARY, GRID = 5000, (8, 8)
BATCHES, BEAMS = (1, 8), 3


def naive(decoder: Decoder, memory: tf.Tensor, longest: int) -> tf.Tensor:
    """Greedy captions [n, longest], each word by the whole caption before it."""
    words = tf.fill([tf.shape(memory)[0], 1], START)
    forbidden = tf.reduce_sum(1e9 * tf.one_hot(decoding.FORBIDDEN, VOCABULARY), axis=0)

    def longer(words: tf.Tensor) -> tf.Tensor:
        logits = decoder(words, memory)[:, -1] - forbidden
        return tf.concat([words, tf.argmax(logits, axis=1, output_type=tf.int32)[:, tf.newaxis]], axis=1)

    (words,) = tf.while_loop(
        lambda words: tf.shape(words)[1] <= longest,
        lambda words: (longer(words),),
        (words,),
        shape_invariants=(tf.TensorShape([None, None]),),
    )
    return words[:, 1:]


def measure(writers: dict[str, Callable[[tf.Tensor], Any]], memory: tf.Tensor, repeats: int) -> dict[str, float]:
    """Median seconds of CPU by name."""
    times: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(repeats + 1):
        for name, write in writers.items():
            began = time.process_time()
            tf.nest.map_structure(lambda tensor: tensor.numpy(), write(memory))
            times[name].append(time.process_time() - began)
    return {name: statistics.median(measured[1:]) for name, measured in times.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("d-model", 512), ("layers", 4), ("heads", 8), ("dff", 2048), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value, help="%(default)s")
    given = parser.parse_args()
    print(f"load average at the beginning: {os.getloadavg()[0]:.1f}\n")
    print("| words | pictures at once | naive | kept | ratio | 3 beams |\n|---|---|---|---|---|---|")
    for longest in (20, 40):
        keras.utils.set_random_seed(1)
        decoder = Decoder(Sizes(given.d_model, given.heads, given.dff, 0.1), given.layers, VOCABULARY, longest)
        decoder.trainable_variables[-1].assign(-1e6 * tf.one_hot(END, VOCABULARY))

        sizes = {"grid": GRID, "longest": longest}
        writers = {
            "naive": tf.function(partial(naive, decoder, longest=longest)),
            "kept": tf.function(partial(decoding.write, decoder, **sizes)),
            "beams": tf.function(partial(decoding.write, decoder, **sizes, beams=BEAMS)),
        }
        for batch in BATCHES:
            memory = tf.random.stateless_normal([batch, GRID[0] * GRID[1], given.d_model], [1, 2])
            assert (writers["naive"](memory).numpy() == writers["kept"](memory).words.numpy()).all()
            seconds = measure(writers, memory, given.repeats)
            rates = {name: batch * longest / value for name, value in seconds.items()}
            ratio = f"{rates['kept'] / rates['naive']:.1f}"
            print(
                f"| {longest} | {batch} | {rates['naive']:.0f} | {rates['kept']:.0f} | {ratio} | {rates['beams']:.0f} |",
                flush=True,
            )
    print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
