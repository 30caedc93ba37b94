"""Progress reports as the operator receives them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fovea_api.contract import environment, exit_codes, storage
from fovea_api.contract.plan import TrainingPlan
from fovea_api.contract.report import PROGRESS_PATH, REASON_PUBLISHED, REPORT_TOKEN_FILE, ProgressAnswer, ProgressReport
from support.object_store import ObjectStore, running_object_store
from support.polling import until
from support.training_pod import TrainingPod

NAMESPACE = "vision"


@dataclass
class Operator:
    """Stands where the operator's endpoint is."""

    url: str = ""
    status: int = 204
    answer: ProgressAnswer = field(default_factory=ProgressAnswer)
    posts: list[tuple[str, str, ProgressReport]] = field(default_factory=list)

    def reports(self) -> list[ProgressReport]:
        return [report for _, _, report in self.posts]


@contextmanager
def listening() -> Iterator[Operator]:
    operator = Operator()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            authorization = self.headers["Authorization"]
            operator.posts.append((self.path, authorization, ProgressReport.from_json(body)))
            said = operator.answer.to_json().encode()
            self.send_response(200 if said else operator.status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    operator.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield operator
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def operator() -> Iterator[Operator]:
    with listening() as operator:
        yield operator


@pytest.fixture
def pod(object_store: ObjectStore, operator: Operator, tmp_path: Path) -> Iterator[TrainingPod]:
    keys = object_store.keys(NAMESPACE, tmp_path / "keys")
    (tmp_path / "token").mkdir()
    (tmp_path / "token" / REPORT_TOKEN_FILE).write_text("token-of-the-pod\n")
    plan = TrainingPlan(namespace=NAMESPACE, job="digits", uid=tmp_path.name, attempt=1, report_url=operator.url)
    pod = TrainingPod(plan, tmp_path, keys)
    assert pod.fetch().code == exit_codes.OK
    yield pod
    pod.kill_sync()


def test_progress_and_the_last_published_checkpoint_are_posted_with_the_pods_token(
    object_store: ObjectStore, operator: Operator, pod: TrainingPod
) -> None:
    pod.start_sync("--report-token", str(pod.folder / "token"))
    pod.progress(json.dumps({"step": 10, "steps": 100, "epoch": 1, "epochs": 10, "metrics": {"loss": 0.5}}) + "\n")
    pod.progress("a print of the program's own\n")
    pod.progress('{"step": 11, "met')  # still being written
    until(operator.reports, what="a first report")
    assert operator.posts[0][:2] == (PROGRESS_PATH, "Bearer token-of-the-pod")
    first = ProgressReport(step=10, steps=100, epoch=1, epochs=10, metrics={"loss": 0.5})
    assert operator.reports() == [first]

    pod.checkpoint(10, {"weights": b"w10"})
    report = until(lambda: [r for r in operator.reports() if r.checkpoint_step == 10], what="the checkpoint")[0]
    manifest = json.loads(object_store.get(storage.manifest(storage.checkpoint(pod.job, 10))))
    assert report == replace(
        first, checkpoint_step=10, checkpoint_digest=manifest["digest"], checkpoint_time=report.checkpoint_time
    )
    assert report.checkpoint_time.endswith("Z")

    pod.progress('rics": {"loss": NaN, "accuracy": 0.9}}\n')
    pod.sync_ended()
    assert operator.reports()[-1] == replace(
        report,
        step=11,
        steps=None,
        epoch=None,
        epochs=None,
        metrics={"accuracy": 0.9},
        metrics_left_out=1,
        publishing=True,
    )
    assert len(operator.reports()) == 3, "only what changed is posted"


@pytest.mark.parametrize("status", [403, 503, 307])
def test_a_report_that_is_refused_is_logged_once_and_stops_nothing(
    operator: Operator, pod: TrainingPod, status: int
) -> None:
    operator.status = status
    pod.start_sync("--report-token", str(pod.folder / "token"))
    pod.progress('{"step": 1}\n')
    until(lambda: len(operator.posts) >= 3, what="it is tried again")
    assert pod.sync_log().count("progress report failed") == 1
    operator.status = 204
    until(lambda: "progress reports are accepted again" in pod.sync_log(), what="it is accepted")
    assert pod.sync_ended().code == exit_codes.OK


def test_an_operator_that_is_away_and_a_missing_token_stop_nothing(pod: TrainingPod) -> None:
    pod.plan = replace(pod.plan, report_url="http://127.0.0.1:9")
    pod.start_sync("--report-token", str(pod.folder / "no-token"))
    pod.progress('{"step": 1}\n')
    until(lambda: "progress report failed" in pod.sync_log(), what="it is logged")
    assert pod.sync_ended().code == exit_codes.OK


def test_an_outage_before_the_program_starts_is_reported_by_a_sidecar_that_fetches(tmp_path: Path) -> None:
    with running_object_store(tmp_path / "minio") as own, listening() as operator:
        keys = own.keys(NAMESPACE, tmp_path / "keys")
        (tmp_path / "token").mkdir()
        (tmp_path / "token" / REPORT_TOKEN_FILE).write_text("token-of-the-pod\n")
        plan = TrainingPlan(namespace=NAMESPACE, job="digits", uid="u", attempt=0, report_url=operator.url)
        pod = TrainingPod(plan, tmp_path, keys)
        own.stop()
        flags = ["--report-interval", "0.2", "--report-token", str(tmp_path / "token")]
        pod.sidecar = pod.start("sync", "--fetch", *flags)
        try:
            until(lambda: any(each.store_unreachable_since for each in operator.reports()), what="it is reported")
            ready = pod.state / Path(environment.SYNC_READY).name
            assert not ready.exists()
            own.start()
            until(ready.exists, what="the program may start")
            until(lambda: not operator.reports()[-1].store_unreachable_since, what="its end is reported")
            assert pod.sync_ended().code == exit_codes.OK
        finally:
            pod.kill_sync()


def test_an_outage_of_the_store_is_reported_while_it_lasts_and_the_last_words_hold_the_last_progress(
    tmp_path: Path,
) -> None:
    with running_object_store(tmp_path / "minio") as own, listening() as operator:
        keys = own.keys(NAMESPACE, tmp_path / "keys")
        (tmp_path / "token").mkdir()
        (tmp_path / "token" / REPORT_TOKEN_FILE).write_text("token-of-the-pod\n")
        plan = TrainingPlan(namespace=NAMESPACE, job="digits", uid="u", attempt=0, report_url=operator.url)
        pod = TrainingPod(plan, tmp_path, keys)
        assert pod.fetch().code == exit_codes.OK
        pod.start_sync("--report-token", str(tmp_path / "token"))
        pod.progress('{"step": 1, "steps": 2}\n')
        until(operator.reports, what="a report")
        assert operator.reports()[-1].store_unreachable_since == ""
        own.stop()
        pod.checkpoint(1, {"weights": b"w1"})
        until(lambda: operator.reports()[-1].store_unreachable_since, what="the outage is reported")
        own.start()
        until(lambda: operator.reports()[-1].checkpoint_step == 1, what="the checkpoint is published")
        until(lambda: not operator.reports()[-1].store_unreachable_since, what="the end of the outage is reported")
        pod.progress('{"step": 2, "steps": 2}\n')
        ended = pod.sync_ended()
        assert ended.termination.progress is not None
        assert (ended.termination.progress.step, ended.termination.progress.checkpoint_step) == (2, 1)


def test_a_restarted_sidecar_reports_the_checkpoint_that_is_published_already(
    operator: Operator, pod: TrainingPod
) -> None:
    pod.start_sync("--report-token", str(pod.folder / "token"))
    pod.checkpoint(5, {"weights": b"w5"})
    before = until(operator.reports, what="the checkpoint is reported")[0]
    pod.kill_sync()
    operator.posts.clear()
    pod.start_sync("--report-token", str(pod.folder / "token"))
    after = until(operator.reports, what="it is reported again")[0]
    assert (after.checkpoint_step, after.checkpoint_digest) == (5, before.checkpoint_digest)


def test_a_sidecar_that_hears_from_the_operator_that_the_program_has_ended_publishes_and_stays_until_sigterm(
    object_store: ObjectStore, operator: Operator, pod: TrainingPod
) -> None:
    pod.write(environment.OUTPUT_DIR, {"evaluation.json": b"{}", environment.SUCCESS_MARKER: b""})
    pod.start_sync("--report-token", str(pod.folder / "token"), "--report-at-least-every", "0.5")
    pod.progress('{"step": 1}\n')
    until(operator.reports, what="a report")
    operator.answer = ProgressAnswer(program_ended=True)
    until(lambda: operator.reports()[-1].last_words, what="nothing is left to publish")
    object_store.get(storage.manifest(storage.output(pod.job, 1)))
    assert pod.sidecar is not None
    assert pod.sidecar.poll() is None, "the kubelet would start it again"
    ended = pod.sync_ended()
    assert (ended.code, ended.termination.reason) == (exit_codes.OK, REASON_PUBLISHED)
