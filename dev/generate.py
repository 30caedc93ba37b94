"""Write everything that is generated: CRDs and the chart's copies, the flag catalogue, the wire code, the reference pages."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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


def main() -> None:
    """Run every generator, the ones that others read first."""
    run("-m", "fovea_api.v1alpha1.crd", "crds", "charts/fovea/files/crds")
    run("-m", "fovea_trainers.main", "--catalogue", into=ROOT / "api/fovea_api/catalogue.json")
    run("dev/recipes_reference.py", into=ROOT / "docs/reference/recipes.md")
    run("client/fovea/wire/generate.py")
    run("-m", "fovea.cli.reference", into=ROOT / "docs/reference/cli.md")
    run("charts/values_reference.py", into=ROOT / "docs/reference/chart-values.md")


if __name__ == "__main__":
    main()
