import io
import threading

import pytest
from fovea_dev.progress import Progress, StepFailed
from fovea_dev.steps import Step, check_order, run_steps


def quiet() -> Progress:
    return Progress(io.StringIO())


def test_a_step_begins_when_all_its_predecessors_are_done() -> None:
    done: list[str] = []

    def slowly(_notes: list[str]) -> None:
        threading.Event().wait(0.2)  # long enough for the others to overtake, if they did not wait
        done.append("a")

    steps = [
        Step("a", slowly),
        Step("b", lambda _: done.append("b"), after=("a",)),
        Step("c", lambda _: done.append("c"), after=("a", "b")),
    ]
    run_steps(steps, quiet())
    assert done == ["a", "b", "c"]


def test_steps_that_do_not_depend_on_each_other_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    run_steps([Step("a", lambda _: meeting.wait() and None), Step("b", lambda _: meeting.wait() and None)], quiet())


def test_after_a_failure_nothing_new_begins_and_the_failure_is_raised() -> None:
    done: list[str] = []

    def fail(_notes: list[str]) -> None:
        raise StepFailed("no disk")

    steps = [
        Step("a", fail),
        Step("b", lambda _: done.append("b"), after=("a",)),
        Step("c", lambda _: done.append("c"), after=("b",)),
    ]
    with pytest.raises(StepFailed, match="no disk"):
        run_steps(steps, quiet())
    assert done == []


def test_each_step_has_one_line_with_its_notes_its_outcome_and_its_time() -> None:
    out = io.StringIO()
    run_steps([Step("registry", lambda notes: notes.append("127.0.0.1:5000"))], Progress(out))
    (line,) = out.getvalue().splitlines()
    assert line.split() == ["ok", "registry:", "127.0.0.1:5000", "0.0", "s"]


@pytest.mark.parametrize(
    "steps",
    [
        [Step("a", lambda _: None, after=("b",)), Step("b", lambda _: None)],
        [Step("a", lambda _: None, after=("nobody",))],
        [Step("a", lambda _: None), Step("a", lambda _: None)],
    ],
)
def test_an_order_that_could_never_run_is_refused(steps: list[Step]) -> None:
    with pytest.raises(ValueError, match="step 'a'"):
        check_order(steps)
