"""A model behind the gateway of the local cluster, and its clients."""

import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from fovea_wire import methods, model_pb2, predict_pb2, tensors
from support import installed_gateway, local_models
from support.installed_gateway import gateway
from support.local_jobs import machine_type
from support.local_models import SIGNATURE, place, register
from support.polling import until

NAMESPACE = "vision"


class Served:
    """One model with several versions, of which the first is served."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.name, self.folder = cluster, f"t{uuid.uuid4().hex[:8]}", folder
        self.host = f"{self.name}.{NAMESPACE}.svc"
        self.grpc = self.rest = ""
        self.versions: set[int] = set()

    def begin(self, versions: int = 2, mebibytes: int = 0) -> None:
        """Register versions that answer, and are so large beside; serve the first one."""
        self.cluster.apply(machine_type(self.name, memory="1Gi"))
        for number in range(1, versions + 1):
            self.add(bias=float(number), extra=mebibytes << 20)
        spec = {"version": 1, "service": {}, "rollout": {"drainSeconds": 10}}
        self.cluster.apply(local_models.model_deployment(self.name, self.name, self.name, **spec))
        self.serves(1)
        self.grpc = installed_gateway.address(self.cluster, "8500")
        self.rest = installed_gateway.address(self.cluster, "8501")

    def add(self, *, extra: int = 0, **behaving: Any) -> int:
        """Register one more version, with these faults (`tiny_model.save_behaving`) and a file of so many bytes; its number."""
        from support.tiny_model import save_behaving

        folder = self.folder / str(len(list(self.folder.iterdir())))
        save_behaving(folder, **behaving)
        if extra:
            (folder / "assets.extra").mkdir()
            (folder / "assets.extra/random").write_bytes(os.urandom(extra))
        # The number of a version that was deleted may be given again.
        number = int(register(self.cluster, self.name, folder).rpartition("-v")[2])
        self.versions.add(number)
        return number

    def status(self) -> dict[str, Any]:
        """Of the ModelDeployment."""
        found: dict[str, Any] = self.cluster.get("modeldeployment", self.name).get("status", {})
        return found

    def serves(self, version: int) -> None:
        """Wait until the gateway sends all requests to a version."""

        def probe() -> bool:
            stable = place(self.status(), "stable")
            return (stable.get("version"), stable.get("step"), stable.get("weight")) == (version, "Serving", 100)

        try:
            until(probe, seconds=180, what=f"version {version} gets all requests")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(), indent=1)}") from None

    def wants(self, version: int, **rollout: Any) -> None:
        """Ask for a version, with these fields of spec.rollout (None takes one away)."""
        merge = json.dumps({"spec": {"version": version, "rollout": rollout}})
        self.cluster.kubectl("patch", "md", self.name, "-n", NAMESPACE, "--type=merge", "-p", merge)

    def call(self, method: str, payload: bytes, *, host: str = "", metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        """One call of any method, as a client of another host's name where one is given."""
        options = [("grpc.default_authority", host or self.host)]
        with grpc.insecure_channel(self.grpc, options=options) as channel:
            answer: bytes = channel.unary_unary(method)(payload, timeout=20, metadata=metadata)
            return answer

    def request(self, values: int = 1) -> bytes:
        """A prediction of so many values, of four bytes each."""
        request = predict_pb2.PredictRequest(
            model_spec=model_pb2.ModelSpec(name=self.name, signature_name=SIGNATURE),
            inputs={"x": tensors.encode([1.0] * values)},
        )
        return request.SerializeToString()

    def ask(self, *metadata: tuple[str, str], host: str = "", values: int = 1) -> int:
        """The version that answers a prediction."""
        answer = self.call(methods.PREDICT, self.request(values), host=host, metadata=metadata)
        return int(predict_pb2.PredictResponse.FromString(answer).model_spec.version.value)

    def get(
        self, path: str, host: str = "", body: dict[str, Any] | None = None, seconds: float = 20
    ) -> tuple[int, str]:
        """Code and text of a REST answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.rest}{path}", data, {"Host": host or self.host})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def remove(self) -> None:
        """Delete what was made."""
        quiet = ("--ignore-not-found", "--wait=false")
        self.cluster.kubectl("delete", "modeldeployment", self.name, "-n", NAMESPACE, *quiet)
        named = [f"{self.name}-v{number}" for number in self.versions]
        self.cluster.kubectl("delete", "modelversion", *named, "-n", NAMESPACE, *quiet)
        self.cluster.kubectl("delete", "machinetype", self.name, *quiet)


@contextmanager
def model(cluster: Any, folder: Path, *settings: str) -> Iterator[Served]:
    """While the gateway is there, with these values of the chart: a model that serves the first of two versions."""
    with gateway(cluster, *settings):
        made = Served(cluster, folder)
        try:
            made.begin()
            yield made
        finally:
            made.remove()
