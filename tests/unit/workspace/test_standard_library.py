"""A folder named operator must never shadow the standard library's module."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = "import operator, sysconfig; print(operator.__file__.startswith(sysconfig.get_path('stdlib')))"


def test_operator_is_the_standard_librarys_from_the_repositorys_root() -> None:
    # -S -E: without the start-up hooks that may have imported the real module already.
    for flags in ((), ("-S", "-E")):
        said = subprocess.run(
            [sys.executable, *flags, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == "True"


def test_operator_is_the_standard_librarys_with_the_root_on_the_path() -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {PROGRAM}"
    said = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "True"


def test_no_folder_named_operator_is_a_package() -> None:
    tracked = subprocess.run(["git", "ls-files", "*__init__.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [path for path in tracked.stdout.split() if Path(path).parent.name == "operator"] == []
