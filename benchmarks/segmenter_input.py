"""Whether the input of the recipe `segmenter` keeps up with its network: pictures a second of each, and of both together.

    python benchmarks/segmenter_input.py                                  # unet-mini at 512, pictures of 1024 × 768
    python benchmarks/segmenter_input.py --model mobilenet-unet --size 256

Pipeline: batches as the training gets them, distorted, with nothing that takes them. Step: the update of one batch, again
and again. Training: the loop of the recipe, without its first two steps. Pictures are held in memory, or read and decoded
each time. The ratio of training to step is 1 where the input costs nothing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_trainers.recipes import segmenter
from fovea_trainers.runtime import optimizers
from fovea_trainers.runtime.strategy import Shard, Single
from fovea_trainers.runtime.totals import Totals
from fovea_trainers.vision import mask_sets, placing, segmentation


def write(root: Path, count: int, width: int, height: int) -> None:
    """Pictures of noise on a slope, and label pictures with a disc."""
    noise = np.random.default_rng(1)
    rows, columns = np.mgrid[0:height, 0:width]
    for number in range(count):
        inside = np.hypot(rows - height / 2, columns - width / 2) < min(height, width) / 3
        slope = (60 + 90 * columns / width + 40 * inside)[..., np.newaxis]
        pixels = np.clip(slope + noise.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
        label = np.where(inside, 0, 255).astype(np.uint8)[..., np.newaxis]
        for folder, content in (("Images", pixels), ("Labels", label)):
            path = root / folder / f"{number:03}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(tf.io.encode_png(content).numpy())


def rate(steps: Iterator[int], least: float) -> float:
    """Pictures a second of what yields numbers of pictures, for at least so many seconds after the first two."""
    next(steps)
    next(steps)
    began, done = time.perf_counter(), 0
    for pictures in steps:
        done += pictures
        if time.perf_counter() - began > least:
            break
    return done / (time.perf_counter() - began)


def measure(root: Path, config: segmenter.Config, seconds: float) -> dict[str, float]:
    """Rates by name."""
    session: Any = SimpleNamespace(
        workspace=SimpleNamespace(data=Path, inputs=root / "none"),
        interruption=SimpleNamespace(check=lambda: None),
    )
    sets = mask_sets.read(config, 1, session)
    dataset = sets.training(config.batch_size, seed=1, distortion=placing.of(config))
    model = segmenter.NETWORKS[config.model](config.classes, config.image_size)
    optimizer = optimizers.make("adam", model.trainable_variables, optimizers.inverse_time(1e-4, 0.0))
    update = segmenter.learning(model, optimizer, [1.0, 1.0])
    totals = Totals({"loss": tf.float32, "accuracy": tf.int64, "iou": tf.int64})
    step: Callable[..., None] = Single().build(update, totals, segmentation.BATCH)

    def batches() -> Iterator[Any]:
        for epoch in range(10**6):
            yield from dataset(epoch, 0, Shard())

    def pipeline() -> Iterator[int]:
        for frames, _ in batches():
            yield len(frames)

    def bare() -> Iterator[int]:
        frames, labels = next(batches())
        while True:
            step(frames, labels, 1)
            yield len(frames)

    def training() -> Iterator[int]:
        for frames, labels in batches():
            step(frames, labels, 1)
            yield len(frames)

    return {
        name: rate(run(), seconds) for name, run in (("pipeline", pipeline), ("step", bare), ("training", training))
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=list(segmenter.NETWORKS), default=segmenter.MINI)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--picture", default="1024x768", help="width and height of the pictures")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    width, height = map(int, options.picture.split("x"))
    print(
        f"{options.model} at {options.size}, pictures of {options.picture}, batches of 4, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| pictures | pipeline img/s | step img/s | training img/s | training / step |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.count, width, height)
        for held in (True, False):
            config = segmenter.Config(
                data=folder,
                model=options.model,
                image_size=options.size,
                validation_ratio=0.0,
                cache_images=held,
            )
            found = measure(Path(folder), config, options.seconds)
            what = "held in memory" if held else "read each time"
            rates = " | ".join(f"{found[name]:.1f}" for name in ("pipeline", "step", "training"))
            print(f"| {what} | {rates} | {found['training'] / found['step']:.2f} |")


if __name__ == "__main__":
    main()
