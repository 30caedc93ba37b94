"""What a large data set costs the trainer before its first step, and how soon it hears SIGTERM meanwhile.

    python benchmarks/trainer_start.py                        # 1,000,000 pictures in 100 class folders
    python benchmarks/trainer_start.py --classes 10000        # the same in more folders
    python benchmarks/trainer_start.py --flat                 # in one folder, with names as Kaggle's: class-7.123.jpg

The pictures are hard links to one small JPEG for each 10,000 of a class, and fresh in the
system's cache. `image-classifier` runs with its default flags up to the first checkpoint, which is that of the first step;
beside it a run on 1,000 pictures: the difference is the data set's size. CPU and memory are those of `fovea-train` and its
child, by wait4: what depends less on the machine's load than times do.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fovea_api.contract import environment
from PIL import Image

_LINKS = 10_000
"""To one file: file systems allow some ten thousand."""
_SMALL = 1000


@dataclass(frozen=True)
class Ended:
    """A run that was ended by a signal, and what it took."""

    code: int
    wall: float
    cpu: float
    rss: float
    """Peak, in MiB."""
    latency: float
    """Seconds from the signal to the end."""
    latency_cpu: float
    """CPU seconds of these: on a machine with other work, what a quiet one would take."""


def write(folder: Path, files: int, classes: int, *, flat: bool) -> None:
    """Pictures of that many classes."""
    folder.mkdir()
    for label in range(classes):
        below = folder if flat else folder / f"class-{label:05}"
        below.mkdir(exist_ok=True)
        source = below
        for number in range(label, files, classes):
            place = number // classes
            path = below / (f"class-{label:05}.{place:07}.jpg" if flat else f"{place:07}.jpg")
            if place % _LINKS == 0:
                Image.new("RGB", (32, 32), (label % 256, 128, place % 251)).save(path)
                source = path
            else:
                path.hardlink_to(source)


def run(root: Path, data: Path, until: Callable[[float], bool]) -> Ended:
    """Train in `root` until something is so (it is given the seconds so far), then send SIGTERM."""
    shutil.rmtree(root, ignore_errors=True)
    names = (environment.CHECKPOINT_DIR, environment.MODEL_DIR, environment.OUTPUT_DIR, environment.LOG_DIR)
    variables = {name: str(root / name.lower()) for name in names}
    variables |= {environment.PROGRESS_FILE: str(root / "progress.jsonl"), environment.INPUT_DIR: str(root / "inputs")}
    command = [sys.executable, "-m", "fovea_trainers", "image-classifier", f"--data={data}"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--checkpoint-every-steps=1"],
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not until(time.monotonic() - began):
        if process.poll() is not None:
            raise SystemExit(f"it ended too early: {process.communicate()[1]}")
        time.sleep(0.01)
    sent, before = time.monotonic(), sum(map(cpu_of, (process.pid, child_of(process.pid))))
    process.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(process.pid, 0)
    latency = time.monotonic() - sent
    process.returncode = os.waitstatus_to_exitcode(status)
    process.communicate()
    after = used.ru_utime + used.ru_stime
    return Ended(process.returncode, sent - began, before, used.ru_maxrss / 1024, latency, after - before)


def child_of(pid: int) -> int:
    """The trainer behind its parent; the parent itself before it has forked."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return int(text.split()[0]) if text else pid


def cpu_of(pid: int) -> float:
    """CPU seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def started(root: Path, data: Path) -> Ended:
    """A run up to its first step."""
    first = root / environment.CHECKPOINT_DIR.lower() / "1"
    return run(root, data, lambda _: first.exists())


def measure(arguments: argparse.Namespace, scratch: Path) -> None:
    """Print the tables."""
    form = "flat names" if arguments.flat else f"{arguments.classes} class folders"
    large, small = scratch / "large", scratch / "small"
    began = time.monotonic()
    write(large, arguments.files, arguments.classes, flat=arguments.flat)
    write(small, max(_SMALL, 4 * arguments.classes), arguments.classes, flat=arguments.flat)
    print(f"wrote {arguments.files:,} pictures in {time.monotonic() - began:.0f} s\n", flush=True)
    print("| up to the first step | wall s | CPU s | peak RSS MiB |\n|---|---|---|---|")
    base = started(scratch / "run", small)
    print(f"| {max(_SMALL, 4 * arguments.classes):,} pictures | {base.wall:.1f} | {base.cpu:.1f} | {base.rss:.0f} |")
    whole = started(scratch / "run", large)
    print(f"| {arguments.files:,} in {form} | {whole.wall:.1f} | {whole.cpu:.1f} | {whole.rss:.0f} |", flush=True)
    print("\n| SIGTERM after s (CPU s) | exit code | s until the end | CPU s until the end |\n|---|---|---|---|")
    for part in range(1, arguments.signals + 1):
        after = whole.wall * part / (arguments.signals + 1)
        ended = run(scratch / "run", large, lambda now, after=after: now >= after)
        print(
            f"| {ended.wall:.1f} ({ended.cpu:.1f}) | {ended.code} | {ended.latency:.2f} | {ended.latency_cpu:.2f} |",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000, help="pictures (%(default)s)")
    parser.add_argument("--classes", type=int, default=100, help="classes (%(default)s)")
    parser.add_argument("--flat", action="store_true", help="all in one folder, the class in the name")
    parser.add_argument("--signals", type=int, default=8, metavar="N", help="runs that get a SIGTERM (%(default)s)")
    parser.add_argument("--folder", help="where to write (the system's temporary folder)")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(dir=arguments.folder))
    print(f"load average at the beginning: {os.getloadavg()[0]:.1f}")
    try:
        measure(arguments, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
