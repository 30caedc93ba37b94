"""What streaming an input is worth: time to the first step, time for an epoch, and room on the disk, streamed and fetched.

    python benchmarks/streamed_inputs.py [--pictures=4000] [--bytes=20000] [--shards=40] [--rate=10] [--room=8]

Uploads shards to a MinIO of its own, which a proxy slows down to `--rate` MB/s, and runs the containers of a training pod as
processes: fetch, sync and the recipe image-classifier on small pictures (16×16, and bytes that no decoder looks at), one epoch. Streamed, with
room for `--room` shards and a window of half of them. Times begin with fetch; the program's imports are in all of them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "dev", "benchmarks")]
# ruff: noqa: E402 - what stands in tests/ is no distribution

import numpy as np
from fovea.sdk.convert import _example
from fovea.sdk.tfrecord import Shards
from fovea_api.contract import environment, shards
from fovea_api.contract.plan import Input, TrainingPlan
from fovea_wire.example_pb2 import BytesList, Feature, Int64List
from shards import png
from support.object_store import ObjectStore, running_object_store
from support.store_proxy import Request, StoreProxy
from support.training_pod import NAMESPACE, TrainingPod

DATA = f"{NAMESPACE}/datasets/pictures"


def make(out: Path, pictures: int, size: int, count: int) -> None:
    """Training shards of small PNGs of two classes, each filled up to `size` bytes behind its end."""
    random = np.random.default_rng(1)
    out.mkdir()
    with Shards(out, "train", pictures * size // count) as written:
        for number in range(pictures):
            pixels = random.integers(0, 128, (16, 16, 3)).astype(np.uint8) + np.uint8(number % 2 * 100)
            content = png(pixels)
            content += random.bytes(max(0, size - len(content)))
            image = Feature(bytes_list=BytesList(value=[content]))
            label = Feature(int64_list=Int64List(value=[number % 2]))
            written.write(_example(**{"image/encoded": image, "image/class/label": label}))
            written.label(number % 2)
    (out / "classes.txt").write_text("a\nb\n", encoding="utf-8")
    for path in sorted(out.glob("train-00000-*")):  # a validation set of one shard
        shutil.copy(path, out / path.name.replace("train", "validation"))


class SlowStore:
    """A proxy before a store: what is read passes at a rate in bytes a second, over all connections."""

    def __init__(self, store: ObjectStore, sizes: dict[str, int], rate: float) -> None:
        self.proxy, self._sizes, self._rate, self._wire = StoreProxy(store.port), sizes, rate, threading.Lock()
        self.proxy.before = self._slow

    def _slow(self, request: Request) -> None:
        size = self._sizes.get(request.path.rpartition("/")[2], 0)
        if request.method == "GET" and size:
            with self._wire:
                time.sleep(size / self._rate)


def steps_of(pod: TrainingPod) -> int:
    """The newest step that the program has reported."""
    path = pod.work / Path(environment.PROGRESS_PATH).relative_to(environment.WORK_MOUNT)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def on_disk(folder: Path) -> int:
    """Bytes of shards in a folder."""
    total = 0
    for path in folder.glob("*"):
        if shards.is_tfrecord(path.name):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue  # it has just made room for another one
    return total


def measure(pod: TrainingPod, window: int) -> tuple[float, float, float, int]:
    """Seconds of fetch, to the first step and to the end; most bytes of shards on the disk."""
    began = time.perf_counter()
    ended = pod.fetch(seconds=1200)
    assert ended.code == 0, ended
    fetched = time.perf_counter() - began
    pod.start_sync()
    folder = pod.directory(environment.INPUT_DIR) / "data"
    directories = {name: str(pod.directory(name)) for name in environment.DIRECTORIES}
    progress = str(pod.work / Path(environment.PROGRESS_PATH).relative_to(environment.WORK_MOUNT))
    flags = (
        "--image-size=16",
        "--epochs=1",
        "--no-early-stopping",
        "--no-augment",
        "--no-cache-images",
        "--batch-size=16",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "fovea_trainers", "image-classifier", *flags, f"--shuffle-shards={window}"],
        env={**os.environ, **directories, environment.PROGRESS_FILE: progress, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    first, most = 0.0, 0
    while process.poll() is None:
        most = max(most, on_disk(folder))
        if not first and steps_of(pod):
            first = time.perf_counter() - began
        time.sleep(0.02)
    whole = time.perf_counter() - began
    assert process.returncode == 0, process.communicate()[1]
    pod.kill_sync()
    return fetched, first, whole, most


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--bytes", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--rate", type=float, default=10, help="of the store, MB/s")
    parser.add_argument("--room", type=int, default=8, help="shards that may lie on the disk")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fovea-streamed-"))
    try:
        make(folder / "data", given.pictures, given.bytes, given.shards)
        files = {path.name: path for path in (folder / "data").iterdir()}
        sizes = {name: path.stat().st_size for name, path in files.items() if shards.is_tfrecord(name)}
        total, largest = sum(sizes.values()), max(sizes.values())
        with running_object_store(folder / "minio") as store:
            for name, path in files.items():
                store.put(f"{DATA}/{name}", path.read_bytes())
            keys = store.keys(NAMESPACE, folder / "keys")
            slow = SlowStore(store, sizes, given.rate * 1e6)
            with slow.proxy.running():
                (keys / "endpoint").write_text(slow.proxy.endpoint)
                print(
                    f"{given.pictures} pictures, {total / 1e6:.0f} MB in {len(sizes)} shards at {given.rate:g} MB/s; load "
                    f"{os.getloadavg()[0]:.1f}\n\n| input | fetch s | first step s | end of the epoch s | shards on the disk, at most MB |\n"
                    "|---|---|---|---|---|"
                )
                for mode, room in (("fetched", 0), ("streamed", given.room * largest)):
                    (folder / mode).mkdir()
                    item = Input("data", f"s3://{store.bucket}/{DATA}", room=room)
                    plan = TrainingPlan(namespace=NAMESPACE, job=mode, uid=mode, attempt=0)
                    pod = TrainingPod(replace(plan, inputs=(item,)), folder / mode, keys)
                    fetched, first, whole, most = measure(pod, given.room // 2)
                    print(f"| {mode} | {fetched:.1f} | {first:.1f} | {whole:.1f} | {most / 1e6:.0f} |", flush=True)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
