"""What a person would look at when the cluster does not get ready, as lines of text: objects, packet filter, logs."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fovea_dev.api import Api
from fovea_dev.commands import output
from fovea_dev.processes import Processes
from fovea_dev.progress import StepFailed, last_lines

EVENTS = 20
LINES = 8
Object = dict[str, Any]


def diagnosis(client: Api, processes: Processes, daemons: Sequence[str]) -> str:
    """Nodes, pods, endpoints and last events, kube-proxy's rules for DNS, last lines of pods' and daemons' logs.

    What cannot be read is named with its error.
    """
    lines = [
        *_section("nodes", lambda: nodes(client.get("/api/v1/nodes")["items"])),
        *_section("pods", lambda: pods(client.get("/api/v1/pods")["items"])),
        *_section("endpoints", lambda: endpoints(client.get("/apis/discovery.k8s.io/v1/endpointslices")["items"])),
        *_section("events", lambda: events(client.get("/api/v1/events")["items"])),
        *_section("packet filter", lambda: dns_rules(output(["nft", "list", "table", "ip", "kube-proxy"]))),
        *_section("logs of kube-system", lambda: _pod_logs(client)),
    ]
    for name in daemons:
        state = "runs" if processes.identity(name) else "does not run"
        lines += [f"{name} {state}; {processes.log(name)}:"]
        lines += [f"  | {line}" for line in last_lines(processes.log(name), LINES)]
    return "\n".join(lines)


def nodes(found: Sequence[Object]) -> Iterator[str]:
    """A line for each node: its conditions, each with the time of its last heartbeat, and its taints."""
    for node in found:
        conditions = [
            f"{each['type']}={each['status']} at {each.get('lastHeartbeatTime')}"
            for each in node.get("status", {}).get("conditions", [])
        ]
        taints = [f"taint {each['key']}" for each in node["spec"].get("taints", [])]
        yield ", ".join([node["metadata"]["name"], *conditions, *taints])


def pods(found: Sequence[Object]) -> Iterator[str]:
    """A line for each pod: phase, address, and each container with its state and its last one."""
    for pod in found:
        status = pod.get("status", {})
        metadata = pod["metadata"]
        words = [f"{metadata['namespace']}/{metadata['name']} {status.get('phase')} {status.get('podIP')}"]
        if "deletionTimestamp" in metadata:
            words.append(f"deleted at {metadata['deletionTimestamp']}")
        words += [
            f"{each['type']}={each['status']} since {each.get('lastTransitionTime')}"
            for each in status.get("conditions", [])
            if each["type"] in ("Ready", "PodScheduled")
        ]
        words += [
            f"container {each['name']}: restarts {each['restartCount']}, {each.get('state')}, before {each.get('lastState')}"
            for each in status.get("containerStatuses", [])
        ]
        yield ", ".join(words)


def endpoints(found: Sequence[Object]) -> Iterator[str]:
    """A line for each slice: its addresses, each with its conditions."""
    for each in found:
        addresses = [f"{one['addresses']} {one.get('conditions')}" for one in each.get("endpoints") or []]
        yield f"{each['metadata']['namespace']}/{each['metadata']['name']}: {', '.join(addresses) or 'none'}"


def events(found: Sequence[Object]) -> Iterator[str]:
    """The last events, the latest last."""

    def moment(event: Object) -> str:
        return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp"))

    for event in sorted(found, key=moment)[-EVENTS:]:
        about = event["involvedObject"]
        yield f"{moment(event)} {about.get('kind')} {about.get('name')}: {event.get('reason')}: {event.get('message')}"


def dns_rules(ruleset: str) -> Iterator[str]:
    """The lines of kube-proxy's table that name the DNS service."""
    return (line.strip() for line in ruleset.splitlines() if "kube-dns" in line)


def _pod_logs(client: Api) -> Iterator[str]:
    path = "/api/v1/namespaces/kube-system/pods"
    for pod in client.get(path)["items"]:
        name = pod["metadata"]["name"]
        yield f"{name}:"
        yield from (f"  | {line}" for line in client.text(f"{path}/{name}/log?tailLines={LINES}").splitlines())


def _section(name: str, look: Callable[[], Iterator[str]]) -> list[str]:
    lines = [f"{name}:"]
    try:
        lines += [f"  {line}" for line in look()]
    except (OSError, http.client.HTTPException, StepFailed) as error:
        lines.append(f"  cannot be read: {error}")
    return lines
