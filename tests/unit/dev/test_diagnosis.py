"""What is printed when the cluster does not get ready: a stale address or a dead process must be seen in it."""

from pathlib import Path
from typing import Any

import pytest
from fovea_dev import diagnosis as looking
from fovea_dev.api import Api, ApiError
from fovea_dev.diagnosis import diagnosis
from fovea_dev.processes import Processes, Program

POD: dict[str, Any] = {
    "metadata": {"namespace": "kube-system", "name": "coredns-1"},
    "status": {
        "phase": "Running",
        "podIP": "10.244.0.3",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "12:00:01"}],
        "containerStatuses": [
            {
                "name": "coredns",
                "restartCount": 2,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {},
            }
        ],
    },
}
SLICE = {
    "metadata": {"namespace": "kube-system", "name": "kube-dns-x"},
    "endpoints": [{"addresses": ["10.244.0.2"], "conditions": {"ready": True}}],
}
NODE = {
    "metadata": {"name": "fovea"},
    "spec": {"taints": [{"key": "node.kubernetes.io/unreachable"}]},
    "status": {"conditions": [{"type": "Ready", "status": "Unknown", "lastHeartbeatTime": "12:00:00"}]},
}
EVENTS = [
    {
        "metadata": {},
        "lastTimestamp": f"12:{minute:02}:00",
        "involvedObject": {"kind": "Pod", "name": "coredns-1"},
        "reason": "Unhealthy",
        "message": f"at minute {minute}",
    }
    for minute in reversed(range(30))
]
ANSWERS = {
    "/api/v1/nodes": [NODE],
    "/api/v1/pods": [POD],
    "/api/v1/namespaces/kube-system/pods": [POD],
    "/apis/discovery.k8s.io/v1/endpointslices": [SLICE],
    "/api/v1/events": EVENTS,
}


class PlayedApi(Api):
    """Answers from a table; what is not in it is refused."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.answers:
            raise ConnectionRefusedError(f"nobody listens: {path}")
        return {"items": self.answers[path]}

    def text(self, path: str) -> str:
        raise ApiError(f"GET {path}: 404: no such container", 404)


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    rules = "table ip kube-proxy {\n chain endpoint-kube-system/kube-dns/udp/dns-udp__10.244.0.2/5353\n chain other\n}"
    monkeypatch.setattr(looking, "output", lambda _: rules)
    return Processes(tmp_path / "pids", tmp_path / "logs")


def test_objects_rules_and_logs_are_shown(processes: Processes) -> None:
    processes.ensure(Program("kube-controller-manager", ["sh", "-c", "echo Error building controller context; exit 1"]))
    while processes.identity("kube-controller-manager") is not None:
        pass
    text = diagnosis(PlayedApi(ANSWERS), processes, ["kube-controller-manager"])
    assert "fovea, Ready=Unknown at 12:00:00, taint node.kubernetes.io/unreachable" in text
    assert "kube-system/coredns-1 Running 10.244.0.3, Ready=False since 12:00:01" in text
    assert "restarts 2, {'waiting': {'reason': 'CrashLoopBackOff'}}" in text
    assert "kube-system/kube-dns-x: ['10.244.0.2'] {'ready': True}" in text
    assert "kube-dns/udp/dns-udp__10.244.0.2/5353" in text
    assert "chain other" not in text
    assert "12:29:00 Pod coredns-1: Unhealthy: at minute 29" in text
    assert text.index("at minute 28") < text.index("at minute 29")
    assert "at minute 9\n" not in text, "the last 20 events"
    assert "cannot be read: GET /api/v1/namespaces/kube-system/pods/coredns-1/log" in text
    assert "kube-controller-manager does not run; " in text
    assert text.endswith("  | Error building controller context")


def test_without_an_api_server_the_logs_are_shown_all_the_same(processes: Processes) -> None:
    text = diagnosis(PlayedApi({}), processes, ["kubelet"])
    assert text.count("cannot be read: nobody listens") == 5
    assert "kubelet does not run" in text
