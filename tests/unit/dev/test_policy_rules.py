"""What NetworkPolicies mean on the one node: who reaches whom, and the nft table that says so."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from fovea_dev.policy_rules import EGRESS, INGRESS, Allowed, isolation, matches, nft_rules, pods_of
from support.golden import Golden

NAMESPACES = {"vision": {"team": "vision"}, "speech": {"team": "speech"}}


def pod(address: str, namespace: str = "vision", phase: str = "Running", **labels: str) -> dict[str, Any]:
    ports = [{"name": "tf", "containerPort": 2222}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
    return {
        "metadata": {"name": address, "namespace": namespace, "labels": labels, "uid": address},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": address, "phase": phase},
    }


CHIEF, WORKER, STRANGER, THEIRS = "10.244.0.2", "10.244.0.3", "10.244.0.4", "10.244.0.5"
PODS = pods_of(
    [
        pod(CHIEF, job="digits", role="chief"),
        pod(WORKER, job="digits", role="worker"),
        pod(STRANGER, job="cells"),
        pod(THEIRS, "speech", job="digits"),
    ],
    {},
)
ALL = {CHIEF, WORKER, STRANGER, THEIRS}
DIGITS = {"matchLabels": {"job": "digits"}}


def policy(namespace: str = "vision", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"role": "chief"}}, "policyTypes": ["Ingress"], **spec},
    }


def passes(allowed: tuple[Allowed, ...], address: str, port: str) -> bool:
    """Whether one of these lets a connection pass, as nft would say."""

    def within(networks: tuple[str, ...]) -> bool:
        return any(ip_address(address) in ip_network(each) for each in networks)

    return any(
        each.port in ("", port) and (not each.peers or within(each.peers)) and not within(each.but) for each in allowed
    )


def peers(
    *policies: dict[str, Any], of: str = CHIEF, direction: str = INGRESS, port: str = "tcp dport 2222"
) -> set[str]:
    """With which of the pods one pod may begin (Egress) or be asked for (Ingress) a connection."""
    isolated = isolation(direction, policies, PODS, NAMESPACES)
    return ALL if of not in isolated else {each for each in ALL if passes(isolated[of], each, port)}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([], set()),
        ([{}], ALL),
        ([{"from": []}], ALL),
        ([{"from": [{"podSelector": DIGITS}]}], {CHIEF, WORKER}),
        ([{"from": [{"podSelector": {}}]}], {CHIEF, WORKER, STRANGER}),
        ([{"from": [{"namespaceSelector": {}}]}], ALL),
        ([{"from": [{"namespaceSelector": {"matchLabels": {"team": "speech"}}}]}], {THEIRS}),
        ([{"from": [{"namespaceSelector": {}, "podSelector": DIGITS}]}], {CHIEF, WORKER, THEIRS}),
        (
            [{"from": [{"podSelector": DIGITS}]}, {"from": [{"podSelector": {"matchLabels": {"job": "cells"}}}]}],
            {CHIEF, WORKER, STRANGER},
        ),
        ([{"from": [{"ipBlock": {"cidr": "10.244.0.0/24", "except": ["10.244.0.4/30"]}}]}], {CHIEF, WORKER}),
        ([{"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}], set()),
        ([{"ports": [{"port": 2222}]}], ALL),
        ([{"ports": [{"port": "tf"}]}], ALL),
        ([{"ports": [{"port": "none"}]}], set()),
        ([{"ports": [{"port": 80}]}], set()),
        ([{"ports": [{"port": "dns", "protocol": "UDP"}]}], set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_who_reaches_a_pod_that_a_policy_selects(rules: list[Any], wanted: set[str]) -> None:
    assert peers(policy(ingress=rules)) == wanted


def test_a_pod_that_no_policy_selects_is_reached_by_all() -> None:
    assert peers(policy(), of=STRANGER) == ALL
    assert peers(policy("speech"), of=CHIEF) == ALL, "a policy selects pods of its own namespace"


def test_policies_add_up() -> None:
    first, second = policy(ingress=[{"from": [{"podSelector": DIGITS}]}]), policy(ingress=[{"ports": [{"port": 9090}]}])
    assert peers(first, second) == {CHIEF, WORKER}
    assert peers(first, second, port="tcp dport 9090") == ALL


def test_who_is_asked_and_who_asks_are_two_things() -> None:
    closed = policy(policyTypes=["Egress"], egress=[{"to": [{"podSelector": DIGITS}], "ports": [{"port": "tf"}]}])
    assert peers(closed) == ALL
    assert peers(closed, direction=EGRESS) == {CHIEF, WORKER}
    assert peers(closed, direction=EGRESS, port="tcp dport 80") == set()


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ({"port": 80, "endPort": 90}, "tcp dport 80-90"),
        ({"protocol": "UDP"}, "meta l4proto udp"),
        ({"port": "dns", "protocol": "UDP"}, "udp dport 53"),
    ],
    ids=str,
)
def test_a_port_as_nft_says_it(port: dict[str, Any], said: str) -> None:
    assert isolation(INGRESS, [policy(ingress=[{"ports": [port]}])], PODS, NAMESPACES) == {
        CHIEF: (Allowed((), (), said),)
    }


@pytest.mark.parametrize(
    ("operator", "values", "wanted"),
    [
        ("In", ["chief", "ps"], True),
        ("In", ["ps"], False),
        ("NotIn", ["ps"], True),
        ("NotIn", ["chief"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_a_selectors_expressions(operator: str, values: list[str] | None, wanted: bool) -> None:
    selector = {"matchExpressions": [{"key": "role", "operator": operator, "values": values}]}
    assert matches(selector, {"role": "chief"}) is wanted
    assert matches(selector, {}) is (operator in ("NotIn", "DoesNotExist"))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_the_address_of_a_pod_that_has_ended_may_be_anothers_by_now(phase: str) -> None:
    assert pods_of([pod(CHIEF, phase=phase)], {}) == []


def test_pods_without_an_address_of_their_own_are_left_alone() -> None:
    waiting, on_the_node = pod(CHIEF), pod("10.245.0.1")
    waiting["status"] = {"phase": "Pending"}
    on_the_node["spec"]["hostNetwork"] = True
    assert pods_of([waiting, on_the_node], {}) == []


def test_the_table_of_a_job_and_of_a_pod_that_opens_no_connection(golden: Golden) -> None:
    job = policy(podSelector=DIGITS, ingress=[{"from": [{"podSelector": DIGITS}]}])
    store = policy(
        podSelector={"matchLabels": {"job": "cells"}},
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 9000}]}],
        egress=[],
    )
    both = [isolation(direction, [job, store], PODS, NAMESPACES) for direction in (INGRESS, EGRESS)]
    golden.check_text("dev/policies.nft", nft_rules("fovea-policies", *both).rstrip())


def test_without_policies_the_table_holds_nothing_back() -> None:
    text = nft_rules("fovea-policies", {}, {})
    assert "elements" not in text
    assert "drop" not in text
