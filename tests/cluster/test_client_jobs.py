"""`fovea jobs` against a real API server; the test plays the operator by writing status."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fovea.sdk import Client, ForbiddenError, InvalidError, NotFoundError, UnreachableError, WaitTimeoutError
from fovea_api.v1alpha1 import JobState, TrainingJob
from fovea_dev.apiserver import ApiServer
from fovea_dev.layout import Cache
from fovea_dev.tools import Tools
from support.command_line import Ran, fovea
from support.jobs import training_job
from support.kube_apiserver import Cluster

Run = Callable[..., Ran]
IMAGE = "registry.invalid/trainer:1"


@pytest.fixture
def run(cluster: Cluster) -> Run:
    """`fovea …` in the test's namespace."""

    def typed(*words: object, **more: Any) -> Ran:
        return fovea("--kubeconfig", cluster.server.kubeconfig, "-n", cluster.namespace, *words, **more)

    return typed


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return Client(kubeconfig=str(cluster.server.kubeconfig), namespace=cluster.namespace)


def set_status(cluster: Cluster, name: str, **status: Any) -> None:
    cluster.patch("TrainingJob", name, {"status": status}, "status")


def set_status_soon(cluster: Cluster, name: str, *steps: dict[str, Any]) -> threading.Thread:
    """Write one status after the other from another thread, half a second apart."""

    def write() -> None:
        for status in steps:
            pause.wait(0.5)
            set_status(cluster, name, **status)

    pause = threading.Event()
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_a_job_from_flags_becomes_the_object_that_was_meant(run: Run, cluster: Cluster) -> None:
    ran = run(
        "jobs", "submit", "digits", "--recipe", "image-classifier", "--input", "data=s3://fovea/team/datasets/digits",
        "--model", "digits", "--deploy", "--machine-type", "standard", "--arg", "epochs=3", "--backoff-limit", 1,
        "--max-running", "2h", "--", "--optimizer=adam", "--learning-rate", "0.01",
    ).ok()  # fmt: skip
    assert ran.out == f"Job digits submitted to namespace {cluster.namespace}.\n"
    made = cluster.get("TrainingJob", "digits")
    assert made is not None
    spec = made["spec"]
    assert spec["trainer"] == {"recipe": "image-classifier"}
    assert spec["args"] == {"epochs": 3, "optimizer": "adam", "learning-rate": 0.01}
    assert spec["inputs"] == {"data": "s3://fovea/team/datasets/digits"}
    assert spec["model"] == {"name": "digits", "deploy": True}
    assert spec["roles"] == {"chief": {"machineType": "standard"}}
    assert (spec["runPolicy"]["backoffLimit"], spec["runPolicy"]["maxRunningSeconds"]) == (1, 7200)


def test_jobs_come_from_files_and_standard_input(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump_all([training_job("one"), training_job("two")]))
    run("jobs", "submit", file).ok()
    run("jobs", "submit", "-", stdin=yaml.safe_dump(training_job("three"))).ok()
    assert {job["metadata"]["name"] for job in cluster.list("TrainingJob")} == {"one", "two", "three"}


def test_flags_override_the_file_of_config(run: Run, cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(training_job("first", args={"epochs": 10, "seed": 1})))
    run("jobs", "submit", "second", "--config", file, "--arg", "epochs=20").ok()
    made = cluster.get("TrainingJob", "second")
    assert made is not None
    assert made["spec"]["args"] == {"epochs": 20, "seed": 1}


def test_dry_run_is_checked_by_the_cluster_and_creates_nothing(run: Run, cluster: Cluster) -> None:
    printed = run("jobs", "submit", "digits", "--image", IMAGE, "--dry-run").ok()
    assert yaml.safe_load(printed.out)["spec"]["runPolicy"]["backoffLimit"] == 3  # the server's default
    refused = run("jobs", "submit", "digits", "--image", IMAGE, "--scale-tier", "CUSTOM", "--dry-run")
    assert refused.code == 1
    assert cluster.list("TrainingJob") == []


def test_a_refused_job_is_explained_by_field_and_remedy(run: Run) -> None:
    ran = run("jobs", "submit", "digits", "--image", IMAGE, "--scale-tier", "CUSTOM")
    assert ran.code == 1
    assert ran.err.startswith("ERROR: TrainingJob digits in namespace ")
    assert "spec.scaleTier" in ran.err
    assert "add roles.chief.machineType" in ran.err
    assert "Traceback" not in ran.err


def test_a_misspelt_field_is_an_error_and_not_ignored(run: Run) -> None:
    ran = run("jobs", "submit", "-", stdin=yaml.safe_dump(training_job("digits", skaleTier="BASIC")))
    assert ran.code == 1
    assert 'unknown field "spec.skaleTier"' in ran.err


def test_a_name_that_is_taken_is_said_to_be(run: Run) -> None:
    run("jobs", "submit", "digits", "--image", IMAGE).ok()
    ran = run("jobs", "submit", "digits", "--image", IMAGE)
    assert ran.code == 1
    assert "exists already: choose another name or delete it first" in ran.err


def test_a_missing_job_and_namespace_are_named(run: Run, cluster: Cluster) -> None:
    for words in (("describe", "nobody"), ("wait", "nobody"), ("cancel", "nobody"), ("stream-logs", "nobody")):
        ran = run("jobs", *words)
        assert ran.code == 1
        assert f"TrainingJob nobody in namespace {cluster.namespace} does not exist: see `fovea jobs list" in ran.err
    ran = run("jobs", "submit", "digits", "--image", IMAGE, "-n", "no-such-namespace")
    assert ran.code == 1
    assert "namespace no-such-namespace does not exist: create it with `kubectl create namespace" in ran.err


def test_list_shows_the_newest_first_and_filters_by_state(run: Run, cluster: Cluster) -> None:
    for name, state in (("a", "RUNNING"), ("b", "SUCCEEDED"), ("c", "QUEUED")):
        cluster.create(training_job(name))
        set_status(cluster, name, state=state)
    lines = run("jobs", "list").ok().out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "QUEUED", "RUNNING", "PROGRESS", "VERSION", "AGE"]
    assert {line.split()[0] for line in lines[1:]} == {"a", "b", "c"}
    running = run("jobs", "list", "--state", "running", "--format", "json").ok().json()
    assert [job["metadata"]["name"] for job in running] == ["a"]
    assert len(run("jobs", "list", "--limit", 2, "--format", "json").ok().json()) == 2


def test_an_empty_list_says_so_on_standard_error(run: Run, cluster: Cluster) -> None:
    ran = run("jobs", "list").ok()
    assert (ran.out, ran.err) == ("", f"No jobs in namespace {cluster.namespace}.\n")
    assert run("jobs", "list", "--format", "json").ok().json() == []


def test_describe_says_state_message_and_what_to_try_next(run: Run, cluster: Cluster) -> None:
    cluster.create(training_job("digits"))
    assert "the operator has not looked at it yet" in run("jobs", "describe", "digits").ok().out
    set_status(cluster, "digits", state="FAILED", message="the program ended with exit code 1")
    text = run("jobs", "describe", "digits").ok().out
    assert text.splitlines()[2].split() == ["State:", "FAILED"]
    assert "the program ended with exit code 1" in text
    assert f"fovea jobs stream-logs digits -n {cluster.namespace}" in text
    assert run("jobs", "describe", "digits", "--format", "json").ok().json()["status"]["state"] == "FAILED"


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 3)])
def test_the_exit_code_of_wait_says_how_the_job_ended(run: Run, cluster: Cluster, state: str, code: int) -> None:
    cluster.create(training_job("digits"))
    progress = {"step": 45, "steps": 450, "epoch": 1, "epochs": 10, "metrics": {"loss": 0.5}}
    writing = set_status_soon(
        cluster, "digits", {"state": "RUNNING"}, {"progress": progress}, {"state": state, "message": "that was it"}
    )
    ran = run("jobs", "wait", "digits", "--timeout", "30s")
    writing.join()
    assert ran.code == code
    assert ran.out == f"Job digits {state}.\n"
    assert "digits: QUEUED" in ran.err
    assert "digits: RUNNING: epoch 1/10, step 45/450; loss 0.5\n" in ran.err


def test_wait_gives_up_after_the_timeout_with_a_code_of_its_own(run: Run, cluster: Cluster) -> None:
    cluster.create(training_job("digits"))
    ran = run("jobs", "wait", "digits", "--timeout", "1s")
    assert ran.code == 124
    assert "TIMEOUT: job digits is still QUEUED after" in ran.err


def test_wait_for_several_jobs_answers_with_the_first_that_did_not_succeed(run: Run, cluster: Cluster) -> None:
    for name, state in (("a", "SUCCEEDED"), ("b", "CANCELLED"), ("c", "FAILED")):
        cluster.create(training_job(name))
        set_status(cluster, name, state=state)
    assert run("jobs", "wait", "a", "b", "c", "--timeout", "20s").code == 3


def test_a_job_deleted_while_it_is_waited_for_is_an_error(
    client: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.create(training_job("digits"))
    watch = client.jobs.kinds.watch

    def deleted_meanwhile(*arguments: Any) -> Iterator[Any]:
        monkeypatch.setattr(client.jobs.kinds, "watch", watch)
        cluster.delete("TrainingJob", "digits")
        return watch(*arguments)

    monkeypatch.setattr(client.jobs.kinds, "watch", deleted_meanwhile)
    with pytest.raises(NotFoundError, match="job digits was deleted while it was waited for"):
        client.jobs.wait("digits", timeout=30)


def test_a_job_submitted_anew_while_the_watch_was_broken_is_not_taken_for_the_first(
    client: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.create(training_job("digits"))
    monkeypatch.setattr(client.jobs.kinds, "watch", lambda *arguments: iter(()))
    following = client.jobs.follow("digits", timeout=30)
    next(following)
    cluster.delete("TrainingJob", "digits")
    cluster.create(training_job("digits"))
    with pytest.raises(NotFoundError, match="was deleted and submitted anew"):
        next(following)


def test_submit_and_wait_in_one_command(run: Run, cluster: Cluster) -> None:
    def play_operator() -> None:
        cluster.wait("the job", lambda: cluster.get("TrainingJob", "digits"))
        set_status(cluster, "digits", state="SUCCEEDED", modelVersion="digits-v1")

    player = threading.Thread(target=play_operator, daemon=True)
    player.start()
    ran = run("jobs", "submit", "digits", "--image", IMAGE, "--wait", "--timeout", "30s").ok()
    player.join()
    assert "Job digits SUCCEEDED. Model version digits-v1.\n" in ran.out


def test_submit_and_wait_with_json_print_json_only(run: Run, cluster: Cluster) -> None:
    def play_operator() -> None:
        cluster.wait("the job", lambda: cluster.get("TrainingJob", "digits"))
        set_status(cluster, "digits", state="FAILED")

    player = threading.Thread(target=play_operator, daemon=True)
    player.start()
    ran = run("jobs", "submit", "digits", "--image", IMAGE, "--wait", "--timeout", "30s", "--format", "json")
    player.join()
    assert (ran.code, ran.json()["metadata"]["name"]) == (1, "digits")
    assert "Job digits FAILED.\n" in ran.err


def test_cancel_suspend_resume_and_delete_do_what_they_say(run: Run, cluster: Cluster) -> None:
    cluster.create(training_job("digits"))

    def spec() -> Any:
        found = cluster.get("TrainingJob", "digits")
        assert found is not None
        return found["spec"]

    run("jobs", "suspend", "digits").ok()
    assert spec()["suspend"] is True
    run("jobs", "resume", "digits").ok()
    assert spec()["suspend"] is False
    run("jobs", "cancel", "digits").ok()
    assert spec()["cancel"] is True
    assert run("jobs", "delete", "digits", stdin="n\n").code == 1
    assert cluster.get("TrainingJob", "digits") is not None
    run("jobs", "delete", "digits", "--yes").ok()
    assert cluster.get("TrainingJob", "digits") is None


@pytest.mark.parametrize(
    "words", [("delete", "", "--yes"), ("describe", ""), ("cancel", ""), ("wait", ""), ("suspend", "")], ids=str
)
def test_an_empty_name_means_no_job_and_never_all_of_them(run: Run, cluster: Cluster, words: tuple[str, ...]) -> None:
    for name in ("one", "two"):
        cluster.create(training_job(name))
    ran = run("jobs", *words)
    assert ran.code == 1
    assert "the name of the TrainingJob is empty: is a variable unset?" in ran.err
    assert {job["metadata"]["name"] for job in cluster.list("TrainingJob")} == {"one", "two"}


@pytest.mark.parametrize("verb", ["cancel", "suspend", "resume"])
def test_an_ended_job_can_be_neither_cancelled_nor_suspended(run: Run, cluster: Cluster, verb: str) -> None:
    cluster.create(training_job("digits"))
    set_status(cluster, "digits", state="SUCCEEDED")
    ran = run("jobs", verb, "digits")
    assert (ran.code, ran.out) == (1, "")
    assert f"job digits has ended already (SUCCEEDED): there is nothing to {verb}" in ran.err


def test_a_verb_goes_on_after_a_job_that_it_fails_for(run: Run, cluster: Cluster) -> None:
    for name in ("a", "ended", "c"):
        cluster.create(training_job(name))
    set_status(cluster, "ended", state="FAILED")
    for verb, said in (("suspend", "Suspended job"), ("resume", "Resumed job"), ("cancel", "Cancelling job")):
        ran = run("jobs", verb, "a", "ended", "nobody", "c")
        assert ran.code == 1
        assert [line[: len(said) + 2] for line in ran.out.splitlines()] == [f"{said} a", f"{said} c"]
        assert [line[:6] for line in ran.err.splitlines()] == ["ERROR:", "ERROR:"]
    uids = {job["metadata"]["name"]: job["metadata"]["uid"] for job in cluster.list("TrainingJob")}
    ran = run("jobs", "delete", "a", "nobody", "c", "--yes")
    left = r"Deleted job a\. What it published stays: job://a@(?P<a>\S+)\nDeleted job c\. .* job://c@(?P<c>\S+)\n"
    addresses = re.fullmatch(left, ran.out)
    assert addresses, ran.out
    assert (ran.code, addresses["a"], addresses["c"]) == (1, uids["a"], uids["c"])
    for name, state in (("d", "SUCCEEDED"), ("e", "CANCELLED")):
        cluster.create(training_job(name))
        set_status(cluster, name, state=state)
    ran = run("jobs", "wait", "d", "nobody", "e", "--timeout", "20s")
    assert (ran.code, ran.out) == (1, "Job d SUCCEEDED.\nJob e CANCELLED.\n")


def test_each_file_is_submitted_and_reported_though_another_is_refused(
    run: Run, cluster: Cluster, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(yaml.safe_dump(training_job(name)))
    cluster.create(training_job("b"))
    ran = run("jobs", "submit", *(tmp_path / name for name in ("a", "b", "c")))
    assert ran.code == 1
    assert [line.split()[1] for line in ran.out.splitlines()] == ["a", "c"]
    assert "TrainingJob b in namespace" in ran.err
    ran = run("jobs", "submit", tmp_path / "b", tmp_path / "c", "--dry-run", "--format", "json")
    assert (ran.code, ran.out) == (1, "")


def test_several_jobs_are_checked_and_shown_as_one_document(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump_all([training_job("one"), training_job("two")]))
    checked = run("jobs", "submit", file, "--dry-run").ok().out
    assert [job["metadata"]["name"] for job in yaml.safe_load_all(checked)] == ["one", "two"]
    made = run("jobs", "submit", file, "--format", "json").ok().json()
    assert [job["metadata"]["name"] for job in made] == ["one", "two"]


def test_the_sdk_submits_a_typed_job_and_a_manifest_for_another_namespace(client: Client, cluster: Cluster) -> None:
    typed = TrainingJob.model_validate(training_job("typed"))
    job = client.jobs.submit(typed)
    assert (job.name, job.namespace, job.state) == ("typed", cluster.namespace, JobState.QUEUED)
    manifest = training_job("elsewhere")
    manifest["metadata"]["namespace"] = "default"
    job = client.jobs.submit(manifest)
    try:
        assert (job.namespace, job.refresh().name) == ("default", "elsewhere")
    finally:
        job.delete()


def test_the_sdk_follows_a_job_change_by_change(client: Client, cluster: Cluster) -> None:
    job = client.jobs.submit(training_job("digits"))
    writing = set_status_soon(cluster, "digits", {"state": "PREPARING"}, {"state": "RUNNING"}, {"state": "SUCCEEDED"})
    seen = [change.state for change in job.follow(timeout=30)]
    writing.join()
    assert list(dict.fromkeys(seen)) == ["QUEUED", "PREPARING", "RUNNING", "SUCCEEDED"]
    with pytest.raises(InvalidError, match="has ended already"):
        job.cancel()


def test_the_sdk_says_when_waiting_took_too_long(client: Client) -> None:
    job = client.jobs.submit(training_job("digits"))
    with pytest.raises(WaitTimeoutError, match="job digits is still QUEUED after 1 s"):
        job.wait(timeout=1)


def test_a_user_without_rights_is_told_whom_to_ask(server: ApiServer, cluster: Cluster) -> None:
    kubeconfig = server.user_kubeconfig("stranger")
    ran = fovea("jobs", "list", "--kubeconfig", kubeconfig, "-n", cluster.namespace)
    assert ran.code == 1
    assert f"you may not list TrainingJob in namespace {cluster.namespace}: ask the platform team" in ran.err
    assert f"`kubectl auth can-i list trainingjobs -n {cluster.namespace}`" in ran.err
    with pytest.raises(ForbiddenError):
        Client(kubeconfig=str(kubeconfig), namespace=cluster.namespace).jobs.list()


def test_a_cluster_that_is_down_is_named_with_the_next_step(tmp_path: Path, cluster: Cluster) -> None:
    config = yaml.safe_load(cluster.server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    ran = fovea("jobs", "list", "--kubeconfig", file)
    assert ran.code == 1
    assert "the API server https://127.0.0.1:1 does not answer" in ran.err
    with pytest.raises(UnreachableError):
        Client(kubeconfig=str(file)).jobs.list()


def test_an_untrusted_server_and_an_unknown_context_are_told_apart(tmp_path: Path, cluster: Cluster) -> None:
    config = yaml.safe_load(cluster.server.kubeconfig.read_text())
    config["clusters"][0]["cluster"].pop("certificate-authority-data")
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    assert "is not trusted" in fovea("jobs", "list", "--kubeconfig", file).err
    assert (
        "has no usable context elsewhere" in fovea("jobs", "list", "--kubeconfig", file, "--context", "elsewhere").err
    )


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory: pytest.TempPathFactory, server: ApiServer) -> Iterator[ApiServer]:
    """An API server that has never heard of Fovea."""
    del server  # its programs are built
    with ApiServer(tmp_path_factory.mktemp("bare"), tools=Tools(Cache.from_environment())) as running:
        yield running


def test_a_cluster_without_fovea_is_answered_with_how_to_install_it(bare_server: ApiServer) -> None:
    for words in (("list",), ("describe", "digits"), ("submit", "digits", "--image", IMAGE)):
        ran = fovea("--kubeconfig", bare_server.kubeconfig, "jobs", *words)
        assert ran.code == 1
        assert "Fovea is not installed in this cluster (it does not know trainingjobs): helm install" in ran.err


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 3)])
@pytest.mark.parametrize("how", ["--stream-logs", "--wait"])
def test_a_job_that_is_deleted_at_its_end_is_still_seen_to_end(
    run: Run, cluster: Cluster, how: str, state: str, code: int
) -> None:
    def play_operator() -> None:
        """With a TTL of 0: status and deletion within a moment."""
        cluster.wait("the job", lambda: cluster.get("TrainingJob", "digits"))
        set_status(cluster, "digits", state=state, message="that was it")
        cluster.delete("TrainingJob", "digits")

    player = threading.Thread(target=play_operator, daemon=True)
    player.start()
    ran = run("jobs", "submit", "digits", "--image", IMAGE, how, "--timeout", "30s")
    player.join()
    assert ran.code == code, ran.err
    assert f"Job digits {state}." in ran.out


@pytest.mark.parametrize(
    ("reason", "state", "code"),
    [("Published", "SUCCEEDED", 0), ("ProgramFailed", "FAILED", 1), ("Cancelled", "CANCELLED", 3)],
)
def test_a_job_that_was_deleted_before_it_is_waited_for_is_known_by_its_events(
    run: Run, cluster: Cluster, reason: str, state: str, code: int
) -> None:
    for number, (said, stamp) in enumerate((("Retrying", "2026-01-01T10:00:00Z"), (reason, "2026-01-01T10:00:05Z"))):
        about = {"kind": "TrainingJob", "name": "digits", "namespace": cluster.namespace, "uid": "u-1"}
        event = {"metadata": {"name": f"digits.{number}"}, "involvedObject": about, "reason": said, "type": "Normal"}
        cluster.create({"apiVersion": "v1", "kind": "Event", **event, "lastTimestamp": stamp})
    ran = run("jobs", "wait", "digits")
    assert (ran.code, ran.out) == (code, f"Job digits {state}.\n")
    for words in (("describe", "digits"), ("stream-logs", "digits")):
        ran = run("jobs", *words)
        assert ran.code == 1
        assert f"is deleted: it {state} at 2026-01-01T10:00:05Z ({reason})" in ran.err
        assert f"fovea jobs download digits@u-1 -n {cluster.namespace}" in ran.err


def test_what_a_deleted_job_left_is_named_at_submission(run: Run, cluster: Cluster) -> None:
    cluster.create(training_job("prep"))
    uid = (cluster.get("TrainingJob", "prep") or {})["metadata"]["uid"]
    address = run("jobs", "delete", "prep", "--yes").out.split()[-1]
    assert address == f"job://prep@{uid}"
    recipe = ("--recipe", "image-classifier")
    ran = run(
        "jobs", "submit", "prep", *recipe, "--input", f"data={address}/output", "--checkpoint-from", "prep@latest"
    )
    assert ran.code == 0, ran.err
    spec = (cluster.get("TrainingJob", "prep") or {})["spec"]
    assert (spec["inputs"]["data"], spec["checkpoint"]["from"]) == (f"{address}/output", "job://prep@latest")
    ran = run("jobs", "submit", "other", *recipe, "--input", "data=job://prep@monday/output")
    assert ran.code != 0
    assert "spec.inputs.data" in ran.err
