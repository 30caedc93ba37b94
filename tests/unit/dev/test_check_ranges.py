"""The tests that run with each end of the client's dependencies need nothing but the client and what it brings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from check_ranges import FOLDERS, ROOT

TESTS = ROOT / "tests"
ABSENT = {
    "fovea_operator",
    "fovea_agent",
    "fovea_trainers",
    "fovea_serving",
    "fovea_gateway",
    "tensorflow",
}


def imported(file: Path) -> Iterator[str]:
    """Modules that a file imports when it is imported."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "support")


def needed(file: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """Modules that a file and the support that it imports need, each with the file that says so."""
    if file in seen:
        return
    seen.add(file)
    for module in imported(file):
        yield file, module
        own = TESTS / f"{module.replace('.', '/')}.py"
        if own.exists():
            yield from needed(own, seen)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_test_of_the_ranges_imports_no_part_that_is_not_installed_there(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        wrong = [
            f"{by.relative_to(ROOT)} imports {module}"
            for by, module in needed(file, set())
            if module.partition(".")[0] in ABSENT
        ]
        assert wrong == [], f"{file.relative_to(ROOT)} runs with the client alone"
