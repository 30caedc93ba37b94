"""The local cluster with Fovea installed by its chart, as `make deploy` does it; one installation for the whole tier."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea_agent.store import Store
from support.installed_store import port_forward, root_store
from support.local_jobs import machine_type
from support.node_shell import NodeShell, node_shell
from support.polling import until
from support.team_jobs import TeamJobs, team_jobs
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "dev"))

from deploy import Deployment  # noqa: E402 - dev/ is no package
from fovea_dev.layout import Cache  # noqa: E402
from fovea_dev.locks import locked  # noqa: E402
from fovea_dev.target import Embedded, choose  # noqa: E402 - as above

collect_ignore = [] if isinstance(choose(), Embedded) else ["test_gpus.py"]
"""A device plugin has to be where the kubelet is: on this machine it is that of the embedded cluster."""

TEAM, OTHER_TEAM = "vision", "speech"
APART = ("test_embedded_cluster_healing.py", "test_embedded_cluster_teardown.py")
"""They bring a cluster of their own."""
TOGETHER = (
    "test_bad_days_scheduling.py",
    "test_bad_days_trainer.py",
    "test_distributed_jobs.py",
    "test_example_programs.py",
    "test_images.py",
    "test_injected_containers.py",
    "test_job_chains.py",
    "test_job_controls.py",
    "test_moving_in.py",
    "test_recipes.py",
    "test_tenancy.py",
)
"""They look at their own objects, and disturb nothing: two of them run at once. All other files have the cluster for themselves."""
LOCK = Cache.from_environment().root / "locks/e2e-tests.lock"


def file_of(nodeid: str) -> str:
    """The name of a test's file."""
    return Path(nodeid.partition("::")[0]).name


class OneCluster(LoadScopeScheduling):
    """Files that run together first, each as soon as a worker is free; then those that stay alone, one after another, and beside them those apart."""

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        return file if file in TOGETHER else "apart" if file in APART else "alone"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneCluster:
    """What `make test` runs the tier with. (Groups by marker are what xdist 3.8 no longer gets from pytest 9.)"""
    config.option.loadscopereorder = False  # the order of the tests counts
    return OneCluster(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run together come first."""
    items.sort(key=lambda item: file_of(item.nodeid) not in TOGETHER)


@pytest.fixture(scope="module", autouse=True)
def undisturbed(request: pytest.FixtureRequest) -> Iterator[None]:
    """While a file has the cluster for itself, no other one runs."""
    file = Path(request.node.path).name
    if file in APART:
        yield
        return
    with locked(LOCK, shared=file in TOGETHER):
        yield


class Cluster:
    """What a user has: kubectl, fovea, and YAML."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.environment = deployment, deployment.environment()

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; a failure shows its output."""
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Standard output of kubectl."""
        return self.run("kubectl", *arguments, stdin=stdin, check=check).stdout

    def fovea(self, *arguments: str, check: bool = True, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run("fovea", *arguments, check=check, seconds=seconds)

    def get(self, kind: str, name: str, namespace: str = TEAM) -> dict[str, Any]:
        """An object, empty when there is none."""
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def list(self, kind: str, namespace: str = TEAM, selector: str = "") -> list[dict[str, Any]]:
        """Objects of a kind."""
        items: list[dict[str, Any]] = json.loads(
            self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        )["items"]
        return items

    def apply(self, manifest: dict[str, Any]) -> None:
        """kubectl apply."""
        self.kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))

    def status(self, job: str, namespace: str = TEAM) -> dict[str, Any]:
        """Status of a job."""
        found: dict[str, Any] = self.get("trainingjob", job, namespace).get("status", {})
        return found

    def wait_for_state(self, job: str, *states: str, seconds: float = 300, namespace: str = TEAM) -> dict[str, Any]:
        """Status of a job once it is in one of the states."""
        seen: dict[str, Any] = {}

        def probe() -> dict[str, Any] | None:
            seen.clear()
            seen.update(self.status(job, namespace))
            return dict(seen) if seen.get("state") in states else None

        try:
            return until(probe, seconds=seconds, what=f"job {job} in state {' or '.join(states)}")
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nstatus: {json.dumps(seen, indent=1)}\n{self.diagnosis(job, namespace)}"
            ) from None

    def diagnosis(self, job: str, namespace: str = TEAM) -> str:
        """What a person would look at."""
        selector = f"fovea.dev/training-job={job}"
        pods = self.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "wide", check=False)
        logs = self.kubectl(
            "logs", "-n", namespace, "-l", selector, "--all-containers", "--prefix", "--tail=20", check=False
        )
        return f"{pods}\n{logs}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, up and with Fovea installed; two teams have a key of the object store."""
    deployment = Deployment()
    with locked(LOCK.with_name("e2e-install.lock")):
        deployment.cluster()
        deployment.install(namespaces=(TEAM, OTHER_TEAM))
    return Cluster(deployment)


@pytest.fixture
def unique() -> str:
    """A short name for one test's objects."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> dict[str, str]:
    """References of the images that the cluster runs, by name."""
    return cluster.deployment.images()


@pytest.fixture(scope="session")
def small_machine(cluster: Cluster) -> Iterator[str]:
    """A machine type of which many pods fit on a small node."""
    name = f"t{uuid.uuid4().hex[:8]}"
    cluster.apply(machine_type(name))
    yield name
    cluster.kubectl("delete", "machinetype", name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def store_endpoint(cluster: Cluster) -> Iterator[str]:
    """URL of the installed object store on this machine."""
    with port_forward(cluster.environment) as endpoint:
        yield endpoint


@pytest.fixture
def root(cluster: Cluster, store_endpoint: str) -> Store:
    """The installed object store with the key that may do everything."""
    return root_store(cluster.kubectl, store_endpoint)


@pytest.fixture
def jobs(cluster: Cluster) -> Iterator[TeamJobs]:
    """Jobs of the team, removed after the test."""
    with team_jobs(cluster, TEAM) as mine:
        yield mine


@pytest.fixture(scope="session")
def node(cluster: Cluster, images: dict[str, str]) -> Iterator[NodeShell]:
    """A root shell on the node."""
    with node_shell(cluster, f"node-shell-{uuid.uuid4().hex[:8]}", images["fovea"]) as shell:
        yield shell
