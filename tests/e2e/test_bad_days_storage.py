"""Bad days of what is stored: a publication cut off in its middle, a store that is away, bytes that changed, data that is not there."""

import hashlib
import io
import time
from pathlib import Path
from typing import Any

from fovea_agent.restore import read_manifest, restore
from fovea_agent.store import Store
from fovea_api.contract import environment, names, storage
from support import local_models
from support.installed_store import outage, port_forward, root_store
from support.node_shell import NodeShell
from support.polling import until
from support.team_jobs import TeamJobs, digests, manifest_at, program, team_jobs

FILES = 3000
"""Enough that their publication takes seconds, whatever the machine: time to cut it off."""

MANY_FILES = f"""
for number in range({FILES}):
    (model / f"{{number:05}}.txt").write_text(f"file {{number}}\\n" * 20)
(model / "saved_model.pb").write_bytes(b"written last")
(output / "evaluation.json").write_text(json.dumps({{"metrics": {{"accuracy": 0.5}}}}))
(output / "_SUCCESS").touch()
"""

BIG = 96 * 1024 * 1024
"""Bytes of a file that is sent in parts."""

BIG_AND_MANY = f"""
told("go")
block = bytes(range(256)) * 4096
with (output / "big.bin").open("wb") as file:
    for _ in range({BIG} // len(block)):
        file.write(block)
for number in range({FILES}):
    (output / f"{{number:05}}.txt").write_text(f"file {{number}}\\n" * 20)
(output / "_SUCCESS").touch()
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def many_files() -> dict[str, str]:
    """SHA-256 by path of what the programs above write."""
    return {f"{number:05}.txt": sha256(f"file {number}\n".encode() * 20) for number in range(FILES)}


def payload(store: Store, prefix: str) -> list[str]:
    """Some keys below a prefix: enough to know that there are any, cheap to ask often."""
    return store.children(f"{prefix}/files/", limit=50)


# -- cut off between payload and manifest -------------------------------------------------------------------------------


def test_a_publication_cut_off_before_its_manifest_is_never_seen_and_the_next_attempt_publishes_whole(
    cluster: Any,
    jobs: TeamJobs,
    root: Store,
    node: NodeShell,
    images: dict[str, str],
    small_machine: str,
    unique: str,
) -> None:
    jobs.submit(unique, program(images["fovea"], small_machine, MANY_FILES, model={"name": unique}))
    job = jobs.prefix(unique)
    first = storage.model(job, 0)
    until(lambda: payload(root, first), seconds=120, what="payload of the first attempt", every=0.05)
    node.kill(cluster.get("pod", jobs.pod(unique, 0)), names.SYNC_CONTAINER)

    # Until the next attempt has published, there is no model, no output and no version of it.
    retrying = cluster.wait_for_state(unique, "QUEUED", seconds=60)
    assert retrying["lastFailure"]["attempt"] == 0
    left = root.objects(f"{job}/")
    assert [item.key for item in left if item.key.endswith(storage.MANIFEST)] == []
    assert 0 < len([item for item in left if item.key.startswith(f"{first}/files/")]) < FILES
    assert cluster.get("modelversion", f"{unique}-v1") == {}
    assert not {"output", "model", "modelVersion"} & retrying.keys()

    status = jobs.ended(unique)
    assert status["attempts"] == {"chief-0": 1}
    assert status["model"]["uri"] == f"s3://{storage.BUCKET}/{storage.model(job, 1)}"
    assert digests(manifest_at(root, status["model"]["uri"])) == many_files() | {
        "saved_model.pb": sha256(b"written last")
    }
    assert root.find(storage.manifest(first)) is None
    version = cluster.get("modelversion", f"{unique}-v1")["spec"]
    assert (version["uri"], version["digest"]) == (status["model"]["uri"], status["model"]["digest"])
    assert cluster.get("modelversion", f"{unique}-v2") == {}


# -- the store is away --------------------------------------------------------------------------------------------------


def test_a_store_that_is_away_for_a_minute_while_a_job_publishes_costs_time_and_not_a_byte(
    cluster: Any, jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str, tmp_path: Path
) -> None:
    jobs.submit(unique, program(images["fovea"], small_machine, BIG_AND_MANY))
    pod = jobs.runs(unique)
    prefix = storage.output(jobs.prefix(unique), 0)
    jobs.tell(pod, "go")
    with port_forward(cluster.environment) as endpoint:
        before = root_store(cluster.kubectl, endpoint)
        until(lambda: payload(before, prefix), seconds=120, what="the first objects of the output", every=0.05)
    with outage(cluster.kubectl):
        gone = time.monotonic()
        said = until(lambda: _says_that_the_store_is_away(cluster, unique), seconds=45, what="the status says so")
        assert said["state"] == "RUNNING"
        # A minute without a store is what this is about.
        until(lambda: time.monotonic() - gone >= 60, seconds=90, what="a minute")
        status = cluster.status(unique)
        assert status["state"] == "RUNNING", f"{status}\n{cluster.diagnosis(unique)}"
        assert "output" not in status

    status = jobs.ended(unique)
    assert status["attempts"] == {"chief-0": 0}
    assert status.get("retries") in (None, 0)
    with port_forward(cluster.environment) as endpoint:
        after = root_store(cluster.kubectl, endpoint)
        manifest = manifest_at(after, status["output"]["uri"])
        assert (manifest.digest, manifest.complete) == (status["output"]["digest"], True)
        assert digests(manifest) == many_files() | {
            "big.bin": sha256(bytes(range(256)) * (BIG // 256)),
            environment.SUCCESS_MARKER: sha256(b""),
        }
        # Reads every byte and checks it against the manifest.
        restore(after, prefix, manifest, tmp_path / "restored", tmp_path / "staging")
    assert len(list((tmp_path / "restored").iterdir())) == FILES + 2


def _says_that_the_store_is_away(cluster: Any, job: str) -> dict[str, Any]:
    """The status once it says that the program has ended and why nothing goes on; else empty."""
    status: dict[str, Any] = cluster.status(job)
    running = next((one for one in status.get("conditions", []) if one["type"] == "Running"), {})
    told = running.get("reason") == "StoreUnreachable" and "object store" in status["message"]
    return status if told and "what it wrote is being published" in status["message"] else {}


# -- bytes that changed -------------------------------------------------------------------------------------------------


def test_a_version_with_a_corrupted_object_is_never_served_and_the_earlier_version_goes_on(
    cluster: Any, root: Store, small_machine: str, unique: str, tmp_path: Path
) -> None:
    for number in (1, 2):
        folder = local_models.save(tmp_path / str(number), bias=float(number))
        assert local_models.register(cluster, unique, folder) == f"{unique}-v{number}"
    corrupted = _corrupt(cluster, root, f"{unique}-v2", "variables/variables.data-00000-of-00001")
    both, alone = unique, f"{unique}-alone"
    try:
        cluster.apply(local_models.model_deployment(alone, unique, small_machine, version=2))
        cluster.apply(local_models.model_deployment(both, unique, small_machine, version=1))
        status = _gives_up(cluster, alone)
        assert not local_models.place(status, "stable")
        assert _condition(status, "Serving")["status"] == "False"
        assert corrupted in _condition(status, "Progressing")["message"]

        local_models.serves(cluster, both, 1)
        where = local_models.address(cluster, both)
        cluster.kubectl("patch", "md", both, "-n", "vision", "--type=merge", "-p", '{"spec": {"version": 2}}')
        status = _gives_up(cluster, both)
        assert local_models.place(status, "stable")["version"] == 1
        assert _condition(status, "Serving")["status"] == "True"
        assert corrupted in _condition(status, "Progressing")["message"]
        assert "version 1 keeps serving" in _condition(status, "Progressing")["message"]
        assert local_models.ask(unique, where) == (3.0, 1)
        assert (
            _ever_ready(cluster, version=2, deployment=alone) == _ever_ready(cluster, version=2, deployment=both) == []
        )
    finally:
        cluster.kubectl("delete", "md", both, alone, "-n", "vision", "--ignore-not-found", "--wait=false")
        cluster.kubectl(
            *("delete", "mv", f"{unique}-v1", f"{unique}-v2", "-n", "vision", "--ignore-not-found", "--wait=false")
        )


def _corrupt(cluster: Any, store: Store, version: str, path: str) -> str:
    """Other bytes of the same size in place of an object of a version; returns its address."""
    prefix = storage.Location.parse(cluster.get("modelversion", version)["spec"]["uri"]).key
    entry = next(one for one in read_manifest(store, prefix).entries if one.path == path)
    key = f"{prefix}/{entry.key}"
    data = bytes(byte ^ 1 for byte in store.read(key))
    assert len(data) == entry.size
    store.put(key, lambda: io.BytesIO(data), len(data), hashlib.md5(data, usedforsecurity=False).digest())
    return f"s3://{storage.BUCKET}/{key}"


def _gives_up(cluster: Any, deployment: str) -> dict[str, Any]:
    """Status once version 2 is given up since it is corrupt."""

    def probe() -> dict[str, Any]:
        status: dict[str, Any] = cluster.get("modeldeployment", deployment).get("status", {})
        given_up = local_models.place(status, "failed").get("version") == 2 and not local_models.place(
            status, "candidate"
        )
        return status if given_up and _condition(status, "Progressing").get("reason") == "ModelCorrupt" else {}

    return until(probe, seconds=120, what=f"{deployment} gives version 2 up")


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    found: dict[str, Any] = next((one for one in status.get("conditions", []) if one["type"] == type_), {})
    return found


def _ever_ready(cluster: Any, version: int, deployment: str) -> list[str]:
    """Pods of a version that answer."""
    selector = f"fovea.dev/model-deployment={deployment},fovea.dev/version={version}"
    return [
        pod["metadata"]["name"]
        for pod in cluster.list("pods", "vision", selector)
        if any(one["ready"] for one in pod["status"].get("containerStatuses", []))
    ]


# -- data that is not there ---------------------------------------------------------------------------------------------


def test_a_missing_input_ends_the_job_with_its_name_and_what_may_have_been_meant(
    cluster: Any, jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str, tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("words")
    cluster.fovea("data", "upload", str(tmp_path), f"{unique}-words", "-n", "vision")
    wanted, meant = (f"s3://fovea/vision/datasets/{unique}-{word}" for word in ("wrods", "words"))
    jobs.submit(unique, program(images["fovea"], small_machine, "", inputs={"text": wanted}))
    status = jobs.ended(unique, "FAILED")
    failed = jobs.condition(status, "Failed")
    assert failed["reason"] == "InputMissing"
    assert failed["message"] == status["message"]
    for part in ("input 'text'", f"nothing is at {wanted}", f"did you mean {meant}/", "spec.inputs.text"):
        assert part in status["message"]
    assert status["attempts"] == {"chief-0": 0}, "it is not tried again"


def test_an_input_of_another_team_ends_the_job_as_a_refused_key_with_the_address(
    jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str
) -> None:
    jobs.submit(
        unique,
        program(images["fovea"], small_machine, "", inputs={"data": f"s3://fovea/speech/datasets/{unique}"}),
    )
    status = jobs.ended(unique, "FAILED")
    assert jobs.condition(status, "Failed")["reason"] == "KeyRefused"
    assert f"s3://fovea/speech/datasets/{unique}" in status["message"]
    assert "refused the key" in status["message"]
    assert status["attempts"] == {"chief-0": 0}


def test_in_a_namespace_without_a_key_the_job_says_which_secret_is_missing_and_who_makes_it(
    cluster: Any, images: dict[str, str], small_machine: str, unique: str
) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": unique}})
    try:
        with team_jobs(cluster, unique) as jobs:
            jobs.submit("keyless", program(images["fovea"], small_machine, ""))
            status = jobs.ended("keyless", "FAILED", seconds=120)
            failed = jobs.condition(status, "Failed")
            assert failed["reason"] == "KeyMissing"
            for part in (f"namespace {unique}", names.OBJECT_STORE_SECRET, "kubectl label namespace"):
                assert part in failed["message"]
    finally:
        cluster.kubectl("delete", "namespace", unique, "--wait=false")
