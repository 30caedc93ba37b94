"""`fovea data convert csv --number-labels`: a label is a number as the trainers read one."""

from pathlib import Path

import pytest
from fovea.sdk import convert
from fovea.sdk.errors import InvalidError


@pytest.mark.parametrize("label", ["1_000", "nan", "1e39", "rose"])
def test_what_the_trainers_take_for_no_number_is_no_label(tmp_path: Path, label: str) -> None:
    (tmp_path / "a.csv").write_text(f"width,price\n1,2\n3,{label}\n")
    with pytest.raises(InvalidError, match=f'the label is "{label}", which is no number'):
        convert.csv(tmp_path / "a.csv", tmp_path / "out", number_labels=True, heading=True)
