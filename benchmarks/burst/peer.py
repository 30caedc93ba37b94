"""The peer under measure: TFJobs of Kubeflow's training operator, the program built from its Go module.

How it is run, beside what `PEERS` says:
- only the scheme tfjob is on: the controllers of its five other kinds, which would look at every pod too, are not;
- its validating webhook is not registered, so no call of the API server waits for it. The webhook's own server can't be
  switched off: the operator begins only when it has keys. It makes them in a Secret that is there for it, and they are
  put where the kubelet would mount them, a fixed path in the program (so only one can run at a time on a machine);
- it may do anything and needs no leader election, which is off in its own manifests, too.
"""

import base64
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from fovea_dev.api import ApiError
from fovea_dev.apiserver import ApiServer
from fovea_dev.layout import Cache
from fovea_dev.ports import free_ports
from fovea_dev.tools import Tools, module_of
from support.kube_apiserver import path_of

from burst.kinds import JobKind, TFJobs
from burst.process import Command, end, start, wait_ready

PROGRAM = "training-operator"
CRD = "manifests/base/crds/kubeflow.org_tfjobs.yaml"
SECRET = "training-operator-webhook-cert"
KEYS = Path("/tmp/k8s-webhook-server/serving-certs")

PEERS = {
    # As its manifests start it: one worker, 20 calls/s with bursts of 30.
    "tfjob": (),
    "tfjob-tuned": ("--kube-api-qps=500", "--kube-api-burst=500", "--controller-threads=10"),
}


@dataclass(frozen=True)
class Peer:
    """`name` is one of PEERS."""

    name: str
    kind: JobKind = field(default_factory=TFJobs)

    @contextmanager
    def running(self, server: ApiServer, namespace: str) -> Iterator[int]:
        """The process id of an operator that works, on an API server that knows its kind."""
        tools = built()
        install_crd(server, tools.source(module_of(PROGRAM)) / CRD, self.kind)
        secrets = f"/api/v1/namespaces/{namespace}/secrets"
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}}
        server.client.request("POST", secrets, secret)
        log = server.folder / "operator.log"
        metrics, probes, webhook = free_ports(3)
        ports = (
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{probes}",
            f"--webhook-server-port={webhook}",
        )
        words = [str(tools.path(PROGRAM)), "--enable-scheme=tfjob", *ports, *PEERS[self.name]]
        variables = {"KUBECONFIG": str(server.kubeconfig), "MY_POD_NAMESPACE": namespace, "TMPDIR": "/tmp"}
        process = start(Command(words, {**os.environ, **variables}), log)
        try:
            mount_keys(server, f"{secrets}/{SECRET}", log)
            wait_ready(process, f"http://127.0.0.1:{probes}/readyz", log)
            yield process.pid
        finally:
            end(process)
            shutil.rmtree(KEYS.parent, ignore_errors=True)


def built() -> Tools:
    """The tools with the peer's program, which is built the first time it is asked for."""
    tools, module = Tools(Cache.from_environment()), module_of(PROGRAM)
    tools.build(module)
    return tools


def install_crd(server: ApiServer, path: Path, kind: JobKind, seconds: float = 60) -> None:
    """Apply a CRD and wait until its kind is served."""
    crd = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    server.client.apply(path_of(crd), crd)
    deadline = time.monotonic() + seconds
    while True:
        try:
            server.client.get(f"/apis/{kind.api_version}/{kind.plural}")
        except ApiError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def mount_keys(server: ApiServer, secret: str, log: Path, seconds: float = 60) -> None:
    """What the kubelet would do: the Secret's entries as files, once the operator has filled it."""
    deadline = time.monotonic() + seconds
    while not (data := server.client.get(secret).get("data")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the operator has made no keys\n{log.read_text()[-2000:]}")
        time.sleep(0.2)
    KEYS.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The operator looks for tls.crt to know that all is there.
    for name, value in sorted(data.items(), key=lambda entry: entry[0] == "tls.crt"):
        (KEYS / name).write_bytes(base64.b64decode(value))
