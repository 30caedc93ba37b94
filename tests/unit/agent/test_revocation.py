"""A key counts as withdrawn when the store knows it no more, whatever the store answered to its withdrawal."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fovea_agent.errors import KeyRefused, Misconfigured, StoreUnreachable
from fovea_agent.patience import Patience
from fovea_agent.provision import Provision
from fovea_agent.settings import StoreAccess


@dataclass
class Minio:
    """Two answers of a MinIO: to the withdrawal of a key, and to a request made with that key."""

    withdrawal: int = 204
    known: Callable[[], bool] = lambda: False
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def provision(self) -> Provision:
        now = [0.0]
        patience = Patience(60, clock=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
        return Provision(StoreAccess(f"http://127.0.0.1:{self.port}", "fovea", "root", "root-secret"), patience)


@pytest.fixture
def minio() -> Iterator[Minio]:
    store = Minio()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_DELETE(self) -> None:
            store.asked.append("withdraw")
            self.answer(store.withdrawal, b"" if store.withdrawal == 204 else b"what?")

        def do_GET(self) -> None:
            store.asked.append("try")
            code = b"SignatureDoesNotMatch" if store.known() else b"InvalidAccessKeyId"
            self.answer(403, b"<Error><Code>" + code + b"</Code></Error>")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield store
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("withdrawal", [204, 404, 400, 501])
def test_a_key_that_the_store_does_not_know_is_withdrawn(minio: Minio, withdrawal: int) -> None:
    minio.withdrawal = withdrawal
    minio.provision().revoke("vision")
    assert minio.asked == ["withdraw", "try"]


@pytest.mark.parametrize("withdrawal", [404, 400, 501])
def test_a_withdrawal_that_is_not_understood_is_none_while_the_key_is_known(minio: Minio, withdrawal: int) -> None:
    minio.withdrawal, minio.known = withdrawal, lambda: True
    with pytest.raises(Misconfigured, match=r"namespace 'vision' is not withdrawn"):
        minio.provision().revoke("vision")


def test_a_key_that_other_nodes_of_the_store_still_know_is_waited_for(minio: Minio) -> None:
    minio.known = lambda: len(minio.asked) < 4
    minio.provision().revoke("vision")
    assert minio.asked == ["withdraw", "try", "try", "try"]


def test_a_key_that_stays_known_after_its_withdrawal_is_not_said_to_be_withdrawn(minio: Minio) -> None:
    minio.known = lambda: True
    with pytest.raises(StoreUnreachable, match="still knows the key"):
        minio.provision().revoke("vision")


def test_a_root_key_that_is_refused_withdraws_nothing(minio: Minio) -> None:
    minio.withdrawal = 403
    with pytest.raises(KeyRefused):
        minio.provision().revoke("vision")
