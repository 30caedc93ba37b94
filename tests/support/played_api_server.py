"""An API server of a few paths over HTTP, for what the client does on the wire."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Request(NamedTuple):
    """What was asked."""

    path: str
    headers: Mapping[str, str]


Reply = tuple[int, Any]
"""Status, and what is sent as JSON, or as it is when it is bytes."""
Replies = dict[str, Callable[[Request], Reply]]
"""By path, without its query."""


class PlayedApiServer:
    """Where it listens, and what it was asked."""

    def __init__(self, port: int, folder: Path) -> None:
        self.requests: list[Request] = []
        self.kubeconfig = folder / "kubeconfig"
        cluster, user = {"server": f"http://127.0.0.1:{port}"}, {"token": "the-users-token"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "vision"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))


@contextmanager
def played_api_server(folder: Path, replies: Replies) -> Iterator[PlayedApiServer]:
    """Listens on loopback; its kubeconfig is in `folder`. Other paths are answered with 404."""
    played: PlayedApiServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = Request(self.path.partition("?")[0], dict(self.headers))
            played.requests.append(request)
            reply = replies.get(request.path)
            code, body = reply(request) if reply else (404, {"reason": "NotFound", "message": "no such path"})
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        played = PlayedApiServer(server.server_port, folder)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield played
        server.shutdown()
