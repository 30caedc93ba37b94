from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fovea_dev.addons import apply_with_address, corefile, dns_objects, host_name_servers, node_is_ready
from fovea_dev.api import ApiError
from fovea_dev.dns_query import is_answered, question

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_only_name_servers_that_a_pod_can_reach_are_taken_over() -> None:
    text = "# comment\nsearch lan\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fd00::1\nnameserver\n"
    assert host_name_servers(text) == ["192.0.2.1"]


def test_other_names_go_to_the_hosts_name_servers_from_a_server_block_of_their_own() -> None:
    cluster, others = corefile(["192.0.2.1", "192.0.2.2"]).split(".:5353 {")
    assert "kubernetes cluster.local" in cluster
    assert "forward" not in cluster
    assert "forward . 192.0.2.1 192.0.2.2" in others


def test_without_name_servers_other_names_do_not_exist_and_the_clusters_still_do() -> None:
    cluster, others = corefile([]).split(".:5353 {")
    assert "template" not in cluster
    assert "rcode NXDOMAIN" in others


def test_another_dns_configuration_is_another_pod_template() -> None:
    def template(configuration: str) -> Any:
        objects = dict(dns_objects("image", configuration))
        return objects["/apis/apps/v1/namespaces/kube-system/deployments/coredns"]["spec"]["template"]

    assert template(corefile(["192.0.2.1"])) == template(corefile(["192.0.2.1"]))
    assert template(corefile(["192.0.2.1"])) != template(corefile(["192.0.2.2"]))


@pytest.mark.parametrize(
    ("sentence", "status", "renewed", "expected"),
    [
        ("ready and renewed since the start", "True", START + timedelta(seconds=1), True),
        ("ready by what a killed kubelet said last", "True", START - timedelta(seconds=1), False),
        ("renewed but not ready", "False", START + timedelta(seconds=1), False),
        ("never renewed", "True", None, False),
    ],
)
def test_a_node_is_ready_when_its_running_kubelet_says_so(
    sentence: str, status: str, renewed: datetime | None, expected: bool
) -> None:
    node = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
    lease = {"spec": {"renewTime": renewed.isoformat().replace("+00:00", "Z")}} if renewed else {}
    assert node_is_ready(node, lease, START) is expected, sentence


def test_a_dns_question_asks_for_one_address() -> None:
    assert question(0x1234, "ab.c.") == bytes.fromhex("1234 0100 0001 0000 0000 0000 02 6162 01 63 00 0001 0001")


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        ("1234 8180 0001 0001 0000 0000", True),
        ("1235 8180 0001 0001 0000 0000", False),
        ("1234 8183 0001 0001 0000 0000", False),
        ("1234 8180 0001 0000 0000 0000", False),
        ("1234 0100 0001 0001 0000 0000", False),
        ("1234", False),
    ],
    ids=["answer", "to another question", "no such name", "no record", "a question itself", "too short"],
)
def test_only_an_answer_with_a_record_counts(packet: str, expected: bool) -> None:
    assert is_answered(bytes.fromhex(packet), 0x1234) is expected


class Taken:
    """An API server that keeps the address of a Service that it never made."""

    def __init__(self, *, is_made: bool) -> None:
        self.is_made, self.calls = is_made, [""]

    def apply(self, path: str, body: dict[str, Any]) -> None:
        self.calls.append(f"APPLY {path}")
        if not any(call.startswith("DELETE") for call in self.calls):
            raise ApiError("failed to allocate IP 10.96.0.10", 422)

    def exists(self, path: str) -> bool:
        return self.is_made

    def delete(self, path: str) -> None:
        self.calls.append(f"DELETE {path}")


def test_an_address_that_a_killed_api_server_left_taken_is_given_back() -> None:
    body = {"spec": {"clusterIP": "10.96.0.10"}}
    server = Taken(is_made=False)
    apply_with_address(server, "/dns", body)  # type: ignore[arg-type]
    assert server.calls[2:] == ["DELETE /apis/networking.k8s.io/v1/ipaddresses/10.96.0.10", "APPLY /dns"]
    with pytest.raises(ApiError):
        apply_with_address(Taken(is_made=True), "/dns", body)  # type: ignore[arg-type]
    with pytest.raises(ApiError):
        apply_with_address(Taken(is_made=False), "/dns", {"spec": {}})  # type: ignore[arg-type]
