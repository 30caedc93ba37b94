"""The main job as a newcomer runs it: `make demo`, and then everything that the tutorial says of its result."""

import json
import re
import urllib.request
from typing import Any

import pytest
from support import local_models

# The first test waits for all of it: at least as long as the demo itself waits for the job.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def demo(cluster: Any) -> str:
    """What `make demo` printed."""
    printed: str = cluster.run("make", "demo", seconds=1500).stdout
    return printed


def test_the_demo_trains_to_at_least_95_percent(demo: str) -> None:
    found = re.search(r"(digits-v\d+): test accuracy ([\d.]+)%", demo)
    assert found is not None, demo
    assert float(found.group(2)) >= 95.0


def test_the_demo_classifies_held_out_pictures_over_grpc_and_rest(demo: str, cluster: Any) -> None:
    pictures = sorted((cluster.deployment.demo_pictures() / "held-out").glob("*.png"))
    assert len(pictures) == 3
    for extra in ((), ("--rest",)):
        said = cluster.fovea(
            "predict", "-n", "vision", "--model", "digits", "--format", "json", *extra, *map(str, pictures)
        )
        answers = json.loads(said.stdout)
        assert [str(answer["label"]) for answer in answers] == [picture.name.split("-")[0] for picture in pictures]


def test_the_demos_model_version_records_where_it_comes_from(demo: str, cluster: Any) -> None:
    status = cluster.status("digits")
    version = cluster.get("modelversion", status["modelVersion"])["spec"]
    job = cluster.get("trainingjob", "digits")
    assert (version["lineage"]["job"], version["lineage"]["jobUid"]) == ("digits", job["metadata"]["uid"])
    assert (version["uri"], version["digest"]) == (status["model"]["uri"], status["model"]["digest"])
    assert version["metrics"]["accuracy"] >= 0.95


def test_the_demos_job_reports_progress_and_its_newest_checkpoint(demo: str, cluster: Any) -> None:
    status = cluster.status("digits")
    assert status["state"] == "SUCCEEDED"
    assert status["progress"]["step"] == status["progress"]["steps"] == status["checkpoint"]["step"]
    assert {condition["type"]: condition["status"] for condition in status["conditions"]}["Complete"] == "True"


def test_status_and_metadata_over_rest_are_those_of_tensorflow_serving(demo: str, cluster: Any) -> None:
    deployment = cluster.get("modeldeployment", "digits")["status"]
    version = local_models.place(deployment, "stable")["version"]
    address = cluster.list("nodes", "default")[0]["status"]["addresses"][0]["address"]
    base = f"http://{address}:{deployment['endpoint']['nodePortRest']}/v1/models/digits"
    with urllib.request.urlopen(base, timeout=30) as answer:
        states = json.load(answer)["model_version_status"]
    assert [(state["version"], state["state"], state["status"]["error_code"]) for state in states] == [
        (str(version), "AVAILABLE", "OK")
    ]
    with urllib.request.urlopen(f"{base}/metadata", timeout=30) as answer:
        signatures = json.load(answer)["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "pixels"} <= signatures.keys()
