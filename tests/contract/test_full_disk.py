"""A disk that really is full: what trainer, agent and operator make of it, and what is left of the training."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import environment, exit_codes, names
from fovea_api.v1alpha1 import JobState
from fovea_api.v1alpha1.conditions import JobReason
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.training.decide import decide_job
from support import training
from support.object_store import ObjectStore
from support.observations import SETTINGS, agent_failed, at, ended, job, observed
from support.polling import until
from support.small_disk import fill, small_disk
from support.training_pod import Ended, TrainingPod, published

ENDLESS = ("--epochs=100000", "--checkpoint-every-steps=5")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=20)


def train(pod: TrainingPod, data: Path, *flags: str) -> subprocess.Popen[str]:
    """The program of the pod, on the pod's volume."""
    command = ("image-classifier", f"--data={data}", *training.FLAGS, *flags)
    return training.begin(pod.work, *command, **pod.variables())


def decided(pod: PodRecord) -> dict[str, Any]:
    """The status that the operator writes when a job's pod has ended so."""
    status = decide_job(observed(job(), pod), at(100), SETTINGS).status
    assert status is not None
    return status


def test_a_disk_that_fills_while_a_job_trains_costs_a_retry_and_no_published_checkpoint(
    object_store: ObjectStore, pod: TrainingPod, data: Path
) -> None:
    with small_disk(16) as disk:
        # As on a node, where both of a pod's volumes are folders of one disk.
        for volume in (pod.work, pod.state):
            (disk / volume.name).mkdir(mode=0o777)
            volume.symlink_to(disk / volume.name)
        assert pod.fetch().code == exit_codes.OK
        pod.start_sync()
        program = train(pod, data, *ENDLESS)
        training.wait_until(lambda: published(object_store, pod), program)
        # More than once: the trainer removes old checkpoints, and may have done so after the first time.
        until(lambda: fill(disk) and program.poll() is not None, seconds=180, what="the trainer needs the disk")
        said, _ = program.communicate()
        sync = pod.sync_ended()

    assert program.returncode == exit_codes.RESTART, said
    (last,) = [line for line in said.splitlines() if line.startswith("fovea-train: ResourceExhausted")]
    assert "the disk is full; choose a machineType with more ephemeral storage" in last
    assert (sync.code, sync.termination.complete) == (exit_codes.OK, False), "what is left is published all the same"
    status = decided(ended(code=program.returncode, said=said[-2048:], sync=_record(sync)))
    assert (status["state"], status["retries"]) == (JobState.QUEUED, 1)
    assert "the disk is full; choose a machineType" in status["message"]

    step = max(published(object_store, pod))
    assert sync.termination.checkpoint_step == step
    again = pod.next_attempt()
    assert again.fetch().termination.checkpoint_step == step
    again.start_sync()
    program = train(again, data, *ENDLESS, f"--max-steps={step + 7}")
    said, _ = program.communicate(timeout=180)
    again.sync_ended()
    assert program.returncode == exit_codes.OK, said
    assert (
        json.loads((again.directory(environment.OUTPUT_DIR) / environment.EVALUATION_FILE).read_text())["steps"]
        == step + 7
    )


def test_a_disk_too_small_for_the_checkpoint_fails_the_job_with_what_to_request_and_leaves_the_checkpoint_whole(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    weights = os.urandom(3 << 20)
    pod.checkpoint(200, {"weights": weights})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    pod.kill_sync()

    small = pod.next_attempt()
    with small_disk(2) as disk:
        small.work.symlink_to(disk)
        full = small.fetch()
    assert (full.code, full.termination.reason) == (exit_codes.VOLUME, JobReason.VOLUME_PROBLEM)
    assert "is full: request more ephemeral storage" in full.termination.message
    status = decided(agent_failed(names.FETCH_CONTAINER, full.code, full.termination.reason, full.termination.message))
    assert (status["state"], status.get("retries")) == (JobState.FAILED, None)
    assert full.termination.message in status["message"]

    roomy = small.next_attempt()
    assert roomy.fetch().termination.checkpoint_step == 200
    assert (roomy.directory(environment.CHECKPOINT_DIR) / "200" / "weights").read_bytes() == weights


def _record(of: Ended) -> ContainerRecord:
    """A container of the agent, as the kubelet shows it."""
    return ContainerRecord(exit_code=of.code, termination_message=of.termination.to_json(), finished=at(90))
