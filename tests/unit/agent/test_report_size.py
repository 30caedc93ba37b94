"""The operator refuses a report that is too long, and with it the last words: every report fits."""

from fovea_agent.report import Checkpointed, build_report
from fovea_api.contract.metrics import LONGEST_NAME
from fovea_api.contract.progress import Progress
from fovea_api.contract.report import MAX_REPORT_BYTES, MAX_TERMINATION_BYTES, ProgressReport
from fovea_operator.cluster.progress import MAX_BODY
from hypothesis import example, given
from hypothesis import strategies as st

WORDS = "w" * MAX_TERMINATION_BYTES
LONG = {f"{i:02}" + "🤗" * (LONGEST_NAME - 2): i / 7 for i in range(70)}


@given(
    st.dictionaries(st.text(min_size=1, max_size=LONGEST_NAME), st.floats(allow_nan=False, allow_infinity=False)),
    st.text(max_size=200),
    st.integers(1, 400),
)
@example(LONG, "🤗" * 100, 400)
@example({"loss": 0.5}, '"\\', 1)
def test_every_report_fits_and_what_it_says_is_true(metrics: dict[str, float], left_out: str, times: int) -> None:
    checkpoint = Checkpointed(5, "sha256:" + "0" * 64, "2026-01-01T00:00:00Z")
    report = build_report(
        Progress(10, 100, 1, 5, metrics), checkpoint, publishing=True, last_words=WORDS, left_out=left_out * times
    )
    text = report.to_json()
    assert len(text.encode()) <= MAX_REPORT_BYTES < MAX_BODY
    read = ProgressReport.from_json(text)
    assert (read.step, read.checkpoint_step, read.publishing, read.last_words) == (10, 5, True, WORDS)
    assert read.metrics.items() <= metrics.items()
    assert len(read.metrics) + read.metrics_left_out == len(metrics)


def test_the_metrics_that_are_to_stay_longest_stay() -> None:
    read = ProgressReport.from_json(build_report(Progress(1, 2, 1, 2, LONG | {"loss": 0.5}), None).to_json())
    assert read.metrics["loss"] == 0.5
    assert 0 < len(read.metrics) < 64
