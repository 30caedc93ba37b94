"""The process that enforces NetworkPolicies: what it reads, and when it writes the table."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea_dev.api import ApiError
from fovea_dev.policies import PATHS, Collection, Enforcer
from fovea_dev.progress import StepFailed

POD = {
    "metadata": {"uid": "u1", "name": "a", "namespace": "vision", "labels": {"app": "a"}, "resourceVersion": "5"},
    "spec": {"containers": []},
    "status": {"podIP": "10.244.0.2", "phase": "Running"},
}
POLICY = {
    "metadata": {"uid": "p1", "name": "p", "namespace": "vision", "resourceVersion": "6"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}


class Server:
    """An API server with one list for each path, and the lines of one watch."""

    def __init__(self, **items: list[dict[str, Any]]) -> None:
        self.items = {PATHS[name]: listed for name, listed in items.items()}
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "7"}, "items": self.items.get(path, [])}

    def lines(self, path: str) -> Iterator[str]:
        self.asked.append(path)
        return iter([json.dumps(event) for event in self.events])


def made(server: Server, write: Callable[[str], None]) -> Enforcer:
    enforcer = Enforcer(server, "t", write)  # type: ignore[arg-type]
    for each in enforcer.collections.values():
        each.read()
    return enforcer


def test_nothing_is_written_before_everything_is_known() -> None:
    written: list[str] = []
    enforcer = Enforcer(Server(pods=[POD], policies=[POLICY]), "t", written.append)  # type: ignore[arg-type]
    for name in ("policies", "namespaces"):
        enforcer.collections[name].read()
        enforcer.attempt(again=True)
    assert written == []
    enforcer.collections["pods"].read()
    enforcer.attempt(again=False)
    assert len(written) == 1
    assert "10.244.0.2 : jump" in written[0]


def test_the_table_is_written_when_it_changes_and_when_it_was_not_for_a_while() -> None:
    written: list[str] = []
    enforcer = made(Server(pods=[POD], policies=[POLICY]), written.append)
    enforcer.attempt(again=False)
    enforcer.attempt(again=False)
    assert len(written) == 1
    enforcer.attempt(again=True)
    assert len(written) == 2
    enforcer.collections["policies"].take({"type": "DELETED", "object": POLICY})
    assert enforcer.changed.is_set()
    enforcer.attempt(again=False)
    assert "jump" in written[1]
    assert "jump" not in written[2]


def test_a_table_that_nft_refused_is_written_again() -> None:
    answers: list[bool] = [False, True]
    written: list[str] = []

    def write(rules: str) -> None:
        if not answers.pop(0):
            raise StepFailed("nft: exit code 1")
        written.append(rules)

    enforcer = made(Server(), write)
    enforcer.attempt(again=False)
    enforcer.attempt(again=False)
    assert len(written) == 1


def test_a_watch_goes_on_where_the_list_and_the_last_event_were() -> None:
    server = Server(pods=[POD])
    pods = Collection(server, PATHS["pods"], lambda: None)  # type: ignore[arg-type]
    pods.read()
    moved = {**POD, "metadata": {**POD["metadata"], "resourceVersion": "8"}, "status": {"podIP": "10.244.0.9"}}
    server.events = [
        {"type": "MODIFIED", "object": moved},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
    ]
    pods.watch()
    assert pods.objects == [moved]
    pods.watch()
    assert [path.rpartition("=")[2] for path in server.asked] == ["7", "9"]


def test_what_the_server_does_not_remember_is_read_again() -> None:
    pods = Collection(Server(), PATHS["pods"], lambda: None)  # type: ignore[arg-type]
    pods.read()
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    with pytest.raises(ApiError, match="too old resource version") as raised:
        pods.take(gone)
    assert raised.value.code == 410


def test_a_pod_whose_address_only_the_network_plugin_knows_is_isolated_and_let_in(tmp_path: Path) -> None:
    """The kubelet says no address while the hook of a sidecar runs: a pod that fetches meanwhile would be a stranger."""
    kept = {"ifName": "eth0", "cniArgs": [["K8S_POD_UID", "u1"]], "result": {"ips": [{"address": "10.244.0.9/16"}]}}
    (tmp_path / "network-1-eth0").write_text(json.dumps(kept))
    (tmp_path / "network-1-lo").write_text(json.dumps({**kept, "ifName": "lo"}))
    (tmp_path / "being-written").write_text("{")
    written: list[str] = []
    server = Server(pods=[{**POD, "status": {"phase": "Pending"}}], policies=[POLICY])
    enforcer = Enforcer(server, "t", written.append, tmp_path)  # type: ignore[arg-type]
    for each in enforcer.collections.values():
        each.read()
    enforcer.attempt(again=False)
    assert "10.244.0.9 : jump" in written[0]
