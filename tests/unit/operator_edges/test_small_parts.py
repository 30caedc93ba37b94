"""Events, the Lease, liveness, credentials, errors, logs and the command line."""

import asyncio
import base64
import json
import logging
import re
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_operator import errors, logs, main
from fovea_operator.cluster.credentials import NoCredentials, from_kubeconfig, from_service_account, load
from fovea_operator.cluster.events import Announcer, Dedupe, Subject, manifest
from fovea_operator.cluster.lease import Sighting, sighting
from fovea_operator.cluster.liveness import Liveness
from fovea_operator.errors import FoveaError
from fovea_operator.handlers import running
from fovea_operator.reconcile.shared.decision import Event
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings
from support.kinds import TRAINING_JOB

DIGITS = Subject(TRAINING_JOB, "team", "digits", "u1")


# --- events ---


def test_the_same_event_of_one_object_is_written_once_in_a_while() -> None:
    dedupe = Dedupe(seconds=600)
    event = Event("Warning", "PodRefused", "exceeded quota")
    other = Subject(TRAINING_JOB, "team", "cats", "u2")
    assert dedupe.is_new(DIGITS, event, 0)
    assert not dedupe.is_new(DIGITS, event, 599)
    assert dedupe.is_new(other, event, 599)
    assert dedupe.is_new(DIGITS, Event("Warning", "PodRefused", "another message"), 599)
    assert dedupe.is_new(DIGITS, event, 600)


def test_an_event_of_the_end_is_written_though_the_same_words_were_said_before() -> None:
    dedupe = Dedupe(seconds=600)
    assert dedupe.is_new(DIGITS, Event("Normal", "Cancelled", "as asked"), 0)
    assert dedupe.is_new(DIGITS, Event("Normal", "Cancelled", "as asked", ended_as="CANCELLED"), 1)


def test_an_event_of_the_end_bears_the_state_as_a_label_and_no_other_does() -> None:
    goes_on, ended = (
        manifest(DIGITS, Event("Warning", "PodLost", "gone", ended_as=state), "me", datetime(2026, 1, 1, tzinfo=UTC))
        for state in ("", "FAILED")
    )
    assert goes_on["metadata"].get("labels", {}) == {}
    assert ended["metadata"]["labels"] == {labels.ENDED_AS: "FAILED"}


def test_what_dedupe_remembers_is_bounded() -> None:
    dedupe = Dedupe(remembered=2)
    for number in range(3):
        assert dedupe.is_new(DIGITS, Event("Normal", "A", str(number)), 0)
    assert dedupe.is_new(DIGITS, Event("Normal", "A", "0"), 1)


def test_too_many_events_drop_the_oldest_and_count_it() -> None:
    dropped = 0
    written: list[str] = []

    def drop() -> None:
        nonlocal dropped
        dropped += 1

    async def create(body: dict[str, Any]) -> None:
        written.append(body["message"])

    async def run() -> None:
        announcer = Announcer(create, drop, instance="me", rate=1000, backlog=2)
        for number in range(4):
            announcer.announce(DIGITS, Event("Normal", "A", str(number)))
        running = asyncio.create_task(announcer.run())
        async with asyncio.timeout(10):
            while len(written) < 2:  # noqa: ASYNC110 - the announcer notifies no test
                await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(run())
    assert (written, dropped) == (["2", "3"], 2)


def test_an_event_names_its_object_and_is_never_too_long() -> None:
    body = manifest(DIGITS, Event("Warning", "A", "x🤗" * 5000), "me", datetime(2026, 1, 1, tzinfo=UTC))
    assert body["involvedObject"]["uid"] == "u1"
    assert body["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert 1010 < len(body["message"].encode()) <= 1024


# --- leadership ---


def lease(holder: str, renewed: str = "t1", seconds: int = 15) -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}}


def test_a_lease_is_free_when_given_back_or_silent_for_its_whole_duration_by_our_own_clock() -> None:
    seen = sighting(lease("other"), None, 100)
    assert not seen.is_free(114.9)
    assert seen.is_free(115)
    assert sighting(lease(""), None, 100).is_free(100)


def test_a_renewal_begins_the_wait_anew_and_a_repeated_sight_does_not() -> None:
    seen = sighting(lease("other", "t1"), None, 100)
    assert sighting(lease("other", "t1"), seen, 110) == seen
    assert sighting(lease("other", "t2"), seen, 110) == Sighting("other", "t2", 15, 110)


def test_a_leader_is_alive_while_it_sees_its_own_renewals_through_the_watch() -> None:
    liveness = Liveness(started=0, lease_seconds=15, watching_since=110, renewal_seen=300)
    assert liveness.trouble(300 + liveness.patience) == ""
    assert "no renewal of the own lease" in liveness.trouble(301 + liveness.patience)


def test_a_leader_that_still_lists_is_alive_while_it_renews_its_lease() -> None:
    liveness = Liveness(started=0, lease_seconds=15, heard=5000)
    assert liveness.trouble(5000 + liveness.patience) == "", "a first list of very many objects may take long"
    assert "did not answer" in liveness.trouble(5001 + liveness.patience)
    liveness.watching_since = 6000
    assert liveness.trouble(6000 + liveness.patience) == ""
    assert "no renewal of the own lease" in liveness.trouble(6001 + liveness.patience)


def test_the_running_operator_judges_by_its_watch_from_its_beginning_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[float | None]:
        operator = Operator(Settings())
        seen: list[float | None] = []

        async def lists(_bring: Any) -> None:
            seen.append(operator._alive().watching_since)

        async def begins(*_: Any) -> asyncio.Task[None]:
            async def ends() -> None:
                seen.append(operator._alive().watching_since)
                operator._stop.set()

            return asyncio.create_task(ends())

        async def renews() -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(operator, "_list_until_done", lists)
        monkeypatch.setattr(operator, "_catch_signals", lambda: None)
        monkeypatch.setattr(operator._leadership, "keep", renews)
        monkeypatch.setattr(running, "start", begins)
        with suppress(FoveaError):
            await operator._lead()
        return seen

    before, after = asyncio.run(run())
    assert before is None
    assert after is not None


def test_a_standby_is_alive_while_the_api_server_answers() -> None:
    liveness = Liveness(started=0, lease_seconds=15, heard=50)
    assert liveness.trouble(50 + liveness.patience) == ""
    assert "did not answer" in liveness.trouble(51 + liveness.patience)


# --- credentials ---


def kubeconfig(folder: Path, **user: Any) -> Path:
    path = folder / "config"
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://1.2.3.4:6443", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(document))
    (folder / "ca.pem").write_bytes(b"authority")
    return path


def test_a_kubeconfig_gives_files_next_to_it_and_embedded_data(tmp_path: Path) -> None:
    data = base64.b64encode(b"key").decode()
    (tmp_path / "token").write_text("secret\n")
    found = from_kubeconfig([kubeconfig(tmp_path, **{"client-key-data": data, "tokenFile": "token"})])
    assert (found.server, found.ca, found.key, found.token) == ("https://1.2.3.4:6443", b"authority", b"key", "secret")


def test_a_kubeconfig_with_a_plugin_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(NoCredentials, match=r"user 'u' logs in by a plugin.*use a service account's token"):
        from_kubeconfig([kubeconfig(tmp_path, exec={"command": "aws"})])


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "current-context": "there"}))
    with pytest.raises(NoCredentials, match="no context 'there'"):
        from_kubeconfig([path])


def test_a_service_account_gives_server_authority_and_token(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"authority")
    (tmp_path / "token").write_text("secret\n")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = from_service_account(environment, tmp_path)
    assert (found.server, found.token) == ("https://[fd00::1]:6443", "secret")


def test_without_any_credentials_it_says_what_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoCredentials, match=r"neither KUBECONFIG.*set KUBECONFIG"):
        load({})


# --- errors ---


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (0, "", errors.Transient),
        (400, "BadRequest", errors.Refused),
        (401, "Unauthorized", errors.Transient),
        (403, "Forbidden", errors.Refused),
        (404, "NotFound", errors.Gone),
        (408, "Timeout", errors.Transient),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Transient),
        (422, "Invalid", errors.Refused),
        (429, "TooManyRequests", errors.Transient),
        (500, "InternalError", errors.Transient),
        (503, "ServiceUnavailable", errors.Transient),
    ],
)
def test_every_answer_has_its_error(code: int, reason: str, kind: type[errors.ApiError]) -> None:
    error = errors.of_answer(code, reason, "said", 3)
    assert type(error) is kind
    assert (error.code, error.reason, error.retry_after, str(error)) == (code, reason, 3, "said")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (
            'Internal error occurred: failed calling webhook "sidecars.mesh.dev": failed to call webhook: Post "https://mesh.dev": '
            "context deadline exceeded",
            errors.Refused,
        ),
        ("Internal error occurred: failed to allocate IP 10.0.0.1: provided IP is already allocated", errors.Refused),
        ("Internal error occurred: failed to allocate a nodePort: range is full", errors.Refused),
        ("Internal error occurred: failed to allocate a serviceIP: range is full", errors.Refused),
        ("Internal error occurred: resource quota evaluation timed out", errors.Transient),
        ("etcdserver: leader changed", errors.Transient),
    ],
)
def test_what_others_fail_at_for_the_api_server_is_told_like_a_refusal(said: str, kind: type[errors.ApiError]) -> None:
    error = errors.of_answer(500, "InternalError", said)
    assert type(error) is kind
    assert error.code == 500
    assert error.code not in errors.OF_CONTENT


@pytest.mark.parametrize(
    ("code", "reason"),
    [(400, ""), (403, "Forbidden"), (404, "NotFound"), (409, "AlreadyExists"), (409, "Conflict"), (429, ""), (500, "")],
)
def test_what_a_webhook_denies_is_refused_whatever_code_it_gives(code: int, reason: str) -> None:
    said = 'admission webhook "sidecars.mesh.dev" denied the request: profile "a" not found'
    assert type(errors.of_answer(code, reason, said)) is errors.Refused


# --- logs, settings, command line ---


def record(**extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "pod %s made", "args": ("a",), "levelname": "INFO", "name": "x", **extra})
    made.created = 0.0
    return made


def test_a_log_line_is_one_json_object_with_its_fields() -> None:
    line = json.loads(logs.JsonLines().format(record(key="team/digits")))
    assert line == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "x",
        "message": "pod a made",
        "key": "team/digits",
    }


def test_a_log_line_for_people_names_its_fields() -> None:
    assert logs.Text().format(record(key="team/digits")) == "00:00:00.000 INFO    pod a made key=team/digits"


def test_settings_are_read_by_the_type_of_their_default() -> None:
    settings = Settings.from_environment(
        {
            "FOVEA_OPERATOR_RESYNC_SECONDS": "0.5",
            "FOVEA_OPERATOR_WORKERS": "4",
            "FOVEA_OPERATOR_EVENTS": "false",
            "FOVEA_OPERATOR_WATCH_NAMESPACES": "a, b",
        }
    )
    assert (settings.resync_seconds, settings.workers, settings.events) == (0.5, 4, False)
    assert settings.watch_namespaces == ("a", "b")


def test_a_wrong_option_is_told_by_name_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["run", "--workers", "many"])
    assert ended.value.code == 2
    assert "FOVEA_OPERATOR_WORKERS='many' is not a int" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("EVENT_RATE", "0", "FOVEA_OPERATOR_EVENT_RATE=0.0 is not between 0.01 and 10000"),
        ("WORKERS", "0", "FOVEA_OPERATOR_WORKERS=0 is not between 1 and 256"),
        ("RESYNC_SECONDS", "nan", "FOVEA_OPERATOR_RESYNC_SECONDS=nan is not between 0.1 and 86400"),
        ("METRICS_PORT", "70000", "FOVEA_OPERATOR_METRICS_PORT=70000 is not between 0 and 65535"),
        ("LOG_LEVEL", "verbose", "FOVEA_OPERATOR_LOG_LEVEL='verbose' is not one of debug, info, warning, error"),
        ("IMAGE_PULL_POLICY", "", "FOVEA_OPERATOR_IMAGE_PULL_POLICY='' is not one of Always, IfNotPresent, Never"),
        ("AGENT_CPU", "", "FOVEA_OPERATOR_AGENT_CPU='' is not a quantity such as 500m, 2 or 4Gi"),
        ("TTL_SECONDS_AFTER_FINISHED", "7d", "='7d' is not a float"),
        ("TTL_SECONDS_AFTER_FINISHED", "1e12", "is more than 315360000 (ten years); inf keeps"),
        ("TTL_SECONDS_AFTER_FINISHED", "-1", "=-1.0 is not between 0 and inf"),
        ("AGENT_CPU_LIMIT", "1 core", "FOVEA_OPERATOR_AGENT_CPU_LIMIT='1 core' is not a quantity"),
        ("GATEWAY", "fovea", "FOVEA_OPERATOR_GATEWAY='fovea' must be <namespace>/<name>"),
        ("GATEWAY", "fovea-system/fovea", "FOVEA_OPERATOR_GATEWAY_ADDRESS='' the DNS name of its proxies"),
        (
            "LEASE_SECONDS",
            "6",
            "FOVEA_OPERATOR_LEASE_RENEW_SECONDS=5.0 is more than a third of FOVEA_OPERATOR_LEASE_SECONDS=6: shorten it",
        ),
    ],
)
def test_a_setting_with_which_nothing_could_work_is_refused_with_what_it_may_be(
    variable: str, value: str, told: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        Settings.from_environment({f"FOVEA_OPERATOR_{variable}": value})


def test_the_defaults_are_settings_that_may_be_given() -> None:
    shown = {
        f"FOVEA_OPERATOR_{item.name.upper()}": ",".join(item.default)
        if isinstance(item.default, tuple)
        else str(item.default)
        for item in fields(Settings)
    }
    assert Settings.from_environment(shown) == Settings()


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["run", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "--resync-seconds SECONDS" in text
    assert "default: 600.0" in text


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("fovea-operator ")
