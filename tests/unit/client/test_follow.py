"""The bar on a terminal."""

import pytest
from fovea.cli import follow
from fovea.sdk import Client
from fovea.sdk.job import Job
from support.jobs import training_job


def test_a_message_with_brackets_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    document = training_job("digits") | {"status": {"state": "FAILED", "message": "no file [/data/x] of [red]"}}
    job = Job(Client(namespace="vision").jobs, document)
    assert follow._bar(iter([job])) is job
    assert capsys.readouterr().err.count("no file [/data/x] of [red]") >= 2  # in the bar, and in the line after it
