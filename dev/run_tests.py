"""Run the tiers of tests in order, say what each needs while it is being made, and close with one table and one count.

What takes long on a bare machine (building Kubernetes' programs) starts at once and runs beside the tiers that do not need it.
A tier that mostly waits runs beside one that mostly computes; its output follows when both have ended.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from fovea_dev import proxies
from fovea_dev.layout import Cache, Cluster
from fovea_dev.locks import locked

ROOT = Path(__file__).resolve().parents[1]
CACHE = Cache.from_environment().root
# Of this checkout alone: another one may be tested at the same time.
REPORTS = CACHE / "test-reports" / hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8]
DEV = (sys.executable, "-m", "fovea_dev")
CLUSTER_TOOLS = "kube-apiserver,etcd,minio,versitygw,helm,kubectl"
ENGINES = "kueue,envoy-gateway"
"""What wide tests run in the local cluster."""


@dataclass(frozen=True)
class Tier:
    """One folder of tests and what has to be there before it runs."""

    name: str
    needs_tools: bool = False
    needs_cluster: bool = False
    verbose: bool = False
    """Say each test as it ends: where one takes minutes, dots are no progress."""
    beside: str = ""
    """The tier that runs meanwhile, where both were asked for."""
    computes: bool = False
    """It yields the processors to what runs beside it, whose tests are about seconds."""


TIERS = (
    Tier("unit"),
    Tier("contract", needs_tools=True, computes=True),
    Tier("cluster", needs_tools=True, beside="contract"),
    Tier("chart", needs_tools=True, beside="contract"),
    Tier("e2e", needs_tools=True, needs_cluster=True, verbose=True),
)
# Most tests wait for a process, a pod or a deadline; more workers would each start API servers and TensorFlow of their own.
WORKERS = 2


@dataclass(frozen=True)
class Result:
    """What a tier's run said: counts of tests, and seconds."""

    tier: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    exit_code: int


class NotReady(Exception):
    """What a tier needs could not be made."""


class Preparation:
    """A `fovea_dev` command that runs beside the tests; its lines are shown once it is waited for."""

    def __init__(self, *arguments: str) -> None:
        self.what = f"fovea_dev {' '.join(arguments)}"
        REPORTS.mkdir(parents=True, exist_ok=True)
        self._lines = REPORTS / f"{'-'.join(arguments)}.log"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "dev")}
        with self._lines.open("w") as lines:
            self._process = subprocess.Popen(
                [*DEV, *arguments], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines
            )

    def finish(self) -> None:
        """Wait, and show what it says meanwhile. Raises NotReady when it failed."""
        with self._lines.open() as lines:
            while True:
                code = self._process.poll()
                print(lines.read(), end="", flush=True)
                if code is not None:
                    break
                time.sleep(0.5)
        if code != 0:
            raise NotReady(f"{self.what} failed with exit code {code}; what it said is above")


@contextmanager
def cluster_for_tests(tier: Tier) -> Iterator[None]:
    """The local cluster, running, without tests of another run on it: those would install their own Fovea."""
    if not tier.needs_cluster:
        yield
        return

    def waiting() -> None:
        print("other tests use this machine's cluster; waiting for them to end", flush=True)

    with locked(Cluster.from_environment().lock.with_name("fovea-tests.lock"), waiting):
        print("\n=== the local cluster", flush=True)
        Preparation("up").finish()
        yield


def run_tier(tier: Tier, *, wide: bool, pytest_arguments: list[str], output: Path | None = None) -> Result:
    """Run one tier with pytest; counts come from its JUnit file. `output`: where its words go, the terminal unless given."""
    report = REPORTS / f"{tier.name}.xml"
    report.unlink(missing_ok=True)
    tools = CACHE / "tools/bin"
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "FOVEA_TEST_WIDE": "1" if wide else "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    proxies.spare_the_cluster(environment)
    command = [str(_python()), "-m", "pytest", f"tests/{tier.name}", f"--junit-xml={report}", "--durations=8"]
    command += [f"--numprocesses={WORKERS}", "--dist=loadfile", *(["--verbose"] if tier.verbose else [])]
    command += ["--max-worker-restart=0"]  # xdist would run the test that ended its process again, up to eight times
    command = [*(["nice", "-n", "10"] if tier.computes else []), *command, *pytest_arguments]
    start = time.monotonic()
    with ExitStack() as stack:
        words = stack.enter_context(output.open("w")) if output else None
        code = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=words, stderr=words, check=False
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


class Aside:
    """Tiers that run one after another beside another one; what they say is kept until that one has ended."""

    def __init__(self, tiers: list[Tier], *, wide: bool, pytest_arguments: list[str]) -> None:
        REPORTS.mkdir(parents=True, exist_ok=True)
        executor = ThreadPoolExecutor(1)
        self._runs: list[tuple[Tier, Path, Future[Result]]] = []
        for tier in tiers:
            output = REPORTS / f"{tier.name}.log"
            run = executor.submit(run_tier, tier, wide=wide, pytest_arguments=pytest_arguments, output=output)
            self._runs.append((tier, output, run))
        executor.shutdown(wait=False)

    def finish(self) -> list[Result]:
        """Wait for each, and show what it said."""
        results = []
        for tier, output, run in self._runs:
            results.append(run.result())
            print(f"\n=== {tier.name}\n{output.read_text()}", end="", flush=True)
        return results


def run_tiers(tiers: list[Tier], *, wide: bool, pytest_arguments: list[str]) -> list[Result]:
    """Run the tiers in order; what can't be prepared counts as a failure, and nothing runs after it."""
    tools: Preparation | None = None
    if any(tier.needs_tools for tier in tiers):
        print(
            "building Kubernetes' programs, MinIO, versitygw and Helm beside the first tier (minutes on a bare machine)",
            flush=True,
        )
        tools = Preparation("tools", "--only", CLUSTER_TOOLS)
    engines = Preparation("tools", "--only", ENGINES) if wide and any(tier.needs_cluster for tier in tiers) else None
    results: list[Result] = []
    chosen = {tier.name for tier in tiers}
    in_order = [tier for tier in tiers if tier.beside not in chosen]
    for tier in in_order:
        start = time.monotonic()
        beside = [each for each in tiers if each.beside == tier.name]
        try:
            if tier.needs_tools and tools is not None:
                tools.finish()
                tools = None
            if tier.needs_cluster and engines is not None:
                engines.finish()
                engines = None
            with cluster_for_tests(tier):
                print(
                    f"\n=== {tier.name}"
                    + "".join(f"\n    beside it {each.name}; what it says follows" for each in beside),
                    flush=True,
                )
                aside = Aside(beside, wide=wide, pytest_arguments=pytest_arguments)
                results.append(run_tier(tier, wide=wide, pytest_arguments=pytest_arguments))
                results += aside.finish()
        except NotReady as error:
            ran = {result.tier for result in results}
            print(f"\n{error}\nnot run: {', '.join(each.name for each in tiers if each.name not in ran)}", flush=True)
            results.append(Result(tier.name, 0, 1, 0, time.monotonic() - start, 1))
            break
    return results


def demand_prerequisites(tiers: list[Tier]) -> None:
    """End at once, not after minutes, when the machine lacks what a later tier needs."""
    if any(tier.needs_tools for tier in tiers):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "dev")}
        command = [*DEV, "prerequisites"]
        asked = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if asked.returncode != 0:
            sys.exit(f'{asked.stdout}\nsome tests need what is missing here; make test ARGS="unit" does not')


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
    demand_prerequisites(tiers)
    return close(run_tiers(tiers, wide=chosen.wide, pytest_arguments=arguments))


if __name__ == "__main__":
    sys.exit(main())
