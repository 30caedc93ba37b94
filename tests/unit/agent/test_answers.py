"""Answers of a store, or of a gateway before it, that does not know what was asked for: status 200 and anything."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fovea_agent.answers import listed_parts, parsed
from fovea_agent.errors import Misconfigured
from fovea_agent.patience import Patience
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Part, Store
from fovea_api.contract import environment, storage
from support.memory_store import md5
from support.sidecar import Pod

ETAG = md5(b"x").hex()
NO_XML = {
    "nothing": b"",
    "HTML": b"<!doctype html><p>welcome<br>",
    "an encoding of its own": b'<?xml version="1.0" encoding="klingon"?><a/>',
}
NO_ANSWER = {**NO_XML, "XHTML": b"<html><body>welcome</body></html>"}


class Answering:
    """A store that answers everything with 200 and the same body."""

    def __init__(self) -> None:
        self.body = b""
        test = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = test.body
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = answer  # noqa: N815 - the base class asks for these

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        access = StoreAccess(f"http://127.0.0.1:{self.server.server_address[1]}", "fovea", "the-key", "the-secret")
        self.store = Store(access, Patience(0))


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    found = Answering()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


REQUESTS: dict[str, Callable[[Store], object]] = {
    "copy": lambda store: store.copy("vision/a", ETAG, "vision/b"),
    "copy_part": lambda store: store.copy_part("vision/a", ETAG, "vision/b", "upload", 1, 0, 4),
    "begin": lambda store: store.begin_multipart("vision/b"),
    "finish": lambda store: store.finish_multipart("vision/b", "upload", [ETAG]),
    "objects": lambda store: store.objects("vision/"),
    "children": lambda store: store.children("vision/"),
    "find": lambda store: store.find("vision/b"),
}


@pytest.mark.parametrize("body", NO_ANSWER.values(), ids=NO_ANSWER.keys())
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_an_answer_that_is_none_says_that_the_store_does_not_understand(
    answering: Answering, request_: Callable[[Store], object], body: bytes
) -> None:
    answering.body = body
    with pytest.raises(Misconfigured, match="does not understand a request for s3://fovea/vision/"):
        request_(answering.store)


@pytest.mark.parametrize("body", NO_XML.values(), ids=NO_XML.keys())
def test_parts_that_cannot_be_read_are_not_understood_either(answering: Answering, body: bytes) -> None:
    answering.body = body
    with pytest.raises(Misconfigured, match="does not understand"):
        answering.store.parts("vision/b", "upload")


@pytest.mark.parametrize(
    "body",
    [
        b"<ListPartsResult><Part><PartNumber>1</PartNumber></Part></ListPartsResult>",
        b"<ListPartsResult><Part><PartNumber>one</PartNumber><Size>1</Size><ETag>e</ETag></Part></ListPartsResult>",
        b"<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>",
        b"<L><IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker></L>",
    ],
    ids=["half a part", "no number", "no next page", "the same page again and again"],
)
def test_a_list_of_parts_that_is_none_is_not_understood_and_ends(answering: Answering, body: bytes) -> None:
    answering.body = body
    with pytest.raises(Misconfigured, match="no list of parts"):
        answering.store.parts("vision/b", "upload")


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_a_list_of_parts_is_read_with_and_without_a_namespace(answering: Answering, namespace: str) -> None:
    part = '<Part><PartNumber>3</PartNumber><Size>5</Size><ETag>"e"</ETag></Part>'
    answering.body = f"<ListPartsResult{namespace}>{part}<IsTruncated>false</IsTruncated></ListPartsResult>".encode()
    assert answering.store.parts("vision/b", "upload") == {3: Part(5, "e")}
    more = "<IsTruncated>true</IsTruncated><NextPartNumberMarker>3</NextPartNumberMarker>"
    assert listed_parts(parsed(f"<L{namespace}>{part}{more}</L>".encode()), 0) == ([(3, 5, "e")], 3)


@pytest.mark.parametrize("etag", ["", md5(b"").hex()], ids=["none", "of the empty body"])
def test_a_copy_with_another_etag_is_none(answering: Answering, etag: str) -> None:
    answering.body = f'<CopyObjectResult><ETag>"{etag}"</ETag></CopyObjectResult>'.encode()
    with pytest.raises(Misconfigured, match="does not understand"):
        answering.store.copy("vision/a", ETAG, "vision/b")
    answering.body = f'<CopyObjectResult><ETag>"{ETAG}"</ETag></CopyObjectResult>'.encode()
    assert answering.store.copy("vision/a", ETAG, "vision/b") == ETAG


def test_what_a_store_copied_as_nothing_is_sent(
    tmp_path: Path, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Pod(tmp_path / "attempt-1")
    first.write(environment.OUTPUT_DIR, {"a": b"a"})
    first.end()
    again = first.next_attempt()

    def copy(source: str, etag: str, key: str) -> str:
        again.store.content[key] = b""
        answering.body = b""
        return answering.store.copy(source, etag, key)

    monkeypatch.setattr(again.store, "copy", copy)
    again.write(environment.OUTPUT_DIR, {"a": b"a", environment.SUCCESS_MARKER: b""})
    again.end()
    assert again.termination.complete
    assert again.store.content[f"{storage.output(again.sync.job, 2)}/files/a"] == b"a"
