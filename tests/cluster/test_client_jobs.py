"""`fovea jobs` list, describe, cancel, suspend, resume, delete against a real API server; the test plays the operator."""

import re
from typing import Any

import pytest
from support.command_line import Run
from support.jobs import training_job
from support.kube_apiserver import Cluster
from support.played_operator import set_status

IMAGE = "registry.invalid/trainer:1"


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
    assert lines[0].split() == ["NAME", "STATE", "QUEUED", "RUNNING", "PROGRESS", "AS", "OF", "VERSION", "AGE"]
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
