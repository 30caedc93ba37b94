"""The termination message: what is written is read again, and what is no message of ours is none."""

import json

import pytest
from fovea_api.contract.report import MAX_TERMINATION_BYTES, ProgressReport, Published, Termination
from hypothesis import example, given
from hypothesis import strategies as st

OUTPUT = Published("s3://fovea/x", "sha256:" + "0" * 64, 12, 3)


@pytest.mark.parametrize("complete", [True, False])
def test_a_message_is_read_as_it_was_written(complete: bool) -> None:
    said = Termination(
        "Published",
        "published",
        output=OUTPUT,
        checkpoint_step=0,
        metrics={"loss": 0.0},
        progress=ProgressReport(step=0),
        complete=complete,
    )
    assert Termination.from_json(said.to_json()) == said


def test_of_too_many_metrics_as_many_are_kept_as_fit() -> None:
    metrics = {f"validation/per-class/precision-of-class-{i:04}": i / 7 for i in range(60)}
    said = Termination("Published", "published", output=OUTPUT, metrics=metrics, progress=ProgressReport(step=1))
    text = said.to_json()
    read = Termination.from_json(text)
    assert read is not None
    assert read.output == OUTPUT
    assert read.metrics == dict(list(metrics.items())[: len(read.metrics)])
    assert MAX_TERMINATION_BYTES - 100 < len(text.encode()) <= MAX_TERMINATION_BYTES


@given(
    st.dictionaries(st.text(min_size=1, max_size=200), st.floats(allow_nan=False, allow_infinity=False), max_size=200),
    st.text(max_size=3000),
    st.text(max_size=400),
)
@example({}, "published", "🤗" * 400)
def test_a_message_always_fits_and_what_it_says_is_true(metrics: dict[str, float], message: str, problem: str) -> None:
    text = Termination("Published", message, output=OUTPUT, metrics=metrics, model_problem=problem).to_json()
    assert len(text.encode()) <= MAX_TERMINATION_BYTES
    read = Termination.from_json(text)
    assert read is not None
    assert read.output == OUTPUT
    assert read.metrics.items() <= metrics.items()


def test_an_agent_of_an_earlier_release_says_nothing_of_completeness() -> None:
    read = Termination.from_json('{"reason": "Published", "message": "m"}')
    assert read is not None
    assert read.complete is False
    assert "complete" not in json.loads(Termination("Published", "m").to_json())


@pytest.mark.parametrize("value", ["1", '"true"', "null", "[]"])
def test_only_true_is_complete(value: str) -> None:
    read = Termination.from_json(f'{{"reason": "Published", "message": "m", "complete": {value}}}')
    assert read is not None
    assert read.complete is False


def test_a_number_that_no_float_holds_makes_it_no_message_of_ours() -> None:
    text = f'{{"reason": "Published", "message": "m", "metrics": {{"loss": {"9" * 400}}}}}'
    assert Termination.from_json(text) is None
