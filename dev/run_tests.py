"""Run the tiers of tests in order, say what each needs while it is being made, and close with one table and one count.

What takes long on a bare machine (building Kubernetes' programs) starts at once and runs beside the tiers that do not need it.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("FOVEA_CACHE", Path.home() / ".cache/fovea"))
DEV = (sys.executable, "-m", "fovea_dev")
CLUSTER_TOOLS = "kube-apiserver,etcd,minio,helm,kubectl"


@dataclass(frozen=True)
class Tier:
    """One folder of tests and what has to be there before it runs."""

    name: str
    needs_tools: bool = False
    needs_cluster: bool = False


TIERS = (
    Tier("unit"),
    Tier("contract", needs_tools=True),
    Tier("cluster", needs_tools=True),
    Tier("chart", needs_tools=True),
    Tier("e2e", needs_tools=True, needs_cluster=True),
)


@dataclass(frozen=True)
class Result:
    """What a tier's run said: counts of tests, and seconds."""

    tier: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    exit_code: int


class Preparation:
    """A `fovea_dev` command; its lines are shown when it has ended, or at once when `shown`."""

    def __init__(self, *arguments: str, shown: bool) -> None:
        self.what = f"fovea_dev {' '.join(arguments)}"
        self.log = CACHE / "logs" / f"tests-{arguments[0]}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "dev")}
        output = None if shown else self.log.open("w")
        self.process = subprocess.Popen(
            [*DEV, *arguments], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    def finish(self) -> None:
        """Wait; end the run with the command's last lines when it failed."""
        if self.process.wait() != 0:
            last = "\n".join(self.log.read_text().splitlines()[-30:]) if self.log.exists() else ""
            sys.exit(f"{self.what} failed with exit code {self.process.returncode}; its log is {self.log}\n{last}")


def run_tier(tier: Tier, *, wide: bool, pytest_arguments: list[str]) -> Result:
    """Run one tier with pytest; counts come from its JUnit file."""
    report = CACHE / "test-reports" / f"{tier.name}.xml"
    report.unlink(missing_ok=True)
    tools = CACHE / "tools/bin"
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "FOVEA_TEST_WIDE": "1" if wide else "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [str(_python()), "-m", "pytest", f"tests/{tier.name}", f"--junit-xml={report}", "--durations=8"]
    start = time.monotonic()
    code = subprocess.run(
        [*command, *pytest_arguments], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode
    seconds = time.monotonic() - start
    if not report.exists():
        return Result(tier.name, 0, 1, 0, seconds, code or 1)
    suite = ET.parse(report).getroot().find("testsuite")
    counts = {
        key: int((suite.attrib if suite is not None else {}).get(key, 0))
        for key in ("tests", "failures", "errors", "skipped")
    }
    failed = counts["failures"] + counts["errors"]
    return Result(tier.name, counts["tests"] - failed - counts["skipped"], failed, counts["skipped"], seconds, code)


def _python() -> Path:
    return Path(os.environ.get("UV_PROJECT_ENVIRONMENT", ROOT / ".venv")) / "bin/python"


def close(results: list[Result]) -> int:
    """Print the table and the closing count; the exit code is 1 when anything failed or a tier ran nothing."""
    print("\ntier        passed  failed  skipped   seconds")
    for result in results:
        print(f"{result.tier:<10} {result.passed:>7} {result.failed:>7} {result.skipped:>8} {result.seconds:>9.0f}")
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    bad = [r.tier for r in results if r.exit_code != 0 or r.passed == 0]
    if bad:
        print(f"not green: {', '.join(bad)}")
    print(f"{passed} passed, {failed} failed, {sum(r.skipped for r in results)} skipped")
    return 1 if bad or failed else 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Run Fovea's tests, tier by tier.")
    parser.add_argument(
        "tiers", nargs="*", choices=[*(tier.name for tier in TIERS), []], help="tiers to run; none: all"
    )
    parser.add_argument("--wide", action="store_true", help="the wide matrices too")
    parser.add_argument("-k", dest="expression", help="pytest's -k: only tests whose names match")
    parser.add_argument("-x", dest="first", action="store_true", help="stop a tier at its first failure")
    chosen = parser.parse_args()
    tiers = [tier for tier in TIERS if not chosen.tiers or tier.name in chosen.tiers]
    arguments = (["-k", chosen.expression] if chosen.expression else []) + (["-x"] if chosen.first else [])
    tools: Preparation | None = None
    if any(tier.needs_tools for tier in tiers):
        print(
            "building Kubernetes' programs, MinIO and Helm beside the first tier (minutes on a bare machine)",
            flush=True,
        )
        tools = Preparation("tools", "--only", CLUSTER_TOOLS, shown=False)
    results = []
    for tier in tiers:
        if tier.needs_tools and tools is not None:
            tools.finish()
            tools = None
        if tier.needs_cluster:
            print("\n=== the local cluster", flush=True)
            Preparation("up", shown=True).finish()
        print(f"\n=== {tier.name}", flush=True)
        results.append(run_tier(tier, wide=chosen.wide, pytest_arguments=arguments))
    return close(results)


if __name__ == "__main__":
    sys.exit(main())
