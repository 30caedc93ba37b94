"""Write everything that is generated: CRDs and the chart's copies, the flag catalogue, the wire code, the reference pages.

With --check: fail when what was written is not what git has. Other uncommitted changes do not matter.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GENERATED = (
    "crds",
    "charts/fovea/files",
    "api/fovea_api/catalogue.json",
    "wire/fovea_wire/*_pb2.py*",
    "docs/reference",
)
"""Where the generators write, as git's path patterns; nothing there is written by hand."""


def run(*command: str, into: Path | None = None) -> None:
    """Run one generator from the repository's root; its standard output becomes the file `into`."""
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=False, capture_output=into is not None, text=True
    )
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {result.returncode}\n{result.stderr or ''}")
    if into is not None:
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(result.stdout)
        print(f"wrote {into.relative_to(ROOT)}")


def generate() -> None:
    """Run every generator, the ones that others read first."""
    run("-m", "fovea_api.v1alpha1.crd", "crds", "charts/fovea/files/crds")
    run("-m", "fovea_trainers.main", "--catalogue", into=ROOT / "api/fovea_api/catalogue.json")
    run("dev/recipes_reference.py", "docs/reference")
    run("dev/trainer_commands_reference.py", into=ROOT / "docs/reference/trainer-commands.md")
    run("dev/kinds_reference.py", into=ROOT / "docs/reference/kinds.md")
    run("dev/wire_code.py")
    run("-m", "fovea.cli.reference", into=ROOT / "docs/reference/cli.md")
    run("charts/values_reference.py", into=ROOT / "docs/reference/chart-values.md")
    run("charts/values_reference.py", "--defaults", into=ROOT / "charts/fovea/files/defaults.yaml")


def stale(root: Path = ROOT) -> list[str]:
    """Generated files that differ from git's index, and those that it does not know; prints the difference."""
    shown = subprocess.run(["git", "--no-pager", "diff", "--exit-code", "--", *GENERATED], cwd=root, check=False)
    if shown.returncode not in (0, 1):
        sys.exit(f"git diff ended with exit code {shown.returncode}: --check compares with what git has")
    listed = ["git", "ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard", "--", *GENERATED]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({name for name in names if name})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail when that changed what git has")
    options = parser.parse_args()
    generate()
    if options.check and (names := stale()):
        sys.exit("generated files are stale: commit what make generate wrote\n  " + "\n  ".join(names))


if __name__ == "__main__":
    main()
