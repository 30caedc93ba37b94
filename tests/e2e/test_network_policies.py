"""NetworkPolicies on the local cluster: those of jobs, and those of the chart. Who is let in, and who is not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fovea_api.contract import names
from support import helm
from support.polling import until
from support.team_jobs import TeamJobs, program

TEAM = "vision"
LISTEN = """
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
ThreadingHTTPServer(("", 2222), SimpleHTTPRequestHandler).serve_forever()
"""
ASK = """
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
try:
    socket.create_connection((host, int(port)), timeout=3).close()
    print("reached")
except TimeoutError:
    print("no answer")
except OSError as error:
    print(error)
"""


def asked(jobs: TeamJobs, pod: str, address: str) -> str:
    """What becomes of a connection from a training pod."""
    return jobs.execute(pod, names.TRAINER_CONTAINER, "python3", "-c", ASK, address).strip()


@pytest.fixture
def stranger(cluster: Any, jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str) -> str:
    """A running pod of another job of the same team."""
    return jobs.submit(f"{unique}-other", program(images["fovea"], small_machine, "told('end')"))


def test_the_pods_of_a_job_reach_each_other_and_nobody_else_reaches_them(
    cluster: Any, jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str, stranger: str
) -> None:
    roles = {"chief": {"machineType": small_machine}, "worker": {"count": 1, "machineType": small_machine}}
    spec = program(images["fovea"], small_machine, LISTEN, distribution="MultiWorkerMirrored", roles=roles)
    chief, other = jobs.runs(jobs.submit(unique, spec)), jobs.runs(stranger)
    worker = names.training_address(unique, TEAM, names.ROLE_WORKER, 0)

    def ask(pod: str, wanted: str) -> None:
        until(lambda: asked(jobs, pod, worker) == wanted, seconds=20, every=1, what=f"{pod} → {worker}: {wanted}")

    ask(chief, "reached")
    ask(other, "no answer")
    ask(chief, "reached")
    cluster.kubectl("delete", "networkpolicy", names.pods_policy(unique), "-n", TEAM)
    ask(other, "reached")


@pytest.fixture
def policies_of_the_chart(cluster: Any) -> Iterator[None]:
    """Those of `networkPolicy.enabled`, beside the installation that does without them."""
    made = [each for each in helm.template({"networkPolicy": {"enabled": True}}) if each["kind"] == "NetworkPolicy"]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    cluster.kubectl("apply", "-f", "-", stdin=document)
    yield
    cluster.kubectl("delete", "-f", "-", stdin=document)


@pytest.mark.usefixtures("policies_of_the_chart")
def test_with_the_charts_policies_a_job_publishes_and_no_other_port_is_open(
    cluster: Any, jobs: TeamJobs, images: dict[str, str], small_machine: str, unique: str
) -> None:
    [operator] = cluster.list("pods", helm.NAMESPACE, "app.kubernetes.io/component=operator")
    source = """
checkpoint(1, "x")
with open(os.environ["FOVEA_PROGRESS_FILE"], "a") as progress:
    print(json.dumps({"step": 1, "steps": 1}), file=progress)
told("end")
"""
    pod = jobs.runs(jobs.submit(unique, program(images["fovea"], small_machine, source)))
    until(
        lambda: cluster.status(unique).get("progress", {}).get("step") == 1,
        seconds=30,
        what="a report reaches the operator",
    )
    assert asked(jobs, pod, f"{operator['status']['podIP']}:8080") == "reached"
    assert asked(jobs, pod, f"{operator['status']['podIP']}:8081") == "no answer", "not refused: no policy names it"
    jobs.tell(pod, "end")
    jobs.ended(unique, seconds=60)
