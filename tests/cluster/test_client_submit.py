"""`fovea jobs submit` against a real API server."""

import threading
from pathlib import Path

import yaml
from fovea.sdk import Client
from fovea_api.v1alpha1 import JobState, TrainingJob
from support.command_line import Run
from support.jobs import training_job
from support.kube_apiserver import Cluster
from support.played_operator import set_status

IMAGE = "registry.invalid/trainer:1"


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


def test_a_job_is_submitted_again_with_other_flags_and_goes_on_from_its_checkpoint(run: Run, cluster: Cluster) -> None:
    run(
        "jobs", "submit", "digits", "--recipe", "image-classifier", "--suspend", "--epochs", 10, "--optimizer", "sgd"
    ).ok()
    again = run("jobs", "resubmit", "digits", "--arg", "epochs=20", "--", "--optimizer=adam").ok()
    assert again.out == f"Job digits-2 submitted to namespace {cluster.namespace}.\n"
    old, new = cluster.get("TrainingJob", "digits"), cluster.get("TrainingJob", "digits-2")
    assert old is not None
    assert new is not None
    assert new["spec"]["args"] == {"epochs": 20, "optimizer": "adam"}
    assert not new["spec"]["suspend"]
    run("jobs", "resubmit", "digits", "--from-checkpoint").ok()
    third = cluster.get("TrainingJob", "digits-3")
    assert third is not None
    assert third["spec"]["checkpoint"]["from"] == f"job://digits@{old['metadata']['uid']}"
    scratch = run("jobs", "resubmit", "digits-3", "--name", "fresh", "--train-from-scratch").ok()
    assert "Job fresh submitted" in scratch.out
    fresh = cluster.get("TrainingJob", "fresh")
    assert fresh is not None
    assert fresh["spec"]["checkpoint"]["trainFromScratch"] is True
    assert run("jobs", "resubmit", "digits", "--from-checkpoint", "--train-from-scratch").code == 2
    assert "exists" in run("jobs", "resubmit", "digits", "--name", "fresh").err


def test_a_model_names_the_checkpoint_to_begin_with(run: Run, cluster: Cluster) -> None:
    recipe = ("--recipe", "image-classifier")
    run("jobs", "submit", "more", *recipe, "--checkpoint-from", "model://digits/3").ok()
    made = cluster.get("TrainingJob", "more")
    assert made is not None
    assert made["spec"]["checkpoint"]["from"] == "model://digits/3"
    refused = run("jobs", "submit", "less", *recipe, "--checkpoint-from", "model://digits/0")
    assert refused.code == 1
    assert "spec.checkpoint.from" in refused.err
