"""The commands that results and errors name are about the same namespace as the command before them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from fovea.sdk import NotFoundError, endpoints
from fovea.sdk.data import Data, Uploaded
from fovea.sdk.job import Job
from fovea.sdk.jobs import Jobs
from fovea.sdk.models import Models
from fovea.sdk.predictor import Predictor
from support.command_line import fovea
from support.jobs import training_job

WHERE = ("-n", "vision", "--kubeconfig", "/nowhere")
EMPTY: Any = SimpleNamespace(namespace="vision", get=lambda *_: {"items": []})
"""A cluster that holds nothing."""


def test_an_upload_says_how_a_job_of_its_namespace_uses_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = Uploaded("s3://fovea/vision/datasets/digits", files=1, sent=1, skipped=0, bytes=1, foreign=())
    monkeypatch.setattr(Data, "upload", lambda *_, **__: done)
    ran = fovea("data", "upload", tmp_path, "digits", "--quiet", *WHERE).ok()
    assert f"fovea jobs submit NAME --recipe RECIPE --input data={done.uri} -n vision\n" in ran.err


def test_a_suspended_job_is_resumed_in_its_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    document = training_job("digits")
    document["metadata"]["namespace"] = "vision"
    monkeypatch.setattr(Jobs, "suspend", lambda jobs, _: Job(jobs, document))
    assert "`fovea jobs resume digits -n vision` goes on" in fovea("jobs", "suspend", "digits", *WHERE).ok().out


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (grpc.StatusCode.UNAVAILABLE, "fovea models describe pets"),
        (grpc.StatusCode.NOT_FOUND, "fovea versions list --model pets"),
    ],
    ids=str,
)
def test_a_server_that_was_found_in_a_namespace_is_looked_at_there(
    monkeypatch: pytest.MonkeyPatch, code: grpc.StatusCode, step: str
) -> None:
    monkeypatch.setattr(endpoints, "resolve", lambda *_, **__: endpoints.Endpoint("127.0.0.1:1", "the Service"))
    error = SimpleNamespace(code=lambda: code, details=lambda: "no")
    with Predictor("pets", cluster=EMPTY) as predictor:
        assert f"`{step} -n vision`" in str(predictor._explain(error))
    with Predictor("pets", endpoint="127.0.0.1:1", cluster=EMPTY) as predictor:
        assert f"`{step}`" in str(predictor._explain(error))


def test_a_model_that_is_not_there_is_looked_for_in_its_namespace() -> None:
    with pytest.raises(NotFoundError, match="`fovea models list -n vision` shows what there is"):
        Models(EMPTY).get("pets")
    with pytest.raises(
        NotFoundError, match=r"--model pets --deploy -n vision` .* `fovea models list -n vision` shows what there is"
    ):
        endpoints.find(EMPTY, "pets")
