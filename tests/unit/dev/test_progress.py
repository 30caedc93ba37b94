import io
from pathlib import Path

import pytest
from fovea_dev import commands
from fovea_dev.progress import Progress, StepFailed


def test_a_failed_program_is_explained_by_its_log_and_the_logs_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "tool.log"
    with pytest.raises(StepFailed) as failure:
        commands.run(["sh", "-c", "echo one; echo the reason >&2; exit 3"], log=log)
    text = failure.value.explain()
    assert "sh ended with exit code 3" in text
    assert f"log: {log}" in text
    assert text.splitlines()[-1].strip() == "| the reason"


def test_a_failed_step_is_marked_and_its_error_passes_through() -> None:
    out = io.StringIO()
    with pytest.raises(StepFailed), Progress(out).step("node"):
        raise StepFailed("no answer")
    assert out.getvalue().startswith("FAIL node ")


def test_a_program_that_is_missing_does_not_succeed() -> None:
    assert not commands.succeeds(["no-such-program-anywhere"])
    assert commands.succeeds(["true"])
    assert not commands.succeeds(["false"])
