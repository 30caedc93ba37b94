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
    """Says that it is a registry, and has one image below a path; what is private wants a login."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_HEAD(self) -> None:
        there = self.path == "/v2/team/a/fovea/manifests/1"
        self.send_response(401 if self.path.startswith("/v2/private/") else 200 if there else 404)
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


def test_a_registry_is_asked_for_the_repository_below_its_path(foreign: int) -> None:
    assert registry.has_image(f"127.0.0.1:{foreign}/team/a", "fovea", "1")
    assert not registry.has_image(f"127.0.0.1:{foreign}/team/a", "fovea", "2")
    assert not registry.has_image(f"127.0.0.1:{foreign}", "fovea", "1")


def test_only_a_registry_on_loopback_is_asked_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def status(method: str, url: str) -> int:
        asked.append((method, url))
        return 200

    monkeypatch.setattr(registry, "_status", status)
    for address in ("registry.example.com:5000/team", "registry.example", "127.0.0.1:5000", "localhost:5001/x"):
        assert registry.has_image(address, "fovea", "1")
    assert asked == [
        ("HEAD", "https://registry.example.com:5000/v2/team/fovea/manifests/1"),
        ("HEAD", "https://registry.example/v2/fovea/manifests/1"),
        ("HEAD", "http://127.0.0.1:5000/v2/fovea/manifests/1"),
        ("HEAD", "http://localhost:5001/v2/x/fovea/manifests/1"),
    ]
    assert not registry.has_image("localhost/fovea", "fovea", "1"), "no registry: what docker calls images of its own"
    assert len(asked) == 4


def test_a_registry_that_does_not_say_what_it_has_is_named_with_the_reason(
    foreign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(registry.CannotAsk, match=rf"127.0.0.1:{foreign} answers 401 \(it wants a login\)"):
        registry.has_image(f"127.0.0.1:{foreign}/private", "fovea", "1")
    with pytest.raises(registry.CannotAsk, match=r"127\.0\.0\.1:1: .*refused"):
        registry.has_image("127.0.0.1:1", "fovea", "1")
    with pytest.raises(registry.CannotAsk, match=r"127\.0\.0\.1:port: "):
        registry.has_image("127.0.0.1:port/team", "fovea", "1")
    monkeypatch.setattr(registry, "_is_loopback", lambda _host: False)
    with pytest.raises(registry.CannotAsk, match=f"127.0.0.1:{foreign}: .*(?i:ssl)"):
        registry.has_image(f"127.0.0.1:{foreign}/team/a", "fovea", "1")
