"""A volume provisioner for one node: a folder per claim, removed with its volume. A process of the cluster."""

from __future__ import annotations

import argparse
import http.client
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea_dev.api import Api, ApiError
from fovea_dev.progress import StepFailed

PROVISIONER = "fovea.dev/local-folder"
STORAGE_CLASS = "local-folder"
POLL_SECONDS = 1.0
Object = dict[str, Any]
log = logging.getLogger("volumes")


def volume_name(claim: Object) -> str:
    """Name of a claim's volume and of its folder; the same at every try, so a crash never makes two."""
    return f"pvc-{claim['metadata']['uid']}"


def wanted_volumes(claims: list[Object], volumes: list[Object], folder: Path, node: str) -> list[Object]:
    """The PersistentVolumes to create: one for each pending claim of our class that has none."""
    existing = {volume["metadata"]["name"] for volume in volumes}
    return [
        _volume(claim, folder / volume_name(claim), node)
        for claim in claims
        if claim["spec"].get("storageClassName") == STORAGE_CLASS
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in claim["metadata"]
        and volume_name(claim) not in existing
    ]


def released_volumes(volumes: list[Object]) -> list[Object]:
    """Our volumes whose claim is gone and that are to be deleted with it."""
    return [
        volume
        for volume in volumes
        if volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") in ("Released", "Failed")
    ]


def _volume(claim: Object, folder: Path, node: str) -> Object:
    metadata = claim["metadata"]
    this_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name(claim), "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
            "storageClassName": STORAGE_CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            # `local`, not `hostPath`: kubelet then gives the folder to the pod's fsGroup, so non-root pods can write.
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [this_node]}]}},
        },
    }


@dataclass(frozen=True)
class Provisioner:
    """Compares claims with volumes and folders, once per call of `step`."""

    client: Api
    folder: Path
    node: str

    def step(self) -> None:
        """Make volumes for new claims; remove released volumes and their folders, folder first."""
        claims = self.client.get("/api/v1/persistentvolumeclaims")["items"]
        volumes = self.client.get("/api/v1/persistentvolumes")["items"]
        for volume in wanted_volumes(claims, volumes, self.folder, self.node):
            name = volume["metadata"]["name"]
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / name).chmod(0o777)
            log.info("making %s", name)
            self._create(volume)
        for volume in released_volumes(volumes):
            name = volume["metadata"]["name"]
            log.info("removing %s", name)
            if (self.folder / name).exists():
                shutil.rmtree(self.folder / name)
            self.client.delete(f"/api/v1/persistentvolumes/{name}")

    def attempt(self) -> None:
        """One `step`; when the API server is away or ends in the middle of an answer, the next one will do."""
        try:
            self.step()
        except (OSError, http.client.HTTPException, StepFailed) as error:
            log.warning("%s: %s", type(error).__name__, error)

    def _create(self, volume: Object) -> None:
        try:
            self.client.request("POST", "/api/v1/persistentvolumes", volume)
        except ApiError as error:
            if error.code != http.HTTPStatus.CONFLICT:
                raise


def main() -> None:
    """Run until ended; an API server that does not answer is asked again."""
    parser = argparse.ArgumentParser(prog="fovea_dev.volumes", description=__doc__)
    for name in ("host", "port", "authority", "certificate", "key", "folder", "node"):
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
    provisioner = Provisioner(client, Path(arguments.folder), arguments.node)
    while True:
        provisioner.attempt()
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
