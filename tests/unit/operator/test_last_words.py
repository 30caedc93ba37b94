"""What a status quotes of a program's last lines."""

import pytest
from fovea_operator.reconcile.shared import containers

TRACEBACK = """Traceback (most recent call last):
  File "/app/train.py", line 12, in <module>
    main()
  File "/app/train.py", line 9, in main
    raise ValueError("labels: 10 classes, found 11")
ValueError: labels: 10 classes, found 11

"""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("out of data", "out of data"),
        (
            TRACEBACK,
            'File "/app/train.py", line 9, in main / raise ValueError("labels: 10 classes, found 11") / '
            "ValueError: labels: 10 classes, found 11",
        ),
        ("\x1b[1;31mERROR\x1b[0m  no\x00 disk\x07", "ERROR no disk"),
        ("\x1b]0;a title\x07E: \x1b]8;;https://example.com\x1b\\a link", "E: a link"),
        ("12/99 ━━ loss: 2.1\b\b\b\r13/99 ━━ loss: 2.0\r\nKilled", "12/99 ━━ loss: 2.1 / 13/99 ━━ loss: 2.0 / Killed"),
        ("tab\tand\u2028separator", "tab and / separator"),
    ],
)
def test_the_last_lines_are_quoted_in_one(message: str, said: str) -> None:
    assert containers.last_words(message) == said


def test_a_long_line_keeps_its_end() -> None:
    said = containers.last_words("x" * 2000 + " the end")
    assert len(said) == 501
    assert said.startswith("…x")
    assert said.endswith("x the end")
