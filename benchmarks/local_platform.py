"""The whole platform on the local cluster: a job's way to RUNNING, what a checkpoint costs, a model server behind its NodePort,
and a rollout under load.

    python benchmarks/local_platform.py [--only start,checkpoint,serving,rollout] [--quick]

(Not called platform.py: a script's own folder comes first on the import path, and that name is the standard library's.)
Everything it makes has a name of its own and is deleted at the end; what is measured runs in the team namespace `vision`.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "dev", "benchmarks")]
# ruff: noqa: E402 - what stands in tests/, dev/ and benchmarks/ is no distribution

import numpy as np
from deploy import Deployment
from fovea_api.contract import labels
from PIL import Image
from support import local_models
from support.local_jobs import machine_type, program_job

NAMESPACE = "vision"
WAITS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); time.sleep(3600)"
CHECKPOINT_STEPS = 100
DRAIN_SECONDS = 45
POLL_SECONDS = 0.05


class Local:
    """The cluster of `make up` with Fovea installed, as a user reaches it."""

    def __init__(self) -> None:
        self.deployment = Deployment()
        self.deployment.cluster()
        self.deployment.install(namespaces=(NAMESPACE,))
        self.environment = self.deployment.environment()
        self.word = f"b{uuid.uuid4().hex[:7]}"
        self.images = self.deployment.images()

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Standard output of a command; ends the benchmark when it fails."""
        done = subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of kubectl."""
        return self.run("kubectl", *arguments, stdin=stdin)

    def fovea(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return subprocess.CompletedProcess(arguments, 0, self.run("fovea", *arguments), "")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object; empty when there is none."""
        text = self.kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def list(self, kind: str, namespace: str = NAMESPACE, selector: str = "") -> list[dict[str, Any]]:
        """Objects of a kind."""
        found: list[dict[str, Any]] = json.loads(
            self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        )["items"]
        return found

    def apply(self, manifest: dict[str, Any]) -> None:
        """kubectl apply."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    @contextlib.contextmanager
    def made(self, *manifests: dict[str, Any]) -> Iterator[None]:
        """Objects that are there for a while."""
        try:
            for manifest in manifests:
                self.apply(manifest)
            yield
        finally:
            for manifest in reversed(manifests):
                kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
                self.kubectl("delete", kind, name, "-n", NAMESPACE, "--ignore-not-found", "--wait=false")


def wait(probe: Callable[[], bool], seconds: float, what: str, every: float = 0.5) -> None:
    """Poll; ends the benchmark after so many seconds."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


# -- submit -> RUNNING --------------------------------------------------------------------------------------------------


def start(local: Local, *, quick: bool) -> None:
    """Jobs one after the other, beside bare pods of the same image: what Fovea adds is the difference."""
    from fovea.sdk import Client

    os.environ["KUBECONFIG"] = local.environment["KUBECONFIG"]
    client = Client(namespace=NAMESPACE)
    count = 3 if quick else 10
    machine = machine_type(f"{local.word}-start")
    with local.made(machine):
        jobs, pods = [], []
        for number in range(count):
            name = f"{local.word}-{number}"
            jobs.append(_seconds_to_running(local, client, name, machine["metadata"]["name"]))
            pods.append(_seconds_of_a_bare_pod(local, client, f"{name}-bare"))
    print(f"\n### Submit → RUNNING ({count} jobs in a row, no inputs)\n")
    print("| | p50 s | max s |\n|---|---|---|")
    print(f"| TrainingJob: POST until the status says RUNNING | {statistics.median(jobs):.2f} | {max(jobs):.2f} |")
    print(f"| bare pod of the same image: POST until Running | {statistics.median(pods):.2f} | {max(pods):.2f} |")


def _seconds_to_running(local: Local, client: Any, name: str, machine: str) -> float:
    manifest = program_job(name, local.images["fovea"], machine, WAITS)
    try:
        begun = time.monotonic()
        client.jobs.kinds.create(manifest)

        def running() -> bool:
            return bool(client.jobs.kinds.get(name).get("status", {}).get("state") == "RUNNING")

        wait(running, 180, f"job {name} is RUNNING", POLL_SECONDS)
        return time.monotonic() - begun
    finally:
        local.kubectl("delete", "trainingjob", name, "-n", NAMESPACE, "--ignore-not-found")
        selector = f"{labels.JOB}={name}"
        wait(lambda: not local.list("pods", selector=selector), 90, f"no pod of {name}")


def _seconds_of_a_bare_pod(local: Local, client: Any, name: str) -> float:
    from fovea.sdk.api_errors import Target

    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    container = {"name": "main", "image": local.images["fovea"], "command": ["python", "-c", WAITS]}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]},
    }
    target = Target("get", "Pod", "pods", NAMESPACE, name, ours=False)
    try:
        begun = time.monotonic()
        client.cluster.create(target, path, manifest)
        wait(
            lambda: client.cluster.get(target, f"{path}/{name}")["status"].get("phase") == "Running",
            120,
            f"pod {name} runs",
            POLL_SECONDS,
        )
        return time.monotonic() - begun
    finally:
        local.kubectl("delete", "pod", name, "-n", NAMESPACE, "--ignore-not-found", "--grace-period=1")


# -- checkpoints --------------------------------------------------------------------------------------------------------


TIMED = """
import json, sys, time
from fovea_trainers.main import main
from fovea_trainers.runtime.checkpoints import Checkpoints

save, moments = Checkpoints.save, []

def timed(self, position):
    begun = time.monotonic(), time.process_time()
    result = save(self, position)
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


# -- the model server behind its NodePort -------------------------------------------------------------------------------


def serving(local: Local, *, quick: bool) -> None:
    """The model of benchmarks/model_server.py, served as users' models are, asked through the NodePort."""
    import model_server

    seconds, rounds = (2.0, 1) if quick else (5.0, 3)
    name, machine = f"{local.word}-serving", machine_type(f"{local.word}-serving", cpu="500m", memory="2Gi")
    deployment = local_models.model_deployment(name, name, name)
    with tempfile.TemporaryDirectory() as folder:
        model_server.save_cnn3(Path(folder) / "model")
        version = local_models.register(local, name, Path(folder) / "model")
        image = model_server.picture()
        payload = Path(folder) / "request.bin"
        payload.write_bytes(_request(name, image))
        with local.made(machine, deployment):
            local_models.serves(local, name, 1)
            where = local_models.address(local, name)
            _load(where, payload, 32, 1.0)
            found = {count: [_load(where, payload, count, seconds) for _ in range(rounds)] for count in (1, 8, 32)}
        local.kubectl("delete", "modelversion", version, "-n", NAMESPACE)
    print(f"\n### Model server through its NodePort (cnn3, one JPEG of {len(image) / 1000:.0f} KB in each request)\n")
    print("| clients | req/s | p50 ms | p99 ms |\n|---|---|---|---|")
    for count, measured in found.items():
        rate, p50, p99 = (statistics.median(one[key] for one in measured) for key in ("rate", "p50", "p99"))
        print(f"| {count} | {rate:.0f} | {p50:.1f} | {p99:.1f} |")


def _request(model: str, image: bytes) -> bytes:
    from fovea.wire import model_pb2, predict_pb2, tensors

    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=model), inputs={"image": tensors.encode([image])}
    )
    return bytes(request.SerializeToString())


def _load(where: str, payload: Path, clients: int, seconds: float) -> dict[str, float]:
    script = ROOT / "benchmarks/model_server.py"
    command = [sys.executable, str(script), "--load", where, "--payload", str(payload)]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# -- a rollout under load -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """What the clients saw until some moment."""

    what: str
    seconds: float
    requests: int
    failed: int


def rollout(local: Local, *, quick: bool) -> None:
    """Version 2 takes over from 1 and 1 drains; then 2 is rejected and 1 comes back. Plain clients without retries."""
    name, machine = f"{local.word}-rollout", machine_type(f"{local.word}-rollout", memory="1Gi")
    wanted = {"drainSeconds": DRAIN_SECONDS}
    deployment = local_models.model_deployment(name, name, name, rollout=wanted)
    phases: list[Phase] = []
    with tempfile.TemporaryDirectory() as folder, local.made(machine, deployment):
        first, second = (local_models.save(Path(folder) / bias, bias=float(bias)) for bias in ("1", "2"))
        versions = [local_models.register(local, name, first)]
        local_models.serves(local, name, 1)
        with local_models.Load(name, local_models.address(local, name), pause_seconds=0.0) as load:
            begun = time.monotonic()

            def phase(what: str) -> None:
                phases.append(Phase(what, time.monotonic() - begun, sum(load.answers.values()), len(load.failures)))

            time.sleep(5)
            phase("version 1 alone")
            versions.append(local_models.register(local, name, second))
            local_models.serves(local, name, 2)
            phase("version 2 starts and takes over")
            old = f"{labels.DEPLOYMENT}={name},{labels.VERSION}=1"
            wait(lambda: not local.list("pods", selector=old), DRAIN_SECONDS + 150, "version 1 is gone", 1)
            phase("version 1 drains and goes")
            if not quick:
                local.fovea("versions", "reject", versions[1], "-n", NAMESPACE)
                local_models.serves(local, name, 1)
                phase("version 2 is rejected, version 1 takes over")
        local.kubectl("delete", "modelversion", *versions, "-n", NAMESPACE)
    print("\n### Rollout under load (8 connections, no pause, no retry policy)\n")
    print("| until | s | requests | failed |\n|---|---|---|---|")
    for one in phases:
        print(f"| {one.what} | {one.seconds:.0f} | {one.requests} | {one.failed} |")
    print(f"\nslowest answer {load.slowest_seconds:.2f} s; failures: {sorted(set(load.failures)) or 'none'}")


PARTS = {"start": start, "checkpoint": checkpoint, "serving": serving, "rollout": rollout}


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, comma-separated: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: does it work, not how fast is it")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    local = Local()
    for part in options.only.split(","):
        PARTS[part](local, quick=options.quick)
        print(f"<!-- load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores -->", flush=True)


if __name__ == "__main__":
    main()
