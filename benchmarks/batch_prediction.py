"""Batch prediction: the rate of `fovea-batch` on pictures, beside the bare model in one process on the same pictures.

    python benchmarks/batch_prediction.py [--pictures 512] [--rounds 5] [--batch-size N]

The model has three convolutions and takes encoded pictures (a JPEG of 320x240, as for the model server). `fovea-batch` runs as a
process of its own; this script plays the agent: it lets a shard appear by rename, waits for the answer and removes it. The bare
model runs in this process, with as many pictures in a run and as many runs at once, and its outputs are dropped. Rounds of both
alternate, because the machine may be busy with other things; the table shows medians, and each round's share by itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fovea_api.contract import batch
from fovea_api.contract.batch import Shard, Summary
from fovea_serving.batch.sizes import default_batch_size
from served import model

POLL = 0.002
START_SECONDS = 120


@dataclass(frozen=True)
class Setting:
    """What both have in common."""

    folder: Path
    pictures: int
    batch_size: int
    runners: int


def bare(setting: Setting, picture: bytes) -> Callable[[], float]:
    """Pictures a second of the model alone, for one round."""
    from fovea_serving.server.servable import SessionSettings, load

    servable = load(setting.folder / "model", SessionSettings())
    signature = servable.signatures["serving_default"]
    outputs = tuple(signature.outputs)
    sizes = [min(setting.batch_size, setting.pictures - at) for at in range(0, setting.pictures, setting.batch_size)]

    def run(size: int) -> None:
        feed = np.empty(size, dtype=object)
        feed[:] = [picture] * size
        servable.run(signature, [feed], outputs)

    pool = ThreadPoolExecutor(setting.runners)

    def measured() -> float:
        started = time.perf_counter()
        list(pool.map(run, sizes))
        return setting.pictures / (time.perf_counter() - started)

    return measured


def played_agent(setting: Setting, picture: bytes) -> Callable[[], float]:
    """Pictures a second of `fovea-batch`, for one round: from the shard's appearance to the answer's."""
    work, staged = setting.folder / "work", setting.folder / "staged"
    original = setting.folder / "picture.jpg"
    original.write_bytes(picture)
    names = tuple(f"{number}.jpg" for number in range(setting.pictures))
    files = tuple(f"{number:06d}" for number in range(setting.pictures))
    rounds = iter(range(1 << 30))

    def measured() -> float:
        number = next(rounds)
        (staged / batch.RECORDS).mkdir(parents=True)
        for file in files:
            (staged / batch.RECORDS / file).hardlink_to(original)
        (staged / batch.SHARD_FILE).write_text(Shard(number, number + 1, files, names).to_json())
        answer = work / batch.ANSWERS / str(number)
        started = time.perf_counter()
        staged.rename(work / batch.SHARDS / str(number))
        while not answer.exists():
            if time.perf_counter() - started > START_SECONDS:
                raise SystemExit(f"no answer within {START_SECONDS} s: see {setting.folder / 'program.log'}")
            time.sleep(POLL)
        seconds = time.perf_counter() - started
        summary = Summary.from_json((answer / batch.SUMMARY_FILE).read_text())
        if (summary.records, summary.errors) != (setting.pictures, 0):
            raise SystemExit(f"{summary}: not every picture was answered")
        shutil.rmtree(answer)
        return setting.pictures / seconds

    return measured


def measure(setting: Setting, rounds: int) -> list[tuple[float, float]]:
    """Pictures a second of the program and of the bare model, round by round; the first round of each warms up."""
    picture = model.picture()
    model.save_cnn3(setting.folder / "model")
    for name in (batch.SHARDS, batch.ANSWERS):
        (setting.folder / "work" / name).mkdir(parents=True)
    command = [sys.executable, "-m", "fovea_serving.batch.main", "--model", str(setting.folder / "model")]
    command += ["--input-format", batch.IMAGES, "--output-format", batch.JSONL]
    command += ["--work", str(setting.folder / "work"), "--batch-size", str(setting.batch_size)]
    with (setting.folder / "program.log").open("wb") as log:
        program = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        both = played_agent(setting, picture), bare(setting, picture)
        return [(both[0](), both[1]()) for _ in range(rounds + 1)][1:]
    finally:
        program.kill()
        program.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512, help="in a round, which is one shard (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in turns (%(default)s)")
    parser.add_argument("--batch-size", type=int, help="pictures in one run (fovea-batch's own default)")
    options = parser.parse_args()
    from fovea_serving.server.config_files import default_runners

    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        size = options.batch_size or default_batch_size(cores)
        setting = Setting(Path(name), options.pictures, size, default_runners(cores))
        found = measure(setting, options.rounds)
    print(
        f"{options.pictures} pictures in a shard, {setting.batch_size} in a run, {setting.runners} runs at once; ",
        end="",
    )
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    print("| round | fovea-batch pictures/s | bare model pictures/s | share |\n|---|---|---|---|")
    for number, (program, alone) in enumerate(found, 1):
        print(f"| {number} | {program:.0f} | {alone:.0f} | {program / alone:.0%} |")
    medians = [statistics.median(column) for column in zip(*found, strict=True)]
    share = statistics.median(program / alone for program, alone in found)
    print(f"| median | {medians[0]:.0f} | {medians[1]:.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
