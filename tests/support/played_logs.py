"""An operator's endpoint for logs, played: it answers what a test says, one answer after the other, the last one for good."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, bytes]


@dataclass
class PlayedLogs:
    """What it answers, and who asked."""

    answers: list[Answer]
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and token."""

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def played_logs(*answers: Answer) -> Iterator[PlayedLogs]:
    """The endpoint, gone at the end."""
    played = PlayedLogs(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            played.asked.append((self.path, self.headers["Authorization"]))
            status, text = played.next()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    played.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield played
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
