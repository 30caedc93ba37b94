"""Progress reports: which pod they are of, when they are forgotten, and what the endpoint answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fovea_api.contract import labels, names
from fovea_api.contract.report import PROGRESS_PATH, ProgressReport
from fovea_operator.cluster import keys, observe
from fovea_operator.cluster.cache import Cache
from fovea_operator.cluster.intake import Intake
from fovea_operator.cluster.progress import Desk, Doorkeeper, Reports, Sender
from fovea_operator.cluster.routing import Routes
from fovea_operator.reconcile import references
from fovea_operator.runtime import Operator
from fovea_operator.settings import Settings

POD = "digits-chief-0-0"


class World:
    """A cache, and the reports of its pods."""

    def __init__(self) -> None:
        self.cache = Cache(labels.DEPLOYMENT)
        self.routes = Routes(self.cache, references.needs)
        self.intake = Intake(self.cache, self.routes, lambda _key: None)
        self.reports = Reports(5, lambda *_: None)
        self.intake.on_removed(self.reports.forget)

    def progress(self) -> ProgressReport | None:
        """What a decision on the job sees."""
        observed = observe.job(self.cache, self.routes, self.reports, keys.job("team", "digits"), "")
        assert observed is not None
        return observed.progress

    def is_ours(self, sender: Sender) -> bool:
        entry = self.cache.pods.get(sender.namespace, sender.pod)
        return entry is not None and entry.uid == sender.uid


def job(uid: str, version: int) -> dict[str, Any]:
    return {
        "apiVersion": "fovea.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "namespace": "team", "uid": uid, "resourceVersion": str(version)},
        "spec": {"trainer": {"container": {"image": "a:1"}}},
    }


def pod(uid: str, owner: str, version: int) -> dict[str, Any]:
    reference = {"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob", "name": "digits", "uid": owner}
    metadata = {
        "name": POD,
        "namespace": "team",
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{**reference, "controller": True}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}}


def test_a_namesake_does_not_show_the_progress_of_the_job_before_it() -> None:
    world = World()
    world.intake.seen("TrainingJob", job("old", 1))
    world.intake.seen("Pod", pod("old-pod", "old", 2))
    world.reports.put(Sender("team", POD, "old-pod"), ProgressReport(step=120), 0)
    assert world.progress() == ProgressReport(step=120)
    world.intake.seen("TrainingJob", job("new", 3))
    world.intake.seen("Pod", pod("new-pod", "new", 4))
    assert world.progress() is None
    # The last word of the old pod, on its way since before: it is not the new one's either.
    world.reports.put(Sender("team", POD, "old-pod"), ProgressReport(step=130), 1)
    assert world.progress() is None
    world.reports.put(Sender("team", POD, "new-pod"), ProgressReport(step=1), 1)
    assert world.progress() == ProgressReport(step=1)


@pytest.mark.parametrize(
    "end",
    [
        lambda intake: intake.event("Pod", "DELETED", pod("old-pod", "old", 3)),
        lambda intake: intake.gone("Pod", "team", POD, "old-pod", 3),
        lambda intake: intake.seen("Pod", pod("new-pod", "new", 4)),
    ],
    ids=["deleted", "missing in a list", "replaced"],
)
def test_a_report_is_forgotten_when_its_pod_is_gone(end: Callable[[Intake], None]) -> None:
    world = World()
    world.intake.seen("Pod", pod("old-pod", "old", 2))
    world.reports.put(Sender("team", POD, "old-pod"), ProgressReport(step=7), 0)
    world.intake.seen("Pod", {**pod("old-pod", "old", 3), "status": {"phase": "Succeeded"}})
    assert world.reports.latest("old-pod") == ProgressReport(step=7)
    end(world.intake)
    assert world.reports.latest("old-pod") is None


def verdict(**changes: Any) -> dict[str, Any]:
    """What the API server says of the pod's token."""
    extra = {"authentication.kubernetes.io/pod-name": [POD], "authentication.kubernetes.io/pod-uid": ["p1"]}
    user = {"username": "system:serviceaccount:team:default", "extra": extra}
    return {"authenticated": True, "audiences": [names.REPORT_TOKEN_AUDIENCE], "user": user, **changes}


def post(world: World, body: Callable[[], bytes]) -> int:
    """The endpoint's answer to a report whose body comes only after the token was reviewed."""
    reviewed = asyncio.Event()

    async def review(_token: str, _audience: str) -> dict[str, Any]:
        reviewed.set()
        return verdict()

    async def parts() -> AsyncIterator[bytes]:
        yield b" "
        await reviewed.wait()
        yield body()

    async def run() -> int:
        desk = Desk(world.reports, Doorkeeper(review), world.is_ours)
        async with TestClient(TestServer(desk.application())) as client:
            answer = await client.post(PROGRESS_PATH, data=parts(), headers={"Authorization": "Bearer secret"})
            return answer.status

    return asyncio.run(run())


def test_a_report_of_a_pod_that_went_away_while_it_arrived_is_not_kept() -> None:
    world = World()
    world.intake.seen("Pod", pod("p1", "u1", 2))

    def body() -> bytes:
        world.intake.gone("Pod", "team", POD, "p1")
        return ProgressReport(step=7).to_json().encode()

    assert post(world, body) == 403
    assert world.reports.latest("p1") is None


def test_the_running_operator_forgets_the_reports_of_pods_that_are_gone() -> None:
    async def run() -> ProgressReport | None:
        operator = Operator(Settings())
        operator._intake.seen("Pod", pod("p1", "u1", 2))
        operator._reports.put(Sender("team", POD, "p1"), ProgressReport(step=7), 0)
        operator._intake.gone("Pod", "team", POD, "p1")
        return operator._reports.latest("p1")

    assert asyncio.run(run()) is None
