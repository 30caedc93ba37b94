"""Whether the input of the recipe `segmenter` keeps up with its network: pictures a second of each, and of both together.

    python benchmarks/segmenter_input.py                                  # unet-mini at 512, pictures of 1024 × 768
    python benchmarks/segmenter_input.py --model mobilenet-unet --size 256

Pipeline: batches as the training gets them, distorted, with nothing that takes them. Step: the update of one batch, again
and again. Training: batches as they come, each with an update. The three take turns, so that other work on the machine
meets all of them. The ratio of training to step is 1 where the input costs nothing; CPU is that of the process, and
depends less on other work. Pictures are held in memory, or read and decoded each time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
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


@dataclass
class Measured:
    """Pictures, and what they took."""

    pictures: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def run(self, steps: Iterator[int], least: float) -> None:
        """Go on with what yields numbers of pictures, for at least so many seconds."""
        began, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < least:
            self.pictures += next(steps)
        self.seconds += time.perf_counter() - began
        self.cpu += time.process_time() - cpu

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds

    @property
    def cost(self) -> float:
        """CPU milliseconds of a picture."""
        return 1000 * self.cpu / self.pictures


def measure(root: Path, config: segmenter.Config, rounds: int, seconds: float) -> dict[str, Measured]:
    """Pipeline, step and training."""
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

    def pipeline() -> Generator[int, None, None]:
        for frames, _ in batches():
            yield len(frames)

    def bare() -> Generator[int, None, None]:
        frames, labels = next(batches())
        while True:
            step(frames, labels, 1)
            yield len(frames)

    def training() -> Generator[int, None, None]:
        for frames, labels in batches():
            step(frames, labels, 1)
            yield len(frames)

    kinds = {"pipeline": pipeline, "step": bare, "training": training}
    found = {name: Measured() for name in kinds}
    for number in range(rounds + 1):
        for name, run in kinds.items():
            steps = run()
            next(steps)
            found[name].run(steps, seconds)
            steps.close()
        if number == 0:  # graphs are made, caches are warm
            found = {name: Measured() for name in kinds}
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=list(segmenter.NETWORKS), default=segmenter.MINI)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--picture", default="1024x768", help="width and height of the pictures")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of each part of a round")
    options = parser.parse_args()
    width, height = map(int, options.picture.split("x"))
    print(
        f"{options.model} at {options.size}, pictures of {options.picture}, batches of 4, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| pictures | img/s: pipeline | step | training | training / step | CPU ms/img: pipeline | step |")
    print("|---|---|---|---|---|---|---|")
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
            found = measure(Path(folder), config, options.rounds, options.seconds)
            pipeline, step, training = (found[name] for name in ("pipeline", "step", "training"))
            what = "held in memory" if held else "read each time"
            rates = f"{pipeline.rate:.1f} | {step.rate:.1f} | {training.rate:.1f} | {training.rate / step.rate:.2f}"
            print(f"| {what} | {rates} | {pipeline.cost:.1f} | {step.cost:.1f} |", flush=True)


if __name__ == "__main__":
    main()
