"""What training on a million pictures in shards costs: start, examples a second, and memory.

    python benchmarks/shards.py [--pictures=1000000] [--steps=500] [--batch-size=64]

Makes 8×8 PNGs of about 100 bytes with a class each, writes them as `fovea data convert images` does, and reads batches of
them by (seed, epoch, number) as the recipes do, without a shuffle buffer: alone, as one of two workers, and from the middle of
an epoch. Memory is the process' own (RssAnon, what counts against a container with the map of the index): after the imports, after
the start, and at most while it reads.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
from fovea.sdk.convert import _example
from fovea.sdk.tfrecord import Shards
from fovea_api.contract import shards as contract
from fovea_wire.example_pb2 import BytesList, Feature, Int64List

CLASSES = 10
SHARD_BYTES = 16 * 2**20


def make(out: Path, pictures: int) -> None:
    """Shards of 8×8 PNGs: noise around a colour for each class."""
    random = np.random.default_rng(1)
    out.mkdir(parents=True)
    with Shards(out, "data", SHARD_BYTES) as written:
        for number in range(pictures):
            label = number % CLASSES
            pixels = np.full((8, 8, 3), label * 20, np.uint8)
            pixels[random.integers(0, 8, 4), random.integers(0, 8, 4)] = random.integers(0, 256, 3)
            written.write(
                _example(
                    **{
                        "image/encoded": Feature(bytes_list=BytesList(value=[png(pixels)])),
                        "image/class/label": Feature(int64_list=Int64List(value=[label])),
                    }
                )
            )
            written.label(label)
    (out / contract.CLASSES_FILE).write_text("".join(f"class-{label}\n" for label in range(CLASSES)), encoding="utf-8")


def png(pixels: np.ndarray) -> bytes:
    """uint8 [h, w, 3] as a PNG; an encoder of TensorFlow's for each would take most of the time."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1).tobytes()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def memory() -> float:
    """MiB of this process that no file backs, and of files what is mapped."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssFile"))}
    return (found["RssAnon"] + found["RssFile"]) / 1024


def measure(folder: Path, steps: int, batch_size: int) -> None:
    """One row of the table for each way of reading; in a process of its own, whose memory it is."""
    import tensorflow as tf
    from fovea_trainers.recipes.image_classifier import Config
    from fovea_trainers.runtime.strategy import Shard
    from fovea_trainers.vision import image_folders, image_shards, images
    from fovea_trainers.vision.sets import Sets

    tf.zeros([1]) + 1  # what TensorFlow takes for itself at the first use
    imported, began = memory(), time.perf_counter()
    listing = image_shards.scan(folder, image_shards.names(folder))
    flags = Config(image_size=8, cache_images=False)
    found = images.read(listing, flags, fingerprint="")
    parts = image_folders.split(listing, validation_ratio=0.1, test_ratio=0, seed=1)
    sets = Sets(found, listing, flags.image_size, parts["train"], parts["validation"], parts["test"])
    started = time.perf_counter() - began
    print(
        f"{len(listing)} pictures, {sum(listing.sizes) / 2**20:.0f} MiB in {len(listing.shards.names)} shards; "
        f"start {started:.2f} s; memory after the imports {imported:.0f} MiB, after the start {memory():.0f} MiB\n"
    )
    print("| batches | first after s | examples/s | memory at most MiB |\n|---|---|---|---|")
    dataset = sets.training(batch_size, seed=1, distortion=None)
    ways = {
        "all": (0, Shard()),
        "every second, as one of two workers": (0, Shard(1, 2)),
        "from the middle of the epoch on": (sets.steps(batch_size) // 2, Shard()),
    }
    for name, (first, shard) in ways.items():
        began, most, count = time.perf_counter(), 0.0, 0
        batches = iter(dataset(3, first, shard))
        images_, _ = next(batches)
        opened = time.perf_counter() - began
        began = time.perf_counter()
        for _, (images_, _labels) in zip(range(steps), batches, strict=False):
            count += int(images_.shape[0])
            most = max(most, memory()) if count % 6400 < batch_size else most
        batches.close()
        print(f"| {name} | {opened:.2f} | {count / (time.perf_counter() - began):.0f} | {most:.0f} |", flush=True)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        measure(given.folder, given.steps, given.batch_size)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="fovea-shards-"))
    try:
        began = time.perf_counter()
        make(folder / "data", given.pictures)
        print(f"written in {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}", flush=True)
        command = [
            sys.executable,
            __file__,
            f"--folder={folder / 'data'}",
            f"--steps={given.steps}",
            f"--batch-size={given.batch_size}",
        ]
        return subprocess.run(command, check=False, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}).returncode
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
