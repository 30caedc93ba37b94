"""What of a training run's time goes into checkpoints."""

import json
import os
import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from support.local_jobs import machine_type, program_job

from local.cluster import NAMESPACE, Local, wait

CHECKPOINT_STEPS = 100

TIMED = """
import json, sys, time
from fovea_trainers.main import main
from fovea_trainers.runtime.checkpoints import Checkpoints

save, moments = Checkpoints.save, []

def timed(self, *saved):
    begun = time.monotonic(), time.process_time()
    result = save(self, *saved)
    moments.append((*begun, time.monotonic(), time.process_time()))
    return result

Checkpoints.save = timed
code = main(sys.argv[1:])
print('moments', json.dumps(moments), flush=True)
sys.exit(code)
"""
"""The recipe with a clock around each checkpoint: wall and processor time at its begin and its end."""


def checkpoint(local: Local, *, quick: bool) -> None:
    """What of a run's time goes into checkpoints: a clock around each of them, so that both sides see the same load.

    To the trainer's own part (writing and flushing) comes what the sidecar uses to hash and upload beside the training.
    """
    epochs = 9 if quick else 41
    job, machine = f"{local.word}-checkpoint", machine_type(f"{local.word}-checkpoint", cpu="500m", memory="3Gi")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        _write_pictures(folder, classes=10, per_class=80)
        local.fovea("data", "upload", str(folder), local.word, "-n", NAMESPACE, "--quiet")
    flags = {"image-size": 64, "batch-size": 8, "validation-ratio": 0, "augment": False, "early-stopping": False}
    words = [f"--{flag}={str(value).lower()}" for flag, value in (flags | {"epochs": epochs}).items()]
    inputs = {"data": f"s3://fovea/{NAMESPACE}/datasets/{local.word}"}
    image = local.images["fovea-tensorflow"]
    every = {"everySteps": CHECKPOINT_STEPS}
    recipe = ("image-classifier", *words)
    manifest = program_job(job, image, machine["metadata"]["name"], TIMED, *recipe, inputs=inputs, checkpoint=every)
    sidecar: list[float] = []

    def ended() -> bool:
        read = ("exec", f"{job}-chief-0-0", "-n", NAMESPACE, "-c", "fovea-sync", "--", "cat", "/proc/1/stat")
        stat = subprocess.run(["kubectl", *read], env=local.environment, capture_output=True, text=True, check=False)
        if stat.returncode == 0:  # else it has not begun yet, or has ended
            used = stat.stdout.rpartition(")")[2].split()
            sidecar.append((int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK"))
        return "endTime" in local.get("trainingjob", job).get("status", {})

    with local.made(machine, manifest):
        wait(ended, 900, f"the end of {job}", 2)
        status = local.get("trainingjob", job)["status"]
        if status["state"] != "SUCCEEDED":
            raise SystemExit(f"{job}: {status['message']}")
        said = {
            name: local.kubectl("logs", f"{job}-chief-0-0", "-n", NAMESPACE, "-c", name)
            for name in ("trainer", "fovea-sync")
        }
    _report_checkpoints(said["trainer"], said["fovea-sync"], sidecar[-1] - sidecar[0])


def _write_pictures(folder: Path, *, classes: int, per_class: int) -> None:
    random = np.random.default_rng(0)
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number}.png")


def _report_checkpoints(trainer: str, sidecar: str, sidecar_cpu: float) -> None:
    found = re.search(r"^moments (.*)$", trainer, flags=re.MULTILINE)
    if found is None:
        raise SystemExit(f"the trainer said no moments:\n{trainer}")
    moments = [[float(value) for value in moment] for moment in json.loads(found.group(1))]
    # The first stretch of steps traces the graph: it is left out.
    count = len(moments) - 1
    wall, cpu = (_spent(moments, begun, ended) for begun, ended in ((0, 2), (1, 3)))
    uploads = [float(seconds) for seconds in re.findall(r'/checkpoints/\d+".*"seconds": ([\d.]+)', sidecar)]
    print(
        f"\n### Checkpoints (image-classifier 64×64, batch 8, {count} checkpoints, one every {CHECKPOINT_STEPS} steps)\n"
    )
    print("| | ms/step | ms/checkpoint | of step time |\n|---|---|---|---|")
    beside = Spent(sidecar_cpu, cpu.others)
    rows = (("trainer, wall time", wall), ("trainer, processor time", cpu), ("sidecar, processor time", beside))
    for what, one in rows:
        step, each = one.others / count / CHECKPOINT_STEPS * 1e3, one.saving / count * 1e3
        print(f"| {what} | {step:.2f} | {each:.1f} | {one.saving / one.others:.1%} |")
    upload = statistics.median(uploads) * 1e3
    print(f"\n{len(uploads)} were uploaded, {upload:.0f} ms each (median), while training went on")


@dataclass(frozen=True)
class Spent:
    """Seconds in checkpoints, and in everything between them."""

    saving: float
    others: float


def _spent(moments: list[list[float]], begun: int, ended: int) -> Spent:
    whole = moments[-1][ended] - moments[0][ended]
    saving = sum(moment[ended] - moment[begun] for moment in moments[1:])
    return Spent(saving, whole - saving)
