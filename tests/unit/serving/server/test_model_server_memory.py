"""What requests under way may hold, over both ports together."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
from fovea_serving.protocol.errors import ServingError
from fovea_serving.server.memory import GaveWayError, RequestMemory
from fovea_serving.server.metrics import Metrics


def test_one_request_too_many_is_unavailable_and_holds_nothing() -> None:
    memory = RequestMemory(most_bytes=100)
    with memory.hold(60):
        with (
            pytest.raises(ServingError, match=r"UNAVAILABLE: .* hold 60 bytes; with 41 more .*--max_waiting_bytes=100"),
            memory.hold(41),
        ):
            pass
        with memory.hold(40):
            assert memory.held == 100
        assert memory.held == 60
    assert memory.held == 0


def test_a_single_request_is_admitted_however_large_it_is_and_in_however_many_parts() -> None:
    memory = RequestMemory(most_bytes=100)
    with memory.share() as share:
        for _ in range(3):
            share.take(10**9)
        with memory.hold(7, share), memory.hold(0, share):
            assert memory.held == 3 * 10**9 + 7
        with pytest.raises(ServingError), memory.hold(1):
            pass
    assert memory.held == 0


def test_who_takes_nothing_is_refused_nothing() -> None:
    memory = RequestMemory(most_bytes=100)
    with memory.hold(1000), memory.hold(0):
        assert memory.held == 1000


def test_what_is_late_gives_way_and_no_more_of_it_than_it_takes() -> None:
    memory, left = RequestMemory(most_bytes=100), []
    with contextlib.ExitStack() as stack:
        shares = [stack.enter_context(memory.share()) for _ in range(3)]
        for number, share in enumerate(shares):
            share.take(30)
            stack.enter_context(share.arriving(partial(bool, number), partial(left.append, number)))
        with pytest.raises(ServingError), memory.hold(71):
            pass
        assert (left, memory.held) == ([], 90), "what would not be enough is not taken away either"
        with memory.hold(40):
            assert (left, memory.held) == ([1], 100), "not the one that comes as it should, nor the one that came later"
            with pytest.raises(GaveWayError):
                shares[1].take(1)
    assert memory.held == 0


def test_bytes_are_given_back_when_a_request_fails() -> None:
    memory = RequestMemory()
    with pytest.raises(ZeroDivisionError), memory.hold(5):
        raise ZeroDivisionError
    assert memory.held == 0


def test_the_metrics_page_shows_what_is_held() -> None:
    memory, page = RequestMemory(held=7), Metrics(known=lambda _: True)
    page.waiting_bytes = lambda: memory.held
    assert ":fovea:serving:waiting_bytes{} 7" in page.page()
