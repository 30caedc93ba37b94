"""The main job, end to end: a cluster, Fovea installed, handwritten digits trained, rolled out and classified over gRPC and REST.

Every step is a command that a user would type; it is shown and then run. Safe to interrupt and to run again: a job that is still running is
waited for, a job that has ended is submitted again and its model becomes the next version, rolled out while the old one serves.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deploy import NAMESPACE_OF_TEAM, ROOT, Deployment

JOB = "digits"
MANIFEST = ROOT / "examples/digits.yaml"
WANTED_ACCURACY = 0.95
DEADLINE_SECONDS = 1200


class Demo:
    """The steps, each with the commands it shows."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.start = time.monotonic()

    def step(self, text: str) -> None:
        """Say what comes next."""
        print(f"\n\033[1m▸ {text}\033[0m  ({time.monotonic() - self.start:.0f} s)", flush=True)

    def type(self, *command: str, quiet: bool = False) -> str:
        """Show a command, run it, let its output through; returns its standard output when quiet."""
        shown = [str(Path(word).relative_to(ROOT)) if word.startswith(str(ROOT)) else word for word in command]
        if not quiet:
            print(f"$ {shlex.join(shown)}", flush=True)
        done = subprocess.run(
            command,
            env=self.deployment.environment(),
            cwd=ROOT,
            check=False,
            stdout=subprocess.PIPE if quiet else None,
            text=True,
        )
        if done.returncode != 0:
            sys.exit(f"the demo stops: {shlex.join(shown)} ended with exit code {done.returncode}\n{done.stdout or ''}")
        return done.stdout or ""

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the team's namespace, None when there is none."""
        text = self.type(
            "kubectl", "get", kind, name, "-n", NAMESPACE_OF_TEAM, "-o", "json", "--ignore-not-found", quiet=True
        )
        return json.loads(text) if text.strip() else None

    def data(self) -> Path:
        """Write the pictures and upload them."""
        folder = self.deployment.demo_pictures()
        self.type(sys.executable, str(ROOT / "dev/digits.py"), str(folder))
        self.type("fovea", "data", "upload", str(folder / "train"), "digits", "-n", NAMESPACE_OF_TEAM)
        return folder / "held-out"

    def train(self) -> str:
        """Submit the job, wait for its end; returns the name of the model's version."""
        job = self.get("trainingjob", JOB)
        if job and job.get("status", {}).get("state") in ("SUCCEEDED", "FAILED", "CANCELLED"):
            print(
                f"the job {JOB} of an earlier run has ended: it is deleted and submitted again; its model stays and keeps serving"
            )
            self.type("kubectl", "delete", "trainingjob", JOB, "-n", NAMESPACE_OF_TEAM)
            job = None
        if job is None:
            self.type("fovea", "jobs", "submit", str(MANIFEST))
        self.type("fovea", "jobs", "wait", JOB, "-n", NAMESPACE_OF_TEAM, "--timeout", f"{DEADLINE_SECONDS}s")
        finished = self.get("trainingjob", JOB)
        if finished is None:
            sys.exit(f"the demo stops: the job {JOB} was deleted while it ran")
        return str(finished["status"]["modelVersion"])

    def serve(self, version: str) -> None:
        """Wait until that version serves, reachable from outside of the cluster."""
        number = int(version.rsplit("-v", 1)[1])
        print(f"waiting until version {number} answers and the Service points at it", flush=True)
        deadline, said = time.monotonic() + DEADLINE_SECONDS, ""
        while time.monotonic() < deadline:
            status = (self.get("modeldeployment", JOB) or {}).get("status", {})
            served = [place["version"] for place in status.get("places", ()) if place["role"] == "stable"]
            if served == [number] and status.get("endpoint", {}).get("nodePortGrpc"):
                break
            if status.get("message", said) != said:
                said = status["message"]
                print(f"  {said}", flush=True)
            time.sleep(1)
        else:
            sys.exit(
                f"the demo stops: version {number} did not serve within {DEADLINE_SECONDS} s; see kubectl describe md {JOB} -n {NAMESPACE_OF_TEAM}"
            )
        self.type("kubectl", "get", "trainingjobs,modelversions,modeldeployments,pods", "-n", NAMESPACE_OF_TEAM)

    def classify(self, pictures: Path) -> None:
        """Classify the pictures that were held out, by gRPC, by REST and, after `make gateway`, through the gateway."""
        held_out = [str(path) for path in sorted(pictures.glob("*.png"))]
        self.type("fovea", "predict", "-n", NAMESPACE_OF_TEAM, "--model", JOB, *held_out)
        self.type("fovea", "predict", "-n", NAMESPACE_OF_TEAM, "--model", JOB, "--rest", *held_out)
        if gateway := self.deployment.gateway_address():
            self.type("fovea", "predict", "-n", NAMESPACE_OF_TEAM, "--model", JOB, "--gateway", gateway, *held_out)

    def accuracy(self, version: str) -> float:
        """What the model's record says."""
        record = self.get("modelversion", version) or {}
        return float(record.get("spec", {}).get("metrics", {}).get("accuracy", 0.0))


def main() -> None:
    """Run the demo."""
    deployment = Deployment()
    demo = Demo(deployment)
    demo.step("a cluster, and Fovea's images")
    deployment.cluster()
    demo.step("Fovea, by its Helm chart")
    deployment.install()
    demo.step("1,797 handwritten digits as pictures, into the object store")
    pictures = demo.data()
    demo.step("train")
    version = demo.train()
    demo.step("serve")
    demo.serve(version)
    demo.step("classify three pictures that the training never saw")
    demo.classify(pictures)
    accuracy = demo.accuracy(version)
    print(f"\n{version}: test accuracy {accuracy:.1%}, done in {time.monotonic() - demo.start:.0f} s")
    if accuracy < WANTED_ACCURACY:
        sys.exit(f"the demo failed: test accuracy {accuracy:.1%} is below {WANTED_ACCURACY:.0%}")
    print(
        f"""
Next:
  {deployment.exports()}
  fovea jobs describe {JOB} -n {NAMESPACE_OF_TEAM}
  fovea jobs stream-logs {JOB} -n {NAMESPACE_OF_TEAM}
  fovea versions list -n {NAMESPACE_OF_TEAM}
  kubectl explain trainingjob.spec
  make demo     # again: the next version, rolled out while this one serves
  make down     # leaves nothing behind"""
    )


if __name__ == "__main__":
    main()
