"""The local cluster as a user reaches it, for as long as something is measured on it."""

import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from deploy import Deployment

NAMESPACE = "vision"


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
    """Poll; ends the benchmark after `seconds`."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
