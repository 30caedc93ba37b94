"""Batch predictions on the local cluster, from an upload to the answers on one's own disk."""

import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.local_jobs import machine_type
from support.local_models import register, save
from support.model_server import png
from support.polling import until

NAMESPACE = "vision"
STORE = ("statefulset/fovea-object-store", "-n", "fovea-system")


@pytest.fixture
def unique(cluster: Any, tmp_path: Path) -> Any:
    """A name of its own for a machine type and a model with one version."""
    name = f"b{uuid.uuid4().hex[:8]}"
    cluster.apply(machine_type(name, memory="1Gi"))
    register(cluster, name, save(tmp_path / "model", bias=0.0))
    yield name
    quiet = ("--ignore-not-found", "--wait=false")
    cluster.kubectl("delete", "batchprediction", name, "-n", NAMESPACE, *quiet)
    cluster.kubectl("delete", "modelversion", f"{name}-v1", "-n", NAMESPACE, *quiet)
    cluster.kubectl("delete", "machinetype", name, *quiet)


def upload(cluster: Any, name: str, folder: Path, count: int) -> dict[str, int]:
    """Grey pictures, each with the brightness that the model is to find."""
    folder.mkdir()
    pictures = {f"{number:05d}.png": 5 + number % 240 for number in range(count)}
    encoded = {brightness: png(brightness) for brightness in set(pictures.values())}
    for picture, brightness in pictures.items():
        (folder / picture).write_bytes(encoded[brightness])
    cluster.fovea("data", "upload", str(folder), name, "-n", NAMESPACE)
    return pictures


def submit(cluster: Any, name: str, *more: str) -> None:
    cluster.fovea(
        *("predictions", "submit", name, "-n", NAMESPACE, "--model", name, "--machine-type", name, "--workers", "2"),
        *("--input", f"s3://fovea/{NAMESPACE}/datasets/{name}", "--input-format", "images", *more),
    )


def answers(cluster: Any, name: str, folder: Path) -> Counter[tuple[str, int]]:
    """How often each picture has which answer."""
    cluster.fovea("predictions", "download", name, str(folder), "-n", NAMESPACE)
    lines = [json.loads(line) for part in sorted(folder.glob("part-*")) for line in part.read_text().splitlines()]
    return Counter((line["record"], round(line["prediction"]["brightness"])) for line in lines)


def test_a_folder_of_pictures_is_scored_by_two_workers_and_a_broken_picture_is_named(
    cluster: Any, unique: str, tmp_path: Path
) -> None:
    pictures = upload(cluster, unique, tmp_path / "pictures", 300)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "99999.png").write_bytes(b"no picture")
    cluster.fovea("data", "upload", str(broken), unique, "-n", NAMESPACE)
    submit(cluster, unique, "--wait", "--timeout", "5m")
    assert answers(cluster, unique, tmp_path / "answers") == Counter(pictures.items())
    [error] = (tmp_path / "answers/errors.jsonl").read_text().splitlines()
    assert json.loads(error)["record"] == "99999.png"
    status = cluster.get("batchprediction", unique)["status"]
    assert (status["state"], status["progress"]["records"], status["progress"]["errors"]) == ("SUCCEEDED", 301, 1)


@pytest.mark.wide
def test_ten_thousand_pictures_are_answered_once_although_a_worker_is_killed_and_the_store_is_away(
    cluster: Any, unique: str, tmp_path: Path
) -> None:
    pictures = upload(cluster, unique, tmp_path / "pictures", 10_000)
    submit(cluster, unique)

    def shards() -> int:
        progress = cluster.get("batchprediction", unique).get("status", {}).get("progress") or {}
        return int((progress.get("shards") or {}).get("done") or 0)

    until(lambda: shards() >= 2, seconds=300, what="two shards are answered")
    worker = cluster.list("pods", NAMESPACE, f"fovea.dev/batch-prediction={unique}")[0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", worker, "-n", NAMESPACE, "--grace-period=0", "--force", "--wait=false")
    cluster.kubectl("scale", *STORE, "--replicas=0", "--timeout=60s")
    before = shards()
    with pytest.raises(AssertionError, match="not seen within 20 s"):
        until(lambda: shards() > before + 2, seconds=20, what="progress without a store")
    cluster.kubectl("scale", *STORE, "--replicas=1", "--timeout=60s")
    cluster.fovea("predictions", "wait", unique, "-n", NAMESPACE, "--timeout", "15m", seconds=1000)
    assert answers(cluster, unique, tmp_path / "answers") == Counter(pictures.items())
    print(cluster.fovea("predictions", "describe", unique, "-n", NAMESPACE).stdout)
