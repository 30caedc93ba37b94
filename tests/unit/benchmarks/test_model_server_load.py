"""The load on the model server: what h2load says, and what the ceiling may do beside it."""

import pytest
from served import ceiling, load

SAID = """
finished in 5.02s, 199.40 req/s, 28.51KB/s
requests: 997 total, 1029 started, 997 done, 997 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1010 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 143.12KB (146552) total, 4.20KB (4300) headers (space savings 94.69%), 91.15KB (93300) data
"""
"""With answers of 93 bytes, some of which were on their way when the time was up."""


def test_the_times_and_the_requests_that_were_sent_are_read():
    found = load._read(SAID, [10.0, 20.0, 30.0], 93)
    assert found == load.Load(rate=199.4, p50=20.0, p99=30.0, requests=1029)


@pytest.mark.parametrize(
    ("said", "expected"),
    [(SAID.replace("0 failed", "3 failed"), 93), (SAID, 94), (SAID.replace("(93300) data", "(103300) data"), 93)],
    ids=["some failed", "answers are too short: errors of gRPC have no message", "answers are too long"],
)
def test_answers_that_are_not_the_right_one_end_the_measurement(said, expected):
    with pytest.raises(SystemExit, match="not every answer was the right one"):
        load._read(said, [1.0], expected)


@pytest.mark.parametrize("clients", [1, 2, 8, 31, 32, 100])
def test_the_ceiling_never_has_more_pictures_under_way_than_there_are_clients(clients):
    found = ceiling.shapes(clients)
    assert found
    assert all(threads * size <= clients for threads, size in found)
