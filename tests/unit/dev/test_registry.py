from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fovea_dev import registry
from fovea_dev.layout import Cache, Cluster
from fovea_dev.processes import Processes
from fovea_dev.progress import StepFailed


class Registry(BaseHTTPRequestHandler):
    """Says that it is a registry."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def foreign() -> Iterator[int]:
    """Port of somebody else's registry."""
    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_nothing_is_pushed_into_a_registry_that_is_not_ours(tmp_path: Path, foreign: int) -> None:
    cluster = Cluster(Cache(tmp_path), registry_port=foreign)
    processes = Processes(tmp_path / "pids", tmp_path / "logs")
    with pytest.raises(StepFailed, match=f"something else answers on 127.0.0.1:{foreign}.*FOVEA_REGISTRY_PORT"):
        registry.bring_up(cluster, processes, [])
    assert processes.names() == []
