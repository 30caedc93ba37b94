"""The contracts between the parts: what is written is read back, malformed input is refused in words, names fit their limits."""

import json

import pytest
from fovea_api.contract import (
    cluster_spec,
    environment,
    exit_codes,
    manifest,
    names,
    plan,
    progress,
    report,
    shards,
    storage,
)
from hypothesis import given
from hypothesis import strategies as st

SEGMENT = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=12).filter(
    lambda s: s not in (".", "..")
)
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
ENTRY = st.builds(
    manifest.Entry,
    path=PATH,
    key=PATH,
    size=st.integers(0, 2**40),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)
LONGEST = "a" * names.MAX_NAME


@given(
    st.builds(
        manifest.Manifest,
        attempt=st.integers(0, 1000),
        entries=st.lists(ENTRY, max_size=5).map(lambda e: tuple(sorted(e, key=lambda x: x.path))),
        complete=st.booleans(),
        step=st.none() | st.integers(0, 10**9),
    )
)
def test_a_manifest_is_read_back_as_it_was_written(written: manifest.Manifest) -> None:
    read = manifest.Manifest.from_json(written.to_json())
    assert (read.attempt, read.complete, read.step, read.digest) == (
        written.attempt,
        written.complete,
        written.step,
        written.digest,
    )
    assert sorted(read.entries, key=repr) == sorted(written.entries, key=repr)


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "a//b", "", "a/./b", "a\0b"])
def test_a_manifest_path_that_leaves_its_folder_is_refused(path: str) -> None:
    good = json.loads(manifest.Manifest(0, (manifest.Entry("a", "0/a", 1, "00"),)).to_json())
    good["files"][0]["path"] = path
    with pytest.raises(manifest.ManifestError, match="manifest path"):
        manifest.Manifest.from_json(json.dumps(good).encode())


def test_a_manifest_whose_files_were_edited_is_refused() -> None:
    document = json.loads(manifest.Manifest(0, (manifest.Entry("a", "0/a", 1, "00"),)).to_json())
    document["files"][0]["size"] = 2
    with pytest.raises(manifest.ManifestError, match="manifest says digest"):
        manifest.Manifest.from_json(json.dumps(document).encode())


def test_equal_content_has_equal_digests_whatever_the_attempt_and_order() -> None:
    first = manifest.Manifest(0, (manifest.Entry("a", "0/a", 1, "aa"), manifest.Entry("b", "0/b", 2, "bb")))
    second = manifest.Manifest(
        3, (manifest.Entry("b", "3/b", 2, "bb"), manifest.Entry("a", "3/a", 1, "aa")), complete=True
    )
    assert first.digest == second.digest


def test_plans_are_read_back_as_they_were_written() -> None:
    training = plan.TrainingPlan(
        namespace="vision",
        job="digits",
        uid="u",
        attempt=2,
        inputs=(
            plan.Input("data", "s3://fovea/vision/datasets/digits"),
            plan.Input("m", "s3://b/k", plan.INPUT_PUBLICATION, "sha256:0"),
        ),
        cache="features",
        report_url="http://fovea-operator:8080",
    )
    serving = plan.ModelPlan("vision", "digits", 3, "s3://fovea/vision/jobs/d/u/model/0", "sha256:0")
    assert plan.TrainingPlan.from_json(training.to_json()) == training
    assert plan.ModelPlan.from_json(serving.to_json()) == serving


@pytest.mark.parametrize(
    "text", ["[]", '{"namespace": "x"}', '{"surprise": 1}', '{"inputs": [{"x": 1}]}', '{"inputs": 1}']
)
def test_a_malformed_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="plan is"):
        plan.TrainingPlan.from_json(text)


def test_a_termination_message_always_fits_and_never_loses_its_digests() -> None:
    published = report.Published("s3://fovea/x", "sha256:" + "0" * 64, 12, 3)
    said = report.Termination(
        "Published", "ü" * 9000, output=published, model=published, metrics={f"m{i}": 0.5 for i in range(400)}
    )
    text = said.to_json()
    assert len(text.encode()) <= report.MAX_TERMINATION_BYTES
    read = report.Termination.from_json(text)
    assert read is not None
    assert (read.output, read.model) == (published, published)


@pytest.mark.parametrize(
    "text",
    ["", "Traceback (most recent call last):", "[1]", '{"reason": "x"}', '{"reason":"x","message":"y","output":3}'],
)
def test_a_termination_message_that_is_not_ours_is_none(text: str) -> None:
    assert report.Termination.from_json(text) is None


def test_progress_of_any_framework_is_read_and_unknown_fields_are_ignored() -> None:
    line = '{"step": 5, "steps": 10, "metrics": {"loss": 1}, "learning_rate_schedule": []}'
    assert progress.Progress.from_json(line) == progress.Progress(step=5, steps=10, metrics={"loss": 1.0})


@pytest.mark.parametrize("line", ["{}", '{"step": "five"}', "[]", '{"step": 1, "metrics": []}'])
def test_a_progress_line_without_a_step_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="progress line"):
        progress.Progress.from_json(line)


@pytest.mark.parametrize(
    "fields",
    [
        '"steps": Infinity',
        '"steps": NaN',
        '"epoch": -Infinity',
        f'"epochs": 1{"0" * 400}',
        '"steps": 1e300',
        f'"metrics": {{"loss": 1{"0" * 400}}}',
        '"metrics": {"loss": null}',
        f'"metrics": {{"loss": 1{"0" * 5000}}}',
        f'"other": {"[" * 20_000}',
    ],
)
def test_a_progress_line_with_a_number_that_cannot_be_is_refused(fields: str) -> None:
    with pytest.raises(ValueError, match=r"progress line|integer string conversion"):
        progress.Progress.from_json(f'{{"step": 1, {fields}}}')


def test_a_step_that_no_other_reader_of_json_could_hold_is_refused() -> None:
    assert progress.Progress.from_json(f'{{"step": {2**53}}}').step == 2**53
    with pytest.raises(ValueError, match="at most 9007199254740992"):
        progress.Progress.from_json(f'{{"step": {2**53 + 1}}}')


def test_tf_config_is_read_back_and_absent_for_a_single_process() -> None:
    spec = cluster_spec.ClusterSpec({"chief": ("c:2222",), "worker": ("w0:2222", "w1:2222")}, "worker", 1)
    assert cluster_spec.ClusterSpec.from_env(spec.to_env()) == spec
    assert cluster_spec.ClusterSpec.from_env(None) is None
    assert cluster_spec.ClusterSpec.from_env('{"cluster": {}}') is None


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, "done"),
        (1, "permanent"),
        (74, "permanent"),
        (75, "retryable"),
        (76, "permanent"),
        (127, "permanent"),
        (128, "retryable"),
        (137, "retryable"),
        (255, "retryable"),
    ],
)
def test_an_exit_code_decides_on_a_retry(code: int, outcome: str) -> None:
    assert exit_codes.outcome(code).value == outcome


def test_every_derived_name_of_the_longest_name_fits_a_dns_label() -> None:
    derived = [
        names.training_pod(LONGEST, "evaluator", 99, 1000),
        names.training_host(LONGEST, "evaluator", 999),
        names.model_version(LONGEST, 999_999_999),
        names.version_deployment(LONGEST, 999_999_999, "0123456789"),
    ]
    assert [name for name in derived if len(name) > 63] == []


@pytest.mark.parametrize(
    "uri", ["", "/x", "s3://", "gs://b/k", "s3://b/k?x=1", "bucket/key", "s3://b/a/../c", "s3://b/./a"]
)
def test_a_wrong_store_address_is_refused_with_the_right_form(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://<bucket>/<path>"):
        storage.Location.parse(uri)


def test_everything_a_namespace_publishes_lies_below_its_name() -> None:
    job = storage.job("vision", "digits", "uid")
    keys = [
        storage.checkpoint(job, 5),
        storage.model(job, 0),
        storage.output(job, 0),
        storage.tensorboard(job, 0),
        storage.fence(job, 0),
        storage.cache("vision", "c"),
        storage.dataset("vision", "d"),
        storage.registered_model("vision", "m", "sha256:" + "1" * 64),
    ]
    assert [key for key in keys if not key.startswith("vision/")] == []


def test_a_trainer_sees_directories_and_no_credentials() -> None:
    variables = environment.of_trainer("digits", checkpoint_every_steps=100, checkpoint_keep=3)
    assert {name for name in variables if "KEY" in name or "SECRET" in name or "TOKEN" in name} == set()
    assert {variables[name] for name in environment.DIRECTORIES} == set(environment.DIRECTORIES.values())


def test_a_report_of_a_newer_agent_is_read_without_what_is_not_known() -> None:
    text = '{"step": 5, "checkpoint_step": 4, "mood": "good"}'
    assert report.ProgressReport.from_json(text) == report.ProgressReport(step=5, checkpoint_step=4)
    said = report.Termination.from_json(f'{{"reason": "Published", "message": "m", "progress": {text}}}')
    assert said is not None
    assert said.progress == report.ProgressReport(step=5, checkpoint_step=4)
    output = '{"uri": "s3://fovea/x", "digest": "sha256:0", "size": 1, "files": 2, "mood": "good"}'
    said = report.Termination.from_json(f'{{"reason": "Published", "message": "m", "output": {output}}}')
    assert said is not None
    assert said.output == report.Published("s3://fovea/x", "sha256:0", 1, 2)


def test_a_plan_of_a_newer_operator_is_looked_at_without_what_is_not_known_but_not_carried_out() -> None:
    text = (
        '{"namespace": "vision", "job": "digits", "uid": "u", "attempt": 0, "mood": "good", '
        '"inputs": [{"name": "data", "uri": "s3://fovea/x", "mood": "good"}]}'
    )
    read = plan.TrainingPlan.from_json(text, obey=False)
    assert (read.job, read.inputs) == ("digits", (plan.Input("data", "s3://fovea/x"),))
    with pytest.raises(ValueError, match="mood"):
        plan.TrainingPlan.from_json(text)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://minio",
        "https://minio.example.com:9000/",
        "http://[::1]:9000",
        "https://s3.eu-central-1.amazonaws.com",
        "https://s3-eu-west-1.amazonaws.com",
        "https://bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com",
    ],
)
def test_an_endpoint_of_scheme_host_and_port_is_taken(endpoint: str) -> None:
    assert storage.address(endpoint).geturl() == endpoint


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("minio:9000", "is not a URL like https://minio.example.com:9000$"),
        ("minio.example.com", "is not a URL"),
        ("s3://minio", "is not a URL"),
        ("http://", "is not a URL"),
        ("https://mi nio", "is not a URL"),
        ("http://minio:port", "is not a URL.*: .*port"),
        ("http://minio:90000", "is not a URL.*: .*[Pp]ort"),
        ("http://[::1", "is not a URL.*: Invalid IPv6 URL"),
        ("https://https://minio", "write scheme, host and port alone"),
        ("http://minio/fovea", "the bucket is named apart"),
        ("http://minio?x=1", "write scheme, host and port alone"),
        ("http://minio#x", "write scheme, host and port alone"),
        (
            "https://my.pictures.s3.eu-west-1.amazonaws.com",
            "write https://s3.eu-west-1.amazonaws.com and the bucket my.pictures$",
        ),
    ],
)
def test_an_endpoint_that_holds_anything_else_is_refused_with_what_to_write(endpoint: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        storage.address(endpoint)


def test_an_endpoint_with_a_password_is_refused_without_telling_it() -> None:
    with pytest.raises(ValueError, match="not taken") as refused:
        storage.address("https://me:secret@minio:9000")
    assert "secret@" not in str(refused.value)


def test_a_record_whose_length_looks_like_a_compressed_file_is_one_that_is_not():
    crc = 0x12345678
    for begin in (b"\x1f\x8b\x08\0\0\0\0\0", b"\x78\x9c\0\0\0\0\0\0"):
        plain = begin + shards.masked(crc).to_bytes(4, "little")
        assert shards.compression(plain, lambda _: crc) == ""
        assert shards.compression(plain, lambda _: crc + 1) == ("GZIP" if begin[0] == 0x1F else "ZLIB")
    assert [shards.compression(head, lambda _: crc) for head in (b"", b"\x78", b"no record at all"[:12])] == [
        "",
        "",
        "",
    ]
