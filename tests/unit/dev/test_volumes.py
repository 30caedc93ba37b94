import http.client
from pathlib import Path
from typing import Any

from fovea_dev.volumes import PROVISIONER, STORAGE_CLASS, Provisioner, released_volumes, wanted_volumes

FOLDER = Path("/cache/volumes")


def test_an_answer_that_breaks_off_ends_one_attempt_and_not_the_provisioner() -> None:
    class Restarting:
        def get(self, _path: str) -> None:
            raise http.client.IncompleteRead(b"{")

    Provisioner(Restarting(), FOLDER, "fovea").attempt()  # type: ignore[arg-type]


def claim(uid: str = "u1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "data", "namespace": "vision", "uid": uid},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def volume(phase: str, *, policy: str = "Delete", by: str = PROVISIONER) -> dict[str, Any]:
    return {
        "metadata": {"name": "pvc-u1", "annotations": {"pv.kubernetes.io/provisioned-by": by}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }


def test_a_new_claim_gets_a_volume_of_its_own_folder_bound_to_it_and_to_the_node() -> None:
    (made,) = wanted_volumes([claim()], [], FOLDER, "fovea")
    assert made["metadata"]["name"] == "pvc-u1"
    assert made["spec"]["local"] == {"path": "/cache/volumes/pvc-u1"}
    assert made["spec"]["capacity"] == {"storage": "1Gi"}
    assert made["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert made["spec"]["claimRef"]["uid"] == "u1"
    assert made["spec"]["claimRef"]["namespace"] == "vision"
    terms = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["fovea"]}]}]


def test_no_claim_gets_two_volumes_and_no_other_class_or_dying_claim_gets_one() -> None:
    existing = volume("Available")
    assert wanted_volumes([claim()], [existing], FOLDER, "fovea") == []
    assert wanted_volumes([claim(volumeName="pvc-u1")], [], FOLDER, "fovea") == []
    assert wanted_volumes([claim(storageClassName="fast")], [], FOLDER, "fovea") == []
    dying = claim()
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert wanted_volumes([dying], [], FOLDER, "fovea") == []


def test_only_our_volumes_whose_claim_is_gone_are_removed() -> None:
    released = volume("Released")
    kept = [volume("Bound"), volume("Released", policy="Retain"), volume("Released", by="somebody.else")]
    assert released_volumes([released, *kept]) == [released]
