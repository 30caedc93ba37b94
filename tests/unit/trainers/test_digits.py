"""The demo's data set: written whole, the same each time, three pictures held out."""

import digits


def test_all_digits_are_written_and_three_are_held_out(tmp_path):
    digits.write(tmp_path)
    train = sorted((tmp_path / "train").rglob("*.png"))
    assert len(train) == 1794
    assert {path.parent.name for path in train} == set("0123456789")
    assert sorted(p.name for p in (tmp_path / "held-out").iterdir()) == ["1-1500.png", "2-1234.png", "6-1725.png"]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    digits.write(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
