"""Metrics of what batch predictions go through: their states, the way to the first worker, records, errors and retries."""

from typing import Any

from fovea_api.contract import labels
from fovea_operator.cluster import resources
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.kind import Kinds
from fovea_operator.cluster.metrics import Metrics
from fovea_operator.cluster.progress import Reports
from fovea_operator.kinds.batch_prediction import BatchPredictions
from support.predictions import PINNED, prediction

RUNNING = PINNED | {"state": "RUNNING", "startTime": "2026-11-21T10:01:30Z"}


def progress(records: int, errors: int = 0) -> dict[str, Any]:
    return {"progress": {"summary": "1%", "records": records, "errors": errors, "shards": {"done": 1, "total": 9}}}


class World:
    """Metrics that follow a cache."""

    def __init__(self) -> None:
        cache = Cache(labels.MODEL_DEPLOYMENT)
        self.metrics = Metrics(cache, lambda: 0)
        self.intake = Intake(cache, Kinds(BatchPredictions(cache, Reports(5, lambda *_: None))), lambda _key: None)
        self.version = 0

    def sees(self, status: dict[str, Any], *, uid: str = "u1") -> None:
        """The next version of the prediction."""
        self.version += 1
        raw = prediction(status).dump()
        raw["metadata"] |= {"resourceVersion": str(self.version), "uid": uid}
        self.intake.seen(resources.BATCH_PREDICTION.gvk, raw)

    def value(self, name: str, **of: str) -> float | None:
        """A sample."""
        return self.metrics.registry.get_sample_value(name, of)


def test_predictions_count_by_state() -> None:
    world = World()
    assert world.value("fovea_predictions", state="RUNNING") == 0, "a series from the beginning"
    world.sees({})
    assert world.value("fovea_predictions", state="QUEUED") == 1
    world.sees(RUNNING)
    assert (world.value("fovea_predictions", state="QUEUED"), world.value("fovea_predictions", state="RUNNING")) == (
        0,
        1,
    )
    assert world.value("fovea_jobs", state="RUNNING") == 0, "predictions are no jobs"


def test_the_way_to_the_first_worker_is_observed_once() -> None:
    world = World()
    world.sees(PINNED)
    world.sees(RUNNING)
    world.sees(RUNNING | {"message": "it runs on"})
    created = prediction().metadata.creation_timestamp
    assert created == "2026-11-21T10:00:00Z"
    assert world.value("fovea_prediction_time_to_running_seconds_sum") == 90
    assert world.value("fovea_prediction_time_to_running_seconds_count") == 1


def test_records_errors_and_retries_are_counted_as_the_status_grows() -> None:
    world = World()
    world.sees(PINNED)
    world.sees(RUNNING | progress(100, 1))
    world.sees(RUNNING | progress(250, 3) | {"failures": {"0": 1}})
    world.sees(RUNNING | {"failures": {"0": 2, "1": 1}})
    assert world.value("fovea_prediction_records_total") == 250
    assert world.value("fovea_prediction_errors_total") == 3
    assert world.value("fovea_prediction_retries_total") == 3


def test_what_a_new_operator_finds_is_not_counted_nor_what_a_namesake_has() -> None:
    world = World()
    world.sees(RUNNING | progress(100, 1) | {"failures": {"0": 1}})
    world.sees(RUNNING | progress(900, 9) | {"failures": {"0": 3}}, uid="u2")
    for name in ("records_total", "errors_total", "retries_total", "time_to_running_seconds_count"):
        assert world.value(f"fovea_prediction_{name}") == 0
