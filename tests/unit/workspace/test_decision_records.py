"""Every decision record has a number of its own, which its title repeats, and a reference names one that exists."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[3]
RECORDS = sorted((ROOT / "docs/adr").glob("*.md"))


def test_no_two_records_have_the_same_number() -> None:
    numbers = Counter(path.name.partition("-")[0] for path in RECORDS)
    assert [number for number, count in numbers.items() if count > 1] == []


def test_the_title_of_a_record_begins_with_its_number() -> None:
    wrong = [
        path.name
        for path in RECORDS
        if not re.match(rf"# (ADR )?0*{int(path.name.partition('-')[0])}[.:]", path.read_text())
    ]
    assert wrong == []


def test_every_record_that_is_named_exists() -> None:
    known = {int(path.name.partition("-")[0]) for path in RECORDS}
    named = {
        (str(path.relative_to(ROOT)), int(number))
        for folder in (
            "docs",
            "operator",
            "agent",
            "api",
            "client",
            "serving",
            "trainers",
            "dev",
            "tests",
            "benchmarks",
        )
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md") and path.is_file()
        for number in re.findall(r"\bADRs? (\d+)", path.read_text(errors="replace"))
    }
    assert {(path, number) for path, number in named if number not in known} == set()
