"""`up` brings the embedded cluster back from whatever was killed. In a second cluster: no other test is disturbed."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fovea_dev.embedded import DAEMONS
from fovea_dev.processes import end
from support.polling import until
from support.second_cluster import SecondCluster, second_cluster

WRITER = """\
import pathlib, time
file = pathlib.Path("/data/starts")
file.write_text((file.read_text() if file.exists() else "") + "start\\n")
print(len(file.read_text().split()), flush=True)
time.sleep(1000000)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SecondCluster]:
    with second_cluster() as running:
        running.run("up", "--bare")
        yield running


def test_a_second_up_starts_nothing_anew(cluster: SecondCluster) -> None:
    before = cluster.daemons()
    output = cluster.run("up", "--bare")
    assert set(before) == set(DAEMONS)
    assert cluster.daemons() == before
    assert "already running" in output


@pytest.mark.parametrize("name", DAEMONS)
def test_one_killed_process_is_replaced_and_no_other(cluster: SecondCluster, name: str) -> None:
    before = cluster.daemons()
    os.kill(before[name], signal.SIGKILL)
    end([before[name]], grace=0)
    cluster.run("up", "--bare")
    after = cluster.daemons()
    assert {other for other in DAEMONS if after.get(other) != before[other]} == {name}
    cluster.run("status")


def test_after_everything_was_killed_pods_run_again_with_their_volumes(cluster: SecondCluster) -> None:
    image = cluster.image("fovea")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_writer(image)))
    first = until(lambda: _started(cluster), seconds=120, what="the writer runs")
    assert cluster.kubectl("logs", "deployment/writer").strip() == "1"

    killed = datetime.now(UTC)
    cluster.kill_everything()
    assert not cluster.everything()
    cluster.run("up", "--bare")
    cluster.run("status")

    def restarted() -> datetime | None:
        start = _started(cluster)
        return start if start is not None and start > first else None

    assert until(restarted, seconds=120, what="the writer runs again") >= killed.replace(microsecond=0)
    until(lambda: cluster.kubectl("logs", "deployment/writer").strip() == "2", seconds=60, what="the volume's content")


def test_after_its_folder_was_deleted_under_it_up_makes_a_new_cluster(cluster: SecondCluster) -> None:
    cluster.kubectl("create", "namespace", "of-the-old-cluster")
    shutil.rmtree(cluster.layout.state, ignore_errors=True)  # what is mounted below it can't be deleted
    assert not cluster.layout.pki.exists()
    cluster.run("up", "--bare")
    cluster.run("status")
    names = {item["metadata"]["name"] for item in cluster.get("namespaces")["items"]}
    assert "kube-system" in names
    assert "of-the-old-cluster" not in names


def test_services_work_again_when_their_packet_filter_rules_were_deleted(cluster: SecondCluster) -> None:
    before = cluster.daemons()
    for family in ("ip", "ip6"):
        subprocess.run(cluster.command("nft", "delete", "table", family, "kube-proxy"), check=True)
    cluster.run("up", "--bare")
    cluster.run("status")
    after = cluster.daemons()
    assert {name for name in DAEMONS if after[name] != before[name]} == {"kube-proxy"}


def test_a_cluster_of_another_name_in_the_same_network_is_refused_and_its_down_harms_nobody(
    cluster: SecondCluster,
) -> None:
    rules = cluster.command("nft", "list", "ruleset")
    before = subprocess.run(rules, capture_output=True, text=True, check=True).stdout
    third = cluster.environment | {"FOVEA_CLUSTER": "third", "FOVEA_REGISTRY_PORT": "5003"}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        words = cluster.command(sys.executable, "-m", "fovea_dev", *command.split())
        return subprocess.run(words, env=third, capture_output=True, text=True, check=False)

    refused = run("up --bare")
    assert refused.returncode == 1
    assert f"belongs to {cluster.layout.node_link}" in refused.stderr
    assert run("down --images").returncode == 0
    assert subprocess.run(rules, capture_output=True, text=True, check=True).stdout == before
    cluster.run("status")


def test_a_cluster_of_another_cache_is_left_alone_and_named(cluster: SecondCluster, tmp_path: Path) -> None:
    before = cluster.daemons()
    for command in (["up", "--bare"], ["down"]):
        refused = subprocess.run(
            cluster.command(sys.executable, "-m", "fovea_dev", *command),
            env=cluster.environment | {"FOVEA_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1
        assert f"first FOVEA_CACHE={cluster.layout.cache.root} make down" in refused.stderr
    assert cluster.daemons() == before


def test_another_cache_may_have_the_machine_after_a_kill_and_the_first_clusters_data_stay(
    cluster: SecondCluster,
) -> None:
    cluster.kubectl("create", "namespace", "of-the-first-cache")
    cluster.kill_everything()
    root = cluster.layout.cache.root / "of-another-e2e"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for built in ("tools", "go", "registry"):
        (root / built).symlink_to(cluster.layout.cache.root / built)
    other = SecondCluster({"FOVEA_CACHE": str(root)})
    try:
        other.run("up", "--bare")
        other.run("status")
        assert "of-the-first-cache" not in other.kubectl("get", "namespaces", "-o", "name")
    finally:
        other.run("down", "--images")
        shutil.rmtree(root)
    cluster.run("up", "--bare")
    cluster.run("status")
    assert "of-the-first-cache" in cluster.kubectl("get", "namespaces", "-o", "name")


def test_an_up_that_was_killed_is_completed_by_the_next(cluster: SecondCluster) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(3):
        cluster.run("down")
        process = cluster.start("up", "--bare")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moments.uniform(0.1, 6.0))
        process.kill()
        process.communicate()
        cluster.run("up", "--bare")
        cluster.run("status")


def _started(cluster: SecondCluster) -> datetime | None:
    """Start of the writer's container if it runs."""
    for pod in cluster.get("pods", "-l", "app=writer")["items"]:
        for status in pod["status"].get("containerStatuses", []):
            if "running" in status["state"]:
                return datetime.fromisoformat(status["state"]["running"]["startedAt"])
    return None


def _writer(image: str) -> dict[str, object]:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "writer"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    container = {
        "name": "writer",
        "image": image,
        "command": ["python3", "-c", WRITER],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "writer"}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "writer"},
        "spec": {
            "selector": {"matchLabels": {"app": "writer"}},
            "template": {"metadata": {"labels": {"app": "writer"}}, "spec": pod},
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [claim, deployment]}
