"""What a store refuses that an agent can do without: the bytes are sent instead, and that is said once."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fovea_agent import folder as folder_module
from fovea_agent.errors import AgentError, KeyRefused, KeyUnknown, Misconfigured, StoreUnreachable
from fovea_agent.patience import Patience
from fovea_agent.restore import read_manifest, restore
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Store
from fovea_api.contract import environment, storage
from support.memory_store import Died
from support.sidecar import Pod

MODEL = {"saved_model.pb": b"graph", "variables/variables.data": b"0123456789abcdef", "z": bytes(range(40))}
REFUSALS = [KeyRefused("403"), Misconfigured("501"), StoreUnreachable("500, again and again")]
REQUESTS = [("copy",), ("copy_part",), ("parts",), ("copy", "copy_part", "parts")]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 4 bytes from 8 bytes on."""
    monkeypatch.setattr(folder_module, "part_size", lambda size: 0 if size <= 8 else 4)


def finish(pod: Pod) -> None:
    pod.write(environment.MODEL_DIR, MODEL)
    pod.write(environment.OUTPUT_DIR, {"picture.png": b"png", environment.SUCCESS_MARKER: b""})


def died(folder: Path, *, requests: int) -> Pod:
    """A pod that finished and died after a number of requests to the store."""
    pod = Pod(folder)
    finish(pod)
    pod.store.lives = requests
    with pytest.raises(Died):
        pod.end()
    pod.store.lives = None
    return pod


def refuse(pod: Pod, monkeypatch: pytest.MonkeyPatch, requests: tuple[str, ...], error: AgentError) -> list[str]:
    """Let the store refuse them; the list of those that were made."""
    made: list[str] = []

    def refusing(name: str) -> Callable[..., object]:
        def request(*_: object) -> object:
            made.append(name)
            raise error

        return request

    for name in requests:
        monkeypatch.setattr(pod.store, name, refusing(name))
    return made


def is_published(pod: Pod, folder: Path) -> bool:
    prefix = storage.model(pod.sync.job, pod.sync.plan.attempt)
    restore(pod.store, prefix, read_manifest(pod.store, prefix), folder, folder.with_name("staging"))
    return {name: (folder / name).read_bytes() for name in MODEL} == MODEL


@pytest.mark.parametrize("requests", REQUESTS, ids="+".join)
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_later_attempt_sends_what_the_store_refuses_to_copy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    requests: tuple[str, ...],
    error: AgentError,
) -> None:
    pod = died(tmp_path / "attempt-1", requests=7)
    again = pod.next_attempt()
    finish(again)
    made = refuse(again, monkeypatch, requests, error)
    again.end()
    assert again.termination.complete
    assert is_published(again, tmp_path / "restored")
    assert sorted(made) == sorted(set(made)), "what is refused once is not asked for again"
    said = [record for record in caplog.records if "refused" in record.message]
    assert len(said) == len(made) > 0


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_an_agent_that_is_started_again_sends_a_file_whose_parts_it_may_not_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: AgentError
) -> None:
    pod = died(tmp_path / "attempt-1", requests=4)
    again = Pod(tmp_path / "attempt-1", store=pod.store)
    refuse(again, monkeypatch, ("parts",), error)
    again.end()
    assert is_published(again, tmp_path / "restored")


def test_a_withdrawn_key_is_no_refusal_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending would be refused as well, and would wait for the next key once more."""
    pod = died(tmp_path / "attempt-1", requests=7)
    again = pod.next_attempt()
    finish(again)
    refuse(again, monkeypatch, ("copy", "copy_part"), KeyUnknown("no such key"))
    with pytest.raises(KeyUnknown):
        again.end()


@pytest.fixture
def denying() -> Iterator[tuple[Store, list[str]]]:
    """A store that takes objects and refuses to copy and to list parts; the pauses that its agent made."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            denied = "x-amz-copy-source" in self.headers or self.command == "GET"
            body = b"<Error><Code>AccessDenied</Code></Error>" if denied else b""
            self.send_response(403 if denied else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = answer  # noqa: N815 - the base class asks for these

        def log_message(self, *_: object) -> None:
            """Quiet."""

    pauses: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    access = StoreAccess(f"http://127.0.0.1:{server.server_address[1]}", "fovea", "the-key", "the-secret")
    patience = Patience(None, sleep=lambda _: pauses.append("waited"))
    yield Store(access, patience, mounted=lambda: access), pauses
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("ending", [False, True])
@pytest.mark.parametrize(
    "request_",
    [
        lambda store: store.copy("vision/a", "etag", "vision/b"),
        lambda store: store.copy_part("vision/a", "etag", "vision/b", "upload", 1, 0, 4),
        lambda store: store.parts("vision/b", "upload"),
    ],
    ids=["copy", "copy_part", "parts"],
)
def test_a_good_key_that_may_not_copy_or_list_parts_is_not_waited_for(
    denying: tuple[Store, list[str]], request_: Callable[[Store], object], ending: bool
) -> None:
    store, pauses = denying
    assert store.put_if_absent("vision/a", b"x"), "the key is accepted here"
    if ending:
        store.patience.end_at(float("inf"))
    with pytest.raises(KeyRefused):
        request_(store)
    assert pauses == []
