"""The command line and what containers are given."""

import errno
import json
from pathlib import Path

import pytest
from fovea_agent.errors import Misconfigured
from fovea_agent.main import _leave, main
from fovea_agent.outcome import volume_problem
from fovea_agent.patience import Patience
from fovea_agent.provision import access_key, policy
from fovea_agent.settings import StoreAccess, WorkVolume, read_plan
from fovea_agent.store import Store
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import Termination


@pytest.mark.parametrize("command", ["fetch", "sync", "fetch-model", "provision", "check-store"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "--termination-log" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "FOVEA_PLAN is not set"),
        ({environment.PLAN: "[]"}, "not an object"),
        ({environment.PLAN: "{"}, "FOVEA_PLAN"),
        ({environment.PLAN: '{"job": "x"}'}, "namespace"),
        ({environment.PLAN: '{"unknown": 1}'}, "unknown"),
        ({environment.PLAN: '{"inputs": [{"bad": 1}]}'}, "bad"),
    ],
)
def test_a_plan_that_cannot_be_read_says_what_is_wrong(env: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        read_plan(TrainingPlan.from_json, env)


@pytest.mark.parametrize("endpoint", ["minio:9000", "http://minio/path", "http://minio:90000", "http://[::1"])
def test_an_endpoint_that_is_no_url_is_refused_with_the_secrets_key(endpoint: str) -> None:
    with pytest.raises(Misconfigured, match=r"Secret fovea-object-store, key endpoint: .* is not a URL"):
        StoreAccess(endpoint, "fovea", "a", "b")


@pytest.mark.parametrize(
    ("endpoint", "region", "words"),
    [
        ("https://elsewhere.amazonaws.com", "eu-central-1", "elsewhere"),
        ("https://minio", "EU (Frankfurt)", "Frankfurt"),
    ],
    ids=["host", "region"],
)
def test_what_the_client_library_does_not_take_is_a_matter_of_configuration(
    endpoint: str, region: str, words: str
) -> None:
    with pytest.raises(Misconfigured, match=f"keys endpoint and region: .*{words}"):
        Store(StoreAccess(endpoint, "fovea", "a", "b", region), Patience(0))


def test_what_a_program_left_is_seen_also_where_only_its_own_user_may_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = WorkVolume(tmp_path, tmp_path / "state")
    assert not work.is_used(), "no folder is there yet"
    work.prepare()
    assert not work.is_used()
    (work.directory(environment.CHECKPOINT_DIR) / "200").mkdir()
    assert work.is_used()

    def refuse(_folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert work.is_used()


def test_the_work_volumes_folders_can_be_written_by_the_trainers_user(tmp_path: Path) -> None:
    work = WorkVolume(tmp_path, tmp_path / "state")
    work.prepare()
    for name in environment.DIRECTORIES:
        assert work.directory(name).stat().st_mode & 0o7777 == 0o2777
    assert (tmp_path / work.progress).parent.is_dir()
    assert (
        str(WorkVolume(Path(environment.WORK_MOUNT), tmp_path).directory(environment.INPUT_DIR))
        == environment.DIRECTORIES[environment.INPUT_DIR]
    )


def test_metrics_that_the_termination_message_cannot_hold_are_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = {f"{i:03}-{'x' * 50}": 0.5 for i in range(90)}
    _leave(Termination("Published", "published", metrics=metrics), tmp_path / "message")
    said = Termination.from_json((tmp_path / "message").read_text())
    assert said is not None
    (record,) = caplog.records
    assert sorted([*said.metrics, *record.fields["metrics"]]) == sorted(metrics)  # type: ignore[attr-defined]


def test_a_full_volume_is_said_in_plain_words() -> None:
    full = volume_problem(OSError(errno.ENOSPC, "No space left on device"))
    assert (full.exit_code, full.reason) == (exit_codes.VOLUME, "VolumeProblem")
    assert "full" in full.message


def test_a_defect_is_a_termination_message_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("fovea_agent.main.read_plan", explode)
    message = tmp_path / "message"
    assert main(["fetch", "--termination-log", str(message), "--work", str(tmp_path)]) == exit_codes.INTERNAL
    assert json.loads(message.read_text())["reason"] == "InternalError"
    assert "ZeroDivisionError" in message.read_text()


def test_a_namespaces_policy_reaches_its_prefix_only() -> None:
    rules = policy("fovea", "vision", ["/shared/data/"])
    assert [s["Resource"] for s in rules["Statement"]] == [
        ["arn:aws:s3:::fovea"],
        ["arn:aws:s3:::fovea"],
        ["arn:aws:s3:::fovea/vision/*"],
        ["arn:aws:s3:::fovea/shared/data/*"],
    ]
    assert rules["Statement"][1]["Condition"] == {"StringLike": {"s3:prefix": ["vision/*", "shared/data/*"]}}
    assert rules["Statement"][3]["Action"] == ["s3:GetObject"]


def test_a_namespaces_key_has_one_name_that_fits_minio() -> None:
    assert access_key("a") == access_key("a") != access_key("b")
    assert len(access_key("a" * 63)) == 20
