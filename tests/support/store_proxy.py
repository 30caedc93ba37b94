"""A wire to the object store that a test can hold, cut or watch: requests pass unchanged, signatures stay valid."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came by."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Hold:
    """Stops the first request that matches until `release`."""

    def __init__(self, matches: Callable[[Request], bool]) -> None:
        self._matches = matches
        self.reached = threading.Event()
        self._released = threading.Event()

    def __call__(self, request: Request) -> None:
        if self._matches(request) and not self.reached.is_set():
            self.reached.set()
            assert self._released.wait(120)

    def release(self) -> None:
        self._released.set()


class StoreProxy:
    """Forwards to `upstream` (a port on loopback). `before` runs on each request; `cut` bounds a response's bytes."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.seen: list[Request] = []
        self.before: Callable[[Request], None] = lambda _: None
        self.cut: Callable[[Request], int | None] = lambda _: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["StoreProxy"]:
        """Serve until exit."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query, keep_blank_values=True)
                request = Request(self.command, parts.path, query, dict(self.headers.items()))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.seen.append(request)
                proxy.before(request)
                connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=60)
                try:
                    connection.request(self.command, self.path, body, request.headers)
                    answer = connection.getresponse()
                    data = answer.read()
                except OSError:
                    return  # the store is down: so is the connection
                finally:
                    connection.close()
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                if self.command == "HEAD" or answer.status == 204:
                    self.send_header("Content-Length", answer.getheader("Content-Length") or "0")
                else:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data[: proxy.cut(request)])
                except OSError:
                    return  # the client is gone

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815 - the base class asks for these

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
