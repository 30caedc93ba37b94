"""How numbers are written for Prometheus."""

from __future__ import annotations

import re

from fovea_serving.server.metrics import Metrics


def told(metrics: Metrics, name: str) -> float:
    (found,) = re.findall(rf"^{name}\{{.*\}} (\S+)$", metrics.page(), re.MULTILINE)
    return float(found)


def test_sums_keep_every_digit_however_long_a_server_runs() -> None:
    metrics = Metrics(known=lambda _: True)
    metrics.ran("m", "Predict", 40_000.000_1)
    metrics.batch_ran("pool", [], 40_000.000_1)
    for name in (":tensorflow:serving:runtime_latency_sum", ":tensorflow:core:graph_run_time_usecs"):
        before = told(metrics, name)
        metrics.ran("m", "Predict", 0.002_000_5)
        metrics.batch_ran("pool", [], 0.002_000_5)
        assert abs(told(metrics, name) - before - 2000.5) < 0.01, name


def test_counts_are_whole_numbers_and_limits_of_buckets_are_short() -> None:
    metrics = Metrics(known=lambda _: True)
    metrics.examples("m", 12_345_678)
    metrics.ran("m", "Predict", 1.0)
    page = metrics.page()
    assert ':tensorflow:serving:request_example_count_total{model="m"} 12345678\n' in page
    limits = re.findall(r'runtime_latency_bucket\{.*le="([^"]+)"\}', page)
    assert limits[:4] == ["10", "18", "32.4", "58.32"]
    assert max(map(len, limits)) <= len("1.23456e+09")
