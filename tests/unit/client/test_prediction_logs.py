"""`fovea predictions stream-logs` and `delete`: the words of the workers through their attempts, and what is left of a prediction."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fovea.sdk import logs
from fovea.sdk.api_errors import Target, from_response
from fovea.sdk.cluster import Cluster
from fovea_api.contract import labels
from fovea_api.v1alpha1 import API_VERSION
from support.command_line import Ran, fovea


def document(state: str, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "BatchPrediction",
        "metadata": {"name": "scores", "namespace": "vision", "uid": "prediction-uid", "resourceVersion": "7"},
        "spec": {
            "model": "digits",
            "parallelism": 2,
            "input": {"uri": "s3://fovea/vision/datasets/test", "format": "images"},
        },
        "status": {"state": state, **status},
    }


def worker(index: int, attempt: int = 0, *, phase: str = "Succeeded", state: str = "terminated") -> dict[str, Any]:
    containers = [{"name": name, "state": {state: {}}} for name in ("predict", "batch")]
    return {
        "metadata": {
            "name": f"scores-batch-0-{index}-{attempt}",
            "labels": {labels.COMPLETION_INDEX: str(index)},
            "annotations": {labels.INDEX_FAILURES: str(attempt)},
            "creationTimestamp": f"2026-11-21T10:0{attempt}:00Z",
        },
        "status": {"phase": phase, "containerStatuses": containers},
    }


class Held:
    """A cluster with one prediction, its workers and what they printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: str, *pods: dict[str, Any]) -> None:
        self.prediction, self.pods = document(state), {pod["metadata"]["name"]: pod for pod in pods}
        self.asked: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.events: list[dict[str, Any]] = []
        monkeypatch.setattr(logs, "_POLL_SECONDS", 0.01)
        monkeypatch.setattr(Cluster, "get", lambda _, target, path, query=None: self.get(target, path, query or {}))
        monkeypatch.setattr(Cluster, "watch", lambda *_: iter(self.events))
        monkeypatch.setattr(
            Cluster, "lines", lambda _, target, path, query, connected: self.lines(path, query, connected)
        )
        monkeypatch.setattr(Cluster, "delete", lambda _, target, path, uid="": self.delete(target, path))

    def get(self, target: Target, path: str, query: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/pods"):
            self.asked.append(query)
            return {"items": list(self.pods.values())}
        name = path.rpartition("/")[2]
        if "/pods/" in path:
            return self.pods[name]
        if name != "scores":
            raise from_response(target, 404, b'{"details": {"name": "%s"}}' % name.encode())
        return self.prediction

    def lines(self, path: str, query: dict[str, Any], connected: Callable[[], None]) -> Iterator[str]:
        connected()
        pod = path.split("/")[-2]
        yield f"2026-11-21T10:00:01Z {query['container']} of {pod}"

    def delete(self, target: Target, path: str) -> str:
        self.get(target, path, {})
        self.deleted.append(path.rpartition("/")[2])
        return "prediction-uid"


def run(*words: object, stdin: str | None = None) -> Ran:
    return fovea("predictions", *words, "-n", "vision", "--kubeconfig", "/nowhere", stdin=stdin)


PODS = (worker(1), worker(0, 1), worker(0, phase="Failed"))


@pytest.mark.parametrize("follow", ["--follow", "--no-follow"])
def test_each_line_says_which_worker_and_which_attempt_of_it(monkeypatch: pytest.MonkeyPatch, follow: str) -> None:
    cluster = Held(monkeypatch, "SUCCEEDED", *PODS)
    lines = run("stream-logs", "scores", follow).ok().out.splitlines()
    expected = [
        "[worker-0/0] predict of scores-batch-0-0-0",
        "[worker-0/1] predict of scores-batch-0-0-1",
        "[worker-1/0] predict of scores-batch-0-1-0",
    ]
    # Workers side by side, but the attempts of one in order.
    assert sorted(lines) == expected
    assert [line for line in lines if "worker-0" in line] == expected[:2]
    assert cluster.asked[0] == {
        "labelSelector": f"{labels.BATCH_PREDICTION}=scores,{labels.BATCH_PREDICTION_UID}=prediction-uid"
    }


def test_it_goes_on_until_the_prediction_has_ended_and_says_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, "RUNNING", worker(0))
    cluster.events = [{"type": "MODIFIED", "object": document("SUCCEEDED", message="all is answered")}]
    ran = run("stream-logs", "scores").ok()
    assert ran.out == "[worker-0/0] predict of scores-batch-0-0-0\n"
    assert ran.err.splitlines()[-1] == "scores: SUCCEEDED - all is answered"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--task-name", "worker-1"), "[worker-1/0] predict of scores-batch-0-1-0"),
        (("--attempt", "1"), "[worker-0/1] predict of scores-batch-0-0-1"),
        (("--task-name", "worker-1", "--container", "batch"), "[worker-1/0] batch of scores-batch-0-1-0"),
    ],
)
def test_one_worker_one_attempt_or_another_container(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], line: str
) -> None:
    Held(monkeypatch, "SUCCEEDED", *PODS)
    assert run("stream-logs", "scores", "--no-follow", *words).ok().out == f"{line}\n"


def test_what_no_prediction_has_is_refused_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, "SUCCEEDED")
    ran = run("stream-logs", "scores", "--task-name", "worker-2")
    assert (ran.code, ran.err) == (1, "ERROR: prediction scores has no task 'worker-2': it has worker-0, worker-1\n")


def test_a_prediction_without_logs_says_where_else_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, "SUCCEEDED", worker(0, phase="Pending", state="waiting"))
    ran = run("stream-logs", "scores", "--no-follow").ok()
    assert (ran.out, "--container batch" in ran.err) == ("", True)


def test_delete_asks_and_says_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, "SUCCEEDED")
    assert run("delete", "scores", stdin="n\n").code == 1
    assert cluster.deleted == []
    ran = run("delete", "scores", stdin="y\n").ok()
    # Click of one age echoes the answer that a test gives, another does not.
    assert ran.out.endswith("Deleted prediction scores. What it published stays in the object store.\n")
    assert cluster.deleted == ["scores"]


def test_one_that_is_not_there_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Held(monkeypatch, "SUCCEEDED")
    ran = run("delete", "missing", "scores", "--yes")
    assert (ran.code, cluster.deleted) == (1, ["scores"])
    assert "missing" in ran.err
