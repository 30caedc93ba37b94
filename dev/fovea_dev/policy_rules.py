"""What NetworkPolicies mean for the packets of a node, and that as rules of nft. Pure: objects go in, text comes out.

Each pod that a policy selects is isolated: connections to it (Ingress) or from it (Egress) pass only if one rule of one policy allows
them. What the node itself sends, such as kubelet's probes, is not forwarded and passes always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any, NamedTuple

Object = dict[str, Any]
Labels = Mapping[str, str]
INGRESS, EGRESS = "Ingress", "Egress"
_PEERS = {INGRESS: "from", EGRESS: "to"}
_SIDE = {INGRESS: "saddr", EGRESS: "daddr"}


class Allowed(NamedTuple):
    """Connections that pass."""

    peers: tuple[str, ...]
    """Addresses of pods, or one network; empty: everybody."""
    but: tuple[str, ...]
    """Networks that are left out."""
    port: str
    """As nft says it; empty: all ports."""


Isolation = Mapping[str, tuple[Allowed, ...]]
"""Addresses of the pods that are isolated, and what passes all the same."""


@dataclass(frozen=True)
class Pod:
    """What policies see of a pod."""

    namespace: str
    labels: Labels
    address: str
    ports: Mapping[tuple[str, str], int]
    """By protocol and name."""


def pods_of(objects: Sequence[Object], attached: Mapping[str, str]) -> list[Pod]:
    """The pods that have an address of their own. One that has ended has given it back.

    `attached`: addresses by uid, as the node gave them out. The kubelet says them only when the first container runs, hook and all.
    """
    return [
        Pod(
            namespace=each["metadata"]["namespace"],
            labels=each["metadata"].get("labels") or {},
            address=address,
            ports=_named_ports(each["spec"]),
        )
        for each in objects
        if (address := (each.get("status") or {}).get("podIP") or attached.get(each["metadata"]["uid"]))
        and each["status"].get("phase") not in ("Succeeded", "Failed")
        and not each["spec"].get("hostNetwork")
    ]


def isolation(
    direction: str, policies: Sequence[Object], pods: Sequence[Pod], namespaces: Mapping[str, Labels]
) -> Isolation:
    """Which pods are isolated in this direction, and what passes. `namespaces`: labels by name."""
    found: dict[str, set[Allowed]] = {}
    for policy in policies:
        spec, namespace = policy["spec"], policy["metadata"]["namespace"]
        if direction not in (spec.get("policyTypes") or (INGRESS,)):
            continue
        for pod in pods:
            if pod.namespace == namespace and matches(spec.get("podSelector") or {}, pod.labels):
                allowed = found.setdefault(pod.address, set())
                for rule in spec.get(direction.lower()) or ():
                    allowed.update(_allowed(direction, rule, pod, namespace, pods, namespaces))
    return {address: tuple(sorted(allowed)) for address, allowed in found.items()}


def matches(selector: Object, held: Labels) -> bool:
    """Whether a LabelSelector selects what has these labels; an empty one selects everything."""
    if not (selector.get("matchLabels") or {}).items() <= held.items():
        return False
    return all(_holds(each, held) for each in selector.get("matchExpressions") or ())


def _holds(expression: Object, held: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return key in held and held[key] in values
        case "NotIn":
            return held.get(key) not in values
        case "Exists":
            return key in held
        case _:
            return key not in held


def _allowed(
    direction: str,
    rule: Object,
    pod: Pod,
    namespace: str,
    pods: Sequence[Pod],
    namespaces: Mapping[str, Labels],
) -> Iterator[Allowed]:
    """What one rule of a policy lets a pod that it selects do."""
    peers: Sequence[Object] = rule.get(_PEERS[direction]) or ()
    for port in rule.get("ports") or (None,):
        blocks = [peer["ipBlock"] for peer in peers if "ipBlock" in peer]
        theirs = [each for each in pods if any(_is_peer(peer, each, namespace, namespaces) for peer in peers)]
        if direction == INGRESS or not isinstance((port or {}).get("port"), str):
            if (number := _port(port, pod)) is None:
                continue
            yield from _grouped(theirs, number, everybody=not peers)
            yield from (_block(block, number) for block in blocks if ip_network(block["cidr"]).version == 4)
            continue
        # A named port is one of the pod that is reached: of each peer another one.
        reached = theirs if peers else pods
        yield from (Allowed((each.address,), (), text) for each in reached if (text := _port(port, each)))


def _grouped(peers: Sequence[Pod], port: str, *, everybody: bool) -> Iterator[Allowed]:
    if everybody:
        yield Allowed((), (), port)
    elif peers:
        yield Allowed(tuple(sorted({each.address for each in peers})), (), port)


def _block(block: Object, port: str) -> Allowed:
    return Allowed(
        (_network(block["cidr"]),), tuple(sorted(_network(each) for each in block.get("except") or ())), port
    )


def _network(text: str) -> str:
    return str(IPv4Network(text, strict=False))


def _is_peer(peer: Object, pod: Pod, namespace: str, namespaces: Mapping[str, Labels]) -> bool:
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"] or {}, namespaces.get(pod.namespace, {})):
            return False
    elif pod.namespace != namespace:
        return False
    return matches(peer.get("podSelector") or {}, pod.labels)


def _port(port: Object | None, reached: Pod) -> str | None:
    """A port as nft says it; None: the pod that is reached has no port of that name."""
    if port is None:
        return ""
    protocol, number = port.get("protocol") or "TCP", port.get("port")
    if number is None:
        return f"meta l4proto {protocol.lower()}"
    if isinstance(number, str):
        number = reached.ports.get((protocol, number))
        if number is None:
            return None
    last = port.get("endPort")
    return f"{protocol.lower()} dport {number}" + (f"-{last}" if last else "")


def _named_ports(spec: Object) -> dict[tuple[str, str], int]:
    return {
        (port.get("protocol") or "TCP", port["name"]): port["containerPort"]
        for part in ("initContainers", "containers")
        for container in spec.get(part) or ()
        for port in container.get("ports") or ()
        if port.get("name")
    }


def nft_rules(table: str, ingress: Isolation, egress: Isolation) -> str:
    """The table as nft source. It replaces the one before in one step, so that no packet meets half of it."""
    chains: dict[tuple[str, tuple[Allowed, ...]], str] = {}
    maps = "".join(_map(direction, isolated, chains) for direction, isolated in ((EGRESS, egress), (INGRESS, ingress)))
    bodies = "".join(_chain(name, *content) for content, name in chains.items())
    both = sorted({*ingress, *egress})
    itself = f"        elements = {{ {', '.join(f'{each} . {each}' for each in both)} }}\n" if both else ""
    return f"""\
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
    set itself {{
        type ipv4_addr . ipv4_addr
{itself}    }}
{bodies}{maps}    chain forward {{
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
        ip saddr . ip daddr @itself accept
        ip saddr vmap @egress
        ip daddr vmap @ingress
    }}
}}
"""


def _map(direction: str, isolated: Isolation, chains: dict[tuple[str, tuple[Allowed, ...]], str]) -> str:
    """The map from addresses to chains. Pods to which the same applies share a chain."""
    entries = []
    for address, allowed in sorted(isolated.items()):
        name = chains.setdefault((direction, allowed), f"allowed{len(chains)}")
        entries.append(f"{address} : jump {name}")
    elements = f"        elements = {{ {', '.join(entries)} }}\n" if entries else ""
    return f"    map {direction.lower()} {{\n        type ipv4_addr : verdict\n{elements}    }}\n"


def _chain(name: str, direction: str, allowed: tuple[Allowed, ...]) -> str:
    # `return`, not `accept`: what may leave one pod must still be let in by the other.
    lines = [f"        {' '.join([*_words(each, _SIDE[direction]), 'return'])}\n" for each in allowed]
    return f"    chain {name} {{\n{''.join(lines)}        drop\n    }}\n"


def _words(allowed: Allowed, side: str) -> Iterator[str]:
    if allowed.peers:
        yield f"ip {side} {{ {', '.join(allowed.peers)} }}"
    for each in allowed.but:
        yield f"ip {side} != {each}"
    if allowed.port:
        yield allowed.port
