"""What requests under way may hold, over both ports together."""

from __future__ import annotations

import pytest
from fovea_serving.server.errors import ServingError
from fovea_serving.server.memory import RequestMemory
from fovea_serving.server.metrics import Metrics


def test_one_request_too_many_is_unavailable_and_holds_nothing() -> None:
    memory = RequestMemory(most_bytes=100)
    with memory.hold(60):
        with pytest.raises(
            ServingError, match=r"UNAVAILABLE: .* hold 60 bytes; with 41 more .*--max_waiting_bytes=100"
        ):
            memory.take(41)
        with memory.hold(40):
            assert memory.held == 100
        assert memory.held == 60
    assert memory.held == 0


def test_a_single_request_is_admitted_however_large_it_is() -> None:
    memory = RequestMemory(most_bytes=100)
    with memory.hold(10**9):
        assert memory.held == 10**9


def test_bytes_are_given_back_when_a_request_fails() -> None:
    memory = RequestMemory()
    with pytest.raises(ZeroDivisionError), memory.hold(5):
        raise ZeroDivisionError
    assert memory.held == 0


def test_the_metrics_page_shows_what_is_held() -> None:
    memory, page = RequestMemory(held=7), Metrics(known=lambda _: True)
    page.waiting_bytes = lambda: memory.held
    assert ":fovea:serving:waiting_bytes{} 7" in page.page()
