"""The verbs on batch predictions: what they send, what they print, what they refuse, and the codes they end with."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from fovea.cli import prediction_text
from fovea.cli.predictions import INPUT_FORMATS, OUTPUT_FORMATS
from fovea.sdk import Client, NotFoundError, WaitTimeoutError
from fovea.sdk import predictions as sdk
from fovea.sdk.api_errors import Target, from_response
from fovea.sdk.cluster import Cluster
from fovea_api.contract.manifest import Entry, Manifest
from fovea_api.v1alpha1 import BatchPrediction
from fovea_api.v1alpha1.batch_prediction import PredictionInput, PredictionOutput
from support.command_line import Ran, fovea
from support.golden import Golden
from support.moments import at

SPEC = {
    "model": "cats",
    "version": "Latest",
    "input": {"uri": "s3://fovea/vision/datasets/test", "format": "images"},
    "output": {"format": "jsonl"},
    "parallelism": 4,
    "maxErrorRatio": 0.1,
    "runPolicy": {"backoffLimit": 3},
    "cancel": False,
}
PROGRESS = {
    "summary": "40%",
    "records": 1200,
    "errors": 3,
    "errorRatio": 0.0025,
    "shards": {"done": 4, "total": 10},
    "percent": 40,
    "recordsPerSecond": 85.2,
    "etaSeconds": 21,
}
OUTPUT = {"uri": "s3://fovea/vision/predictions/scores/u-1/output", "digest": "sha256:0", "bytes": 9, "files": 2}
RUNNING = {
    "state": "RUNNING",
    "version": 3,
    "message": "4 workers answer records; follow them with: fovea predictions wait scores",
    "progress": PROGRESS,
    "workers": {"active": 4, "succeeded": 0, "failed": 1},
    "failures": {"2": 1},
    "lastFailure": {"worker": 2, "pod": "scores-batch-0-2-x", "reason": "OutOfMemory", "message": "too much memory"},
    "startTime": "2026-11-21T10:00:20Z",
    "conditions": [
        {
            "type": "Running",
            "status": "True",
            "reason": "Started",
            "message": "4 workers answer records",
            "lastTransitionTime": "2026-11-21T10:00:20Z",
        }
    ],
}
SUCCEEDED = {
    "state": "SUCCEEDED",
    "version": 3,
    "message": "3000 records are done.",
    "progress": PROGRESS | {"summary": "100%", "percent": 100, "records": 3000},
    "output": OUTPUT,
    "startTime": "2026-11-21T10:00:20Z",
    "endTime": "2026-11-21T10:02:20Z",
}


def document(status: dict[str, Any] | None = None, *, name: str = "scores", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "BatchPrediction",
        "metadata": {
            "name": name,
            "namespace": "vision",
            "uid": "u-1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-21T10:00:00Z",
        },
        "spec": SPEC | spec,
        "status": status or {},
    }


class Held:
    """A cluster that holds predictions, and keeps what it was sent; `events` come when one is watched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *documents: dict[str, Any]) -> None:
        self.objects = {each["metadata"]["name"]: each for each in documents}
        self.sent: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        monkeypatch.setattr(Cluster, "get", lambda _, target, path, query=None: self.get(target, path))
        monkeypatch.setattr(Cluster, "patch", lambda _, target, path, body: self.patch(path, body))
        monkeypatch.setattr(Cluster, "create", lambda _, target, path, body, dry_run=False: self.create(path, body))
        monkeypatch.setattr(Cluster, "watch", lambda _, target, path, query: iter(self.watched()))

    def get(self, target: Target, path: str) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name == "batchpredictions":
            return {"items": list(self.objects.values())}
        if name not in self.objects:
            raise from_response(target, 404, b'{"details": {"name": "%s"}}' % name.encode())
        return self.objects[name]

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(body)
        return self.objects[path.rpartition("/")[2]]

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(body)
        made = deepcopy(body)
        namespace = path.split("/")[5]
        made["metadata"] |= {"namespace": namespace, "uid": "u-1", "creationTimestamp": "2026-11-21T10:00:00Z"}
        return self.objects.setdefault(made["metadata"]["name"], made)

    def watched(self) -> list[dict[str, Any]]:
        events, self.events = self.events, []
        for event in events:
            name = event["object"]["metadata"]["name"]
            self.objects[name] = event["object"]
            if event["type"] == "DELETED":
                del self.objects[name]
        return events


def run(*words: object) -> Ran:
    return fovea("predictions", *words, "-n", "vision", "--kubeconfig", "/nowhere")


def changed(status: dict[str, Any], kind: str = "MODIFIED") -> dict[str, Any]:
    return {"type": kind, "object": document(status)}


def test_a_prediction_from_flags_says_what_the_flags_say(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch)
    words = ("--model", "cats", "--version", 3, "--input", "s3://fovea/vision/test", "--input-format", "images")
    more = ("--output", "s3://fovea/vision/out", "--output-format", "kaggle", "--workers", 4)
    ran = run("submit", "scores", *words, *more, "--machine-type", "big", "--max-error-ratio", 0).ok()
    assert ran.out == "Prediction scores submitted to namespace vision.\n"
    [sent] = cluster.sent
    assert sent["spec"] == {
        "model": "cats",
        "version": 3,
        "input": {"uri": "s3://fovea/vision/test", "format": "images"},
        "output": {"uri": "s3://fovea/vision/out", "format": "kaggle"},
        "parallelism": 4,
        "machineType": "big",
        "maxErrorRatio": 0.0,
    }


def test_what_describe_prints_can_be_submitted_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster = Held(monkeypatch, document(RUNNING))
    file = tmp_path / "again.yaml"
    file.write_text(run("describe", "scores", "--format", "yaml").ok().out)
    run("submit", file).ok()
    [sent] = cluster.sent
    assert sent == {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "BatchPrediction",
        "metadata": {"name": "scores", "namespace": "vision"},
        "spec": SPEC,
    }


def test_a_typed_prediction_is_sent_without_what_the_cluster_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch)
    client = Client(namespace="vision", kubeconfig="/nowhere")
    client.predictions.submit(BatchPrediction.model_validate(document(RUNNING)))
    [sent] = cluster.sent
    assert sent["metadata"] == {"name": "scores", "namespace": "vision"}
    assert "status" not in sent


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["submit", "a", "--workers", "2"], "--workers: a prediction from flags needs --model too"),
        (["submit", "a"], "there is no file a: a prediction of that name from flags needs --model too"),
        (["submit", "a", "b", "--model", "m"], "exactly one NAME is expected, not a b"),
        (["submit", "a", "--model", "m"], "needs --input and --input-format too"),
        (["submit", "a", "--model", "m", "--timeout", "5m"], "pass --wait too"),
        (["submit", "a", "--model", "m", "--max-error-ratio", "2"], "2.0 is not in the range 0<=x<=1"),
        (["submit"], "Missing argument 'NAME|FILE…'"),
        (["wait", "a", "--timeout", "soon"], "'soon' is not a duration"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(words: list[str], message: str) -> None:
    ran = fovea("predictions", *words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob"}))
    assert "holds kind TrainingJob, not BatchPrediction" in run("submit", file).err


def test_a_file_and_a_flag_that_name_two_namespaces_are_refused_together(tmp_path: Path) -> None:
    own, free = tmp_path / "own.yaml", tmp_path / "free.yaml"
    manifest = {"apiVersion": "fovea.dev/v1alpha1", "kind": "BatchPrediction", "metadata": {"name": "a"}, "spec": SPEC}
    free.write_text(yaml.safe_dump(manifest))
    own.write_text(yaml.safe_dump(manifest | {"metadata": {"name": "a", "namespace": "vision"}}))

    refused = fovea("predictions", "submit", free, own, "-n", "other", "--print")

    assert (refused.code, refused.out) == (2, "")
    said = "own.yaml puts prediction a into namespace vision, --namespace says other: pass --namespace vision"
    assert said in refused.err
    for file, flags in ((own, ()), (own, ("-n", "vision")), (free, ("-n", "vision"))):
        ran = fovea("predictions", "submit", file, *flags, "--print", "--format", "json").ok()
        assert ran.json()["metadata"] == {"name": "a", "namespace": "vision"}


def test_the_formats_are_those_of_the_kind() -> None:
    for choices, model in ((INPUT_FORMATS, PredictionInput), (OUTPUT_FORMATS, PredictionOutput)):
        assert choices == model.model_fields["format"].annotation.__args__  # type: ignore[union-attr]


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 3)])
def test_wait_shows_progress_and_ends_with_the_code_of_the_state(
    monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    cluster = Held(monkeypatch, document({"state": "QUEUED", "message": "waits"}))
    cluster.events = [changed(RUNNING), changed(RUNNING), changed(SUCCEEDED | {"state": state})]
    ran = run("wait", "scores")
    assert (ran.code, ran.out) == (code, f"Prediction scores {state}.\n")
    assert ran.err.splitlines()[:2] == [
        "scores: QUEUED - waits",
        "scores: RUNNING: 40%, 1200 records, 3 errors, 85.2 records/s, about 21s left",
    ]
    assert len(ran.err.splitlines()) == 3


def test_a_prediction_that_goes_at_its_end_is_seen_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, document(RUNNING))
    cluster.events = [changed(SUCCEEDED, "DELETED")]
    assert run("wait", "scores", "--quiet").ok().out == "Prediction scores SUCCEEDED.\n"


def test_one_that_is_deleted_meanwhile_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, document(RUNNING))
    cluster.events = [changed(RUNNING, "DELETED")]
    ran = run("wait", "scores", "--quiet")
    assert (ran.code, ran.err) == (1, "ERROR: prediction scores was deleted while it was waited for\n")


def test_a_timeout_has_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, document(RUNNING))
    ran = run("wait", "scores", "--timeout", "0s")
    assert ran.code == 124
    assert "prediction scores is still RUNNING after 0 s: it goes on" in ran.err
    with pytest.raises(WaitTimeoutError):
        Client(namespace="vision", kubeconfig="/nowhere").predictions.wait("scores", timeout=0)


def test_submit_and_wait_ends_with_the_code_of_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch)
    cluster.events = [changed(SUCCEEDED | {"state": "FAILED"})]
    words = ("--model", "cats", "--input", "s3://fovea/vision/test", "--input-format", "csv")
    assert run("submit", "scores", *words, "--wait").code == 1


def test_cancel_is_sent_with_the_uid_and_refused_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, document(RUNNING), document(SUCCEEDED, name="old"))
    assert run("cancel", "scores").ok().out == "Cancelling prediction scores.\n"
    assert cluster.sent == [{"metadata": {"uid": "u-1"}, "spec": {"cancel": True}}]
    ran = run("cancel", "old")
    assert (ran.code, ran.err) == (
        1,
        "ERROR: prediction old has ended already (SUCCEEDED): there is nothing to cancel\n",
    )


def test_one_that_is_not_there_is_said_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch)
    assert "see `fovea predictions list -n vision`" in run("describe", "scores").err


def test_predictions_are_listed_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = document(name="newer")
    newer["metadata"]["creationTimestamp"] = "2026-11-21T11:00:00Z"
    Held(monkeypatch, document(RUNNING), newer)
    assert [line.split()[0] for line in run("list").ok().out.splitlines()] == ["NAME", "newer", "scores"]
    assert [each["metadata"]["name"] for each in run("list", "--format", "json").ok().json()] == ["newer", "scores"]
    Held(monkeypatch)
    assert run("list").ok().err == "No predictions in namespace vision.\n"


def test_how_predictions_read(golden: Golden) -> None:
    held = [
        document(),
        document(RUNNING),
        document(SUCCEEDED),
        document(
            RUNNING | {"state": "FAILED", "message": "Worker 2 failed: too much memory.", "endTime": at(90).isoformat()}
        ),
    ]
    read = [BatchPrediction.model_validate(each) for each in held]
    texts = [prediction_text.predictions_table(read, at(120))]
    texts += [prediction_text.description(each, at(120)) for each in read]
    golden.check_text("client/batch-predictions.txt", "\n\n----\n\n".join(texts))


# -- download ----------------------------------------------------------------------------------------------------------


class Store:
    """A bucket in memory."""

    bucket = "fovea"

    def __init__(self, **objects: bytes) -> None:
        self.content = objects

    def read_if_there(self, key: str) -> bytes | None:
        return self.content.get(key)

    def encrypts(self, key: str) -> bool:
        return False

    @contextmanager
    def reading(self, key: str, *, offset: int = 0, etag: str = "") -> Iterator[Any]:
        yield SimpleNamespace(headers={}, stream=lambda _: iter([self.content[key][offset:]]))


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of the prediction's output, as the store has them."""
    files = {"part-00000.jsonl": b'{"label": 1}\n', "errors.jsonl": b"{}\n"}
    entries = tuple(
        Entry(path=name, size=len(data), sha256=sha256(data).hexdigest(), key=f"files/{name}")
        for name, data in sorted(files.items())
    )
    prefix = "vision/predictions/scores/u-1/output"
    store = Store(**{f"{prefix}/files/{name}": data for name, data in files.items()})
    store.content[f"{prefix}/manifest.json"] = Manifest(0, entries).to_json()

    @contextmanager
    def opened(*_: Any, **__: Any) -> Iterator[Store]:
        yield store

    monkeypatch.setattr(sdk, "open_store", opened)
    return files


def test_the_output_is_downloaded_by_its_manifest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: dict[str, bytes]
) -> None:
    Held(monkeypatch, document(SUCCEEDED))
    ran = run("download", "scores", tmp_path / "here").ok()
    assert "Output of prediction scores: 2 files fetched" in ran.out
    assert {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()} == output


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (RUNNING, "has published no output yet (it is RUNNING): `fovea predictions wait scores`"),
        ({"state": "FAILED"}, "has published no output (FAILED): `fovea predictions describe scores` says why"),
        (
            SUCCEEDED | {"output": OUTPUT | {"uri": "s3://other/x"}},
            "is in another bucket than fovea: set FOVEA_BUCKET=other",
        ),
        (SUCCEEDED | {"output": OUTPUT | {"uri": "s3://fovea/gone"}}, "is not there any more"),
    ],
)
@pytest.mark.usefixtures("output")
def test_what_cannot_be_downloaded_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: dict[str, Any], message: str
) -> None:
    Held(monkeypatch, document(status))
    ran = run("download", "scores", tmp_path / "here")
    assert ran.code == 1
    assert message in ran.err
    assert not (tmp_path / "here").exists()


def test_a_name_that_is_taken_by_another_prediction_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, document(RUNNING))
    changes = Client(namespace="vision", kubeconfig="/nowhere").predictions.follow("scores")
    next(changes)
    other = document(RUNNING)
    other["metadata"]["uid"] = "u-2"
    cluster.objects["scores"] = other
    with pytest.raises(NotFoundError, match="another one has its name"):
        next(changes)
