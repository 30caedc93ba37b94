"""Enforces NetworkPolicies on the one node, by an nft table of the cluster's own. A process of the cluster."""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fovea_dev.api import Api, ApiError
from fovea_dev.commands import output
from fovea_dev.policy_rules import EGRESS, INGRESS, isolation, nft_rules, pods_of
from fovea_dev.progress import StepFailed

Object = dict[str, Any]
WATCH_SECONDS = 20
AGAIN_SECONDS = 30.0
GATHER_SECONDS = 0.05
LOOK_SECONDS = 0.25
NETWORKS = Path("/var/lib/cni/results")
"""What the network plugin keeps of each pod that it has attached."""
PATHS = {
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
}
log = logging.getLogger("policies")


def attached(folder: Path) -> dict[str, str]:
    """Addresses by uid of the pods that the network plugin has attached, from what it keeps of each."""
    found = {}
    for path in folder.glob("*"):
        try:
            kept = json.loads(path.read_text())
            arguments = dict(kept.get("cniArgs") or [])
            addresses = [each["address"].partition("/")[0] for each in (kept.get("result") or {}).get("ips") or []]
        except (OSError, ValueError):  # it is being written, or gone
            continue
        if "K8S_POD_UID" in arguments and addresses and kept.get("ifName") != "lo":
            found[arguments["K8S_POD_UID"]] = addresses[0]
    return found


class Collection:
    """All objects of one kind, by list and watch."""

    def __init__(self, client: Api, path: str, changed: Callable[[], None]) -> None:
        self._client = client
        self._path = path
        self._changed = changed
        self._version = ""
        self._by_uid: dict[str, Object] = {}
        self.is_known = False

    @property
    def objects(self) -> list[Object]:
        """As they are now."""
        return list(self._by_uid.values())

    def read(self) -> None:
        """List all."""
        answer = self._client.get(self._path)
        self._version = answer["metadata"]["resourceVersion"]
        self._by_uid = {each["metadata"]["uid"]: each for each in answer["items"]}
        self.is_known = True
        self._changed()

    def watch(self) -> None:
        """Take in changes for a while. Raises ApiError when the server does not remember so far back: read all again then."""
        query = f"?watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={self._version}"
        for line in self._client.lines(self._path + query):
            self.take(json.loads(line))

    def take(self, event: Object) -> None:
        """Take in one event of a watch."""
        changed = event["object"]
        if event["type"] == "ERROR":
            raise ApiError(f"watch of {self._path}: {changed.get('message')}", int(changed.get("code") or 0))
        self._version = changed["metadata"]["resourceVersion"]
        uid = changed["metadata"].get("uid")
        if event["type"] == "BOOKMARK":
            return
        # Another thread reads: the old mapping stays whole for it.
        others = {key: value for key, value in self._by_uid.items() if key != uid}
        self._by_uid = others if event["type"] == "DELETED" else {**others, uid: changed}
        self._changed()

    def follow(self) -> None:
        """Keep up with the API server for ever, also over its restarts."""
        while True:
            try:
                self.read()
                while True:
                    self.watch()
            except (OSError, http.client.HTTPException, StepFailed, ValueError) as error:
                log.warning("%s: %s", type(error).__name__, error)
                time.sleep(1.0)


class Enforcer:
    """Writes the table whenever what it should say has changed, and now and then all the same: somebody may have deleted it."""

    def __init__(self, client: Api, table: str, write: Callable[[str], None], networks: Path = NETWORKS) -> None:
        self._table = table
        self._networks = networks
        self._write = write
        self._written = ""
        self.changed = threading.Event()
        self.collections = {name: Collection(client, path, self.changed.set) for name, path in PATHS.items()}

    def rules(self) -> str:
        """The table for what is known now."""
        policies, pods, namespaces = (self.collections[name].objects for name in PATHS)
        there = pods_of(pods, attached(self._networks))
        labels = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in namespaces}
        ingress, egress = (isolation(direction, policies, there, labels) for direction in (INGRESS, EGRESS))
        return nft_rules(self._table, ingress, egress)

    def attempt(self, *, again: bool) -> None:
        """Write the table if it has changed or `again`. Nothing is known of pods whose list did not come yet: they would be let through."""
        if not all(each.is_known for each in self.collections.values()):
            return
        rules = self.rules()
        if rules == self._written and not again:
            return
        try:
            self._write(rules)
        except StepFailed as error:
            self._written = ""
            log.warning("%s", error)
            return
        self._written = rules

    def run(self) -> None:
        """Enforce until ended."""
        for each in self.collections.values():
            threading.Thread(target=each.follow, daemon=True).start()
        last, seen = time.monotonic(), 0
        while True:
            happened = self.changed.wait(LOOK_SECONDS)
            self.changed.clear()
            before, seen = seen, self._networks.stat().st_mtime_ns if self._networks.exists() else 0
            again = time.monotonic() - last >= AGAIN_SECONDS
            if not happened and seen == before and not again:
                continue
            time.sleep(GATHER_SECONDS)
            self.attempt(again=again)
            last = time.monotonic() if again else last


def main() -> None:
    """Run until ended."""
    parser = argparse.ArgumentParser(prog="fovea_dev.policies", description=__doc__)
    for name in ("host", "port", "authority", "certificate", "key", "table"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    client = Api(
        arguments.host,
        int(arguments.port),
        authority=Path(arguments.authority),
        certificate=Path(arguments.certificate),
        key=Path(arguments.key),
    )
    Enforcer(client, arguments.table, _nft).run()


def _nft(rules: str) -> None:
    output(["nft", "-f", "-"], stdin=rules)


if __name__ == "__main__":
    main()
