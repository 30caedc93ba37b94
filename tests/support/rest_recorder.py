"""A model server by REST that keeps what it is asked, and answers one picture with `dog`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Recorder:
    """Where it is, and what it was asked."""

    address: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def rest_recorder() -> Iterator[Recorder]:
    """The server, until the block ends."""

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            recorder.asked.append(Asked(self.path, dict(self.headers.items()), json.loads(content)))
            body = b'{"predictions": [{"label": "dog"}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        recorder = Recorder(f"127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield recorder
        finally:
            server.shutdown()
