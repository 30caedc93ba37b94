"""The table of decisions on rollouts by steps, keyed by a sentence: what is counted of a candidate, and what follows."""

from dataclasses import dataclass, field
from typing import Any

from fovea_api.contract import names
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared import times
from fovea_operator.reconcile.shared.decision import Decision
from fovea_operator.reconcile.shared.observed import ContainerRecord, PodRecord
from fovea_operator.reconcile.shared.traffic import Held, Requests, Traffic
from support.observations import at, version
from support.rollout_table import V1, V2, candidate, failed, held, place, stable
from support.routes import SERVED, share, taken, through_gateway
from support.serving_observations import budget_of, model_deployment, server_pod, serving, workload

CANARY = {
    "strategy": "Canary",
    "steps": [{"weight": 10, "holdSeconds": 60}, {"weight": 50, "holdSeconds": 300}],
    "bakeSeconds": 120,
    "analysis": {"maxErrorRatio": 0.01, "maxLatencyRatio": 1.5, "minRequests": 100},
}
GOOD = Requests(1000, 0, {10.0: 500, 20.0: 490, 40.0: 10})


def shifting(step: int, weight: int, since: float | None = 0, **fields: Any) -> dict[str, Any]:
    """Version 2, a candidate at a step that began so many seconds after T0; None: the gateway has not taken its weight."""
    shift = {"step": step, "steps": 3, "weight": weight}
    shift |= {} if since is None else {"since": times.text(at(since))}
    return place(2, "candidate", "Baking" if weight == 100 else "Shifting", shift=shift, **fields)


def counted(of_2: Requests, of_1: Requests = GOOD, recent: Requests | None = None, trouble: str = "") -> Traffic:
    """What is counted of versions 2 and 1; `recent`: of version 2 in the last seconds, where it is not the same."""
    return Traffic({V2: of_2, V1: of_1}, {V2: of_2 if recent is None else recent, V1: of_1}, trouble)


def shown(requests: int, errors: int) -> dict[str, Any]:
    """A count in the status, of long ago."""
    ratio = errors / requests
    return {"time": times.text(at(-999)), "requests": requests, "errors": errors, "errorRatio": ratio}


def crashed(name: str, when: float, code: int = 137, reason: str = "OOMKilled", **fields: Any) -> PodRecord:
    """A pod whose model server ended then, and runs again."""
    server = ContainerRecord(
        running_since=at(when + 1), last_exit_code=code, last_reason=reason, last_finished=at(when)
    )
    return server_pod(name, containers={names.MODEL_SERVER_CONTAINER: server}, ready=True, **fields)


@dataclass
class Row:
    """What is seen `now` seconds after T0 of version 1, which is served, and of version 2; and what is decided."""

    is_: dict[str, Any] = field(default_factory=lambda: shifting(1, 10))
    """Version 2's place."""
    taken: dict[str, int] = field(default_factory=lambda: {V1: 90, V2: 10})
    """By which weights the gateway goes."""
    counts: Traffic | None = field(default_factory=lambda: counted(GOOD))
    spec: dict[str, Any] = field(default_factory=dict)
    """Of the rollout, beside CANARY."""
    ready: int = 1
    """Version 2's pods that answer."""
    pods: list[PodRecord] = field(default_factory=list)
    now: float = 60
    beside: dict[str, Any] = field(default_factory=dict)
    """Of what is observed."""
    wanted: int = 2
    replicas: int = 1
    stable_traffic: dict[str, Any] | None = None
    # -- then
    role: str = "candidate"
    step: str = "Shifting"
    shift: tuple[int, int, float | None] | None = None
    """Step, weight and since."""
    gives: dict[str, int] | None = None
    """The weights that the routes are written with; None: they stay."""
    reason: str = ""
    """Of condition Progressing."""
    says: str = ""
    wakes: float | None = None
    conditions: dict[str, str] = field(default_factory=dict)

    def decision(self) -> Decision:
        shares = [share(V1, self.taken.get(V1, 0)), share(V2, self.taken.get(V2, 0))]
        of = model_deployment(
            held(stable(1) | {"weight": self.taken.get(V1, 0), "traffic": self.stable_traffic}, self.is_),
            rollout=CANARY | self.spec,
            scaling={"minReplicas": self.replicas},
            version=self.wanted,
        )
        seen = {
            "workloads": [workload(V1, ready=1), workload(V2, ready=self.ready)],
            "pods": self.pods,
            "service": through_gateway(),
            "budget": budget_of(V1),
            "routes": taken(*shares),
            "serves_routes": True,
            "traffic": self.counts,
        } | self.beside
        return decide_model_deployment(serving(of, version(1), version(2), version(3), **seen), at(self.now), SERVED)


ALONE: dict[str, Any] = {"workloads": [workload(V1), workload(V2, ready=1)]}
"""Version 2 answers, and version 1 does not."""
ERRORS = Requests(200, 40, {10.0: 200})
SLOW = Requests(300, 0, {20.0: 200, 40.0: 100})
TABLE: dict[str, Row] = {
    "a candidate that answers, and that the gateway knows, gets the first weight": Row(
        candidate(2),
        {V1: 100},
        None,
        shift=(1, 10, None),
        gives={V1: 90, V2: 10},
        reason="RoutePending",
        says="Version 2 gets 10 % of the requests (step 1 of 3) as soon as Gateway fovea-system/fovea takes the weights.",
    ),
    "its time begins when the gateway has taken the weight": Row(
        shifting(1, 10, None),
        now=30,
        shift=(1, 10, 30),
        reason="Shifting",
        wakes=90,
        says="At 2026-11-21T10:01:30Z, it gets 50 %.",
    ),
    "not before": Row(
        shifting(1, 10, None), {V1: 100}, shift=(1, 10, None), gives={V1: 90, V2: 10}, reason="RoutePending"
    ),
    "a step lasts as long as it says, however good the candidate is": Row(
        now=59, shift=(1, 10, 0), reason="Shifting", wakes=60
    ),
    "then the next one begins": Row(shift=(2, 50, None), gives={V1: 50, V2: 50}, reason="RoutePending"),
    "a candidate waits while the stable version has too few requests to compare it with": Row(
        counts=counted(GOOD, Requests(99, 0, {10.0: 99})),
        now=9999,
        shift=(1, 10, 0),
        reason="WaitingForRequests",
        says="the rollout waits for 100 requests to version 1, to compare with",
    ),
    "a candidate with fewer requests than it needs waits, and says so": Row(
        counts=counted(Requests(99, 9)),
        now=9999,
        shift=(1, 10, 0),
        reason="WaitingForRequests",
        says="Before it gets 50 %, the rollout waits for 100 requests to version 2.",
    ),
    "one whose requests cannot be counted waits, too": Row(
        counts=counted(GOOD, trouble="proxy 10.0.0.7: refused"),
        now=9999,
        shift=(1, 10, 0),
        says="proxy 10.0.0.7: refused",
    ),
    "where nothing counts it waits for good": Row(
        counts=None, now=9999, shift=(1, 10, 0), says="the gateway's count of requests"
    ),
    "unless time alone is to decide": Row(
        counts=None, spec={"analysis": {"minRequests": 0}}, shift=(2, 50, None), gives={V1: 50, V2: 50}
    ),
    "a candidate that fails more requests than allowed goes back at once": Row(
        counts=counted(ERRORS),
        now=5,
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooManyErrors",
        says="40 of 200 requests to version 2 failed (20 %; of version 1 0 %; rollout.analysis.maxErrorRatio allows 1 % more)",
        conditions={"RolledBack": "True TooManyErrors", "Promoted": "False TooManyErrors", "Serving": "True Available"},
    ),
    "what fails on the stable version alike is not the candidate's fault": Row(
        counts=counted(ERRORS, Requests(1000, 200, GOOD.latencies)), now=5, shift=(1, 10, 0)
    ),
    "a few failures more than allowed may be chance: it gets more requests, and no next step": Row(
        counts=counted(Requests(200, 5, {10.0: 200})),
        shift=(1, 10, 0),
        reason="WaitingForRequests",
        says="waits for more requests, which tell it from chance: 5 of 200 requests to version 2 failed (2.5 %",
    ),
    "one that fails stays while nobody is there to go back to": Row(
        counts=counted(ERRORS),
        beside=ALONE,
        shift=(1, 10, 0),
        gives={V2: 100},
        reason="WaitingForRequests",
        says="waits for a pod of version 1 that answers, to send the requests back to: 40 of 200",
    ),
    "one that alone answers gets all requests, whatever its step says": Row(
        now=5, beside=ALONE, shift=(1, 10, 0), gives={V2: 100}
    ),
    "also from the beginning": Row(candidate(2), {V1: 100}, None, beside=ALONE, shift=(1, 10, None), gives={V2: 100}),
    "and goes on by its steps": Row(
        shifting(1, 10, None), {V2: 100}, now=30, beside=ALONE, shift=(1, 10, 30), reason="Shifting"
    ),
    "also when nothing is there to compare it with": Row(
        taken={V2: 100}, counts=counted(GOOD, Requests()), beside=ALONE, shift=(2, 50, None), gives=None
    ),
    "until the other one answers again": Row(taken={V2: 100}, now=5, shift=(1, 10, 0), gives={V1: 90, V2: 10}),
    "one that alone answers stays, although it is aborted": Row(
        spec={"abortedVersion": 2},
        beside=ALONE,
        shift=(1, 10, 0),
        gives={V2: 100},
        says="waits for a pod of version 1 that answers, to send the requests back to: rollout.abortedVersion names it",
    ),
    "one that alone answers is served when a third version is wanted": Row(
        beside=ALONE, wanted=3, role="stable", step="Switching", gives={V2: 100}
    ),
    "but not when the other one is asked for": Row(
        beside=ALONE, wanted=1, role="draining", step="Leaving", gives={V1: 100}
    ),
    "an object of the model that the API server refuses does not end its steps": Row(
        beside={"refused": "services 'digits' is forbidden"}, shift=(2, 50, None), gives={V1: 50, V2: 50}
    ),
    "nor its first one": Row(
        candidate(2),
        {V1: 100},
        None,
        beside={"refused": "services 'digits' is forbidden"},
        shift=(1, 10, None),
        gives={V1: 90, V2: 10},
    ),
    "a version whose first pod still answers those who waited is not replaced": Row(
        candidate(2),
        {V1: 100},
        None,
        beside={"held": Held(2, at(0))},
        step="Switching",
        reason="ScalingFromZero",
        says="requests wait for a pod of version 1, which is served",
    ),
    "one that is wanted no more, because its version is gone, finishes its requests": Row(
        wanted=7, role="draining", step="Leaving", gives={V1: 100}, conditions={"Progressing": "False NoVersion"}
    ),
    "one that becomes bad late goes back by its newest requests": Row(
        counts=counted(Requests(100_000, 90, {10.0: 100_000}), recent=Requests(100, 90, {10.0: 100})),
        now=5,
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooManyErrors",
    ),
    "one that is slower than allowed goes back": Row(
        counts=counted(SLOW),
        now=5,
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooSlow",
        says="its 99th percentile is 39.4 ms, that of version 1 20.0 ms (rollout.analysis.maxLatencyRatio: 1.5)",
    ),
    "a few slow requests may be chance": Row(
        counts=counted(Requests(100, 0, {20.0: 97, 40.0: 3})), now=5, shift=(1, 10, 0)
    ),
    "one whose server ends goes back without a count": Row(
        counts=None,
        pods=[crashed(V2, 3)],
        now=5,
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="ServerFailed",
        says="ended with 137 (OOMKilled)",
    ),
    "a server that ended before it had requests does not count": Row(pods=[crashed(V2, -3)], now=5, shift=(1, 10, 0)),
    "nor does one that ended with its node, which has restarted": Row(
        pods=[crashed(V2, 3, 255, "Unknown")], ready=2, now=5, shift=(1, 10, 0)
    ),
    "or whose node does not know any more how it ended": Row(
        pods=[crashed(V2, 3, 137, "ContainerStatusUnknown")], ready=2, now=5, shift=(1, 10, 0)
    ),
    "nor one in a pod that is being evicted": Row(
        pods=[crashed(V2, 3, disrupted="node-1 is low on memory")], ready=2, now=5, shift=(1, 10, 0)
    ),
    "where all of its pods were on that node it has no requests until it answers again": Row(
        pods=[crashed(V2, 3, 255, "Unknown")], ready=0, now=5, step="Starting", gives={V1: 100}, reason="Starting"
    ),
    "one whose pods were taken away has no requests until it answers again": Row(
        ready=0, now=5, step="Starting", gives={V1: 100}, reason="Starting"
    ),
    "a pod less than wanted holds it at its step": Row(
        replicas=2,
        beside={
            "workloads": [workload(V1, replicas=2, ready=2), workload(V2, replicas=2, ready=1)],
            "budget": None,
        },
        now=9999,
        shift=(1, 10, 0),
        says="all pods of version 2",
    ),
    "a rollout that is paused stays where it is": Row(
        spec={"paused": True},
        now=9999,
        shift=(1, 10, 0),
        reason="Paused",
        says="The rollout is paused (rollout.paused).",
    ),
    "and goes back all the same if it fails": Row(
        spec={"paused": True},
        counts=counted(ERRORS),
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooManyErrors",
    ),
    "one that is aborted goes back at once": Row(
        spec={"abortedVersion": 2},
        now=5,
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="Aborted",
        says="rollout.abortedVersion names it",
    ),
    "an abort of another version changes nothing": Row(spec={"abortedVersion": 3}, now=5, shift=(1, 10, 0)),
    "one that is promoted gets all requests without a count": Row(
        spec={"promotedVersion": 2}, counts=None, now=5, role="stable", step="Switching", gives={V2: 100}
    ),
    "but not while its pods are away": Row(
        spec={"promotedVersion": 2}, ready=0, now=5, step="Starting", gives={V1: 100}, reason="Starting"
    ),
    "nor while one of them is": Row(
        spec={"promotedVersion": 2},
        replicas=2,
        beside={"workloads": [workload(V1, replicas=2, ready=2), workload(V2, replicas=2, ready=1)], "budget": None},
        now=60,
        shift=(1, 10, 0),
    ),
    "the words of a gateway that refuses the weights are said": Row(
        shifting(1, 10, None),
        beside={"routes": taken(share(V1, 90), share(V2, 10), said=False)},
        shift=(1, 10, None),
        reason="RouteRefused",
        says="does not take a route of this model: GRPCRoute digits: said",
    ),
    "after the last step it gets all requests, and the old version keeps its pods": Row(
        shifting(2, 50), {V1: 50, V2: 50}, now=300, step="Baking", shift=(3, 100, None), gives={V2: 100}
    ),
    "while it bakes it can still go back": Row(
        shifting(3, 100),
        {V2: 100},
        counted(ERRORS, Requests()),
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooManyErrors",
    ),
    "with nothing to compare it with it says so": Row(
        shifting(3, 100),
        {V2: 100},
        counted(ERRORS, Requests(99, 9)),
        stable_traffic=shown(99, 9),
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooManyErrors",
        says="(20 %; compared with nothing, since fewer than 100 requests to version 1 were counted; rollout.analysis.maxErrorRatio "
        "allows 1 %)",
    ),
    "what failed on the stable version before, when that had requests, is not its fault then either": Row(
        shifting(3, 100),
        {V2: 100},
        counted(Requests(9_000, 450, {10.0: 9_000}), Requests()),
        stable_traffic=shown(2_000, 100),
        step="Baking",
        shift=(3, 100, 0),
        reason="Baking",
    ),
    "but more than that is": Row(
        shifting(3, 100),
        {V2: 100},
        counted(Requests(9_000, 900, {10.0: 9_000}), Requests()),
        stable_traffic=shown(2_000, 100),
        role="failed",
        step="Leaving",
        gives={V1: 100},
        reason="TooManyErrors",
        says="(10 %; of version 1 5 %;",
    ),
    "a hundred requests of the stable version may have gone well by chance, and there are no more of them": Row(
        shifting(3, 100),
        {V2: 100},
        counted(Requests(90_000, 4_500, {10.0: 90_000}), Requests()),
        now=9999,
        stable_traffic=shown(100, 2),
        step="Baking",
        shift=(3, 100, 0),
        reason="WaitingForRequests",
        says="waits for you, since the 100 requests that version 1 had are too few to tell it from chance (rollout.promotedVersion or "
        "rollout.abortedVersion): 4500 of 90000 requests to version 2 failed (5 %; of version 1 2 %;",
    ),
    "at a step where few requests are left for the stable version, it waits for them to compare it with": Row(
        shifting(1, 95),
        {V1: 5, V2: 95},
        counted(Requests(1_000, 50, {10.0: 1_000}), Requests(50, 3)),
        spec={"steps": [{"weight": 95, "holdSeconds": 60}]},
        now=9999,
        shift=(1, 95, 0),
        reason="WaitingForRequests",
        says="waits for 100 requests to version 1, to compare with: 50 of 1000 requests to version 2 failed",
    ),
    "its latency is not judged then, since nothing is there to compare it with": Row(
        shifting(3, 100),
        {V2: 100},
        counted(SLOW, Requests()),
        step="Baking",
        shift=(3, 100, 0),
        reason="Baking",
        beside={"traffic": counted(SLOW, Requests())},
    ),
    "when it has baked it is the stable version": Row(
        shifting(3, 100),
        {V2: 100},
        now=120,
        role="stable",
        step="Serving",
        conditions={"Promoted": "True Promoted", "RolledBack": "False NotRolledBack", "Progressing": "True Draining"},
    ),
    "a spec with fewer steps goes on at the last one": Row(
        shifting(2, 50),
        {V1: 50, V2: 50},
        spec={"steps": [{"weight": 20}], "bakeSeconds": 0},
        shift=(1, 20, None),
        gives={V1: 80, V2: 20},
    ),
    "a spec with gentler steps never gives more": Row(
        shifting(2, 50), {V1: 50, V2: 50}, spec={"steps": [{"weight": 5}]}, shift=(1, 5, None), gives={V1: 95, V2: 5}
    ),
    "a spec with another weight, and paused, gives no more": Row(
        spec={"steps": [{"weight": 30}], "paused": True}, shift=(1, 10, 0)
    ),
    "a spec with another weight has it from now on, and counts from then": Row(
        spec={"steps": [{"weight": 30}]}, shift=(1, 30, None), gives={V1: 70, V2: 30}
    ),
    "another version that is wanted takes its place, and it finishes its requests": Row(
        wanted=3, role="draining", step="Leaving", gives={V1: 100}, conditions={"Progressing": "True Starting"}
    ),
    "if the stable version is wanted again it finishes its requests, too": Row(
        wanted=1, role="draining", step="Leaving", gives={V1: 100}
    ),
    "a version that was rolled back finishes its requests once the gateway sends it none": Row(
        failed(2, "TooManyErrors") | {"step": "Leaving"},
        {V1: 100},
        spec={},
        role="failed",
        step="Draining",
        now=7,
        wakes=67,
    ),
    "then its pods go": Row(
        failed(2, "TooManyErrors") | {"step": "Draining"},
        {V1: 100},
        now=61,
        role="failed",
        gives={V1: 100},
        step="GivenUp",
    ),
}
