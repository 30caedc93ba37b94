"""The budget of a candidate that has requests: a drain waits for its pods as for those of the version that is served."""

from typing import Any

from fovea_operator.reconcile.shared.decision import DISRUPTION_BUDGET, Decision
from support.canary_table import Row, shifting
from support.rollout_table import V1, V2
from support.serving_observations import budget_of, candidate_budget_of, server_pod


def written(decision: Decision) -> list[tuple[str, str, int, str]]:
    """Each budget: how it is written, its name, how many pods stay, and of which version."""
    return [
        (child.write.value, found["metadata"]["name"], found["spec"]["minAvailable"], selected(found["spec"]))
        for child in decision.children
        if (found := child.manifest)["kind"] == "PodDisruptionBudget"
    ]


def selected(spec: dict[str, Any]) -> str:
    return str(spec["selector"]["matchLabels"]["fovea.dev/version"])


def deleted(decision: Decision) -> list[str]:
    return [each.name for each in decision.deletions if each.gvk == DISRUPTION_BUDGET]


SEEN = {"cordoned": frozenset[str](), "budget": budget_of(V1, 1)}


def test_a_candidate_gets_a_budget_of_its_own_with_its_first_share_and_keeps_it_while_it_bakes() -> None:
    first = Row(shifting(1, 10, None), {V1: 100}, beside=SEEN).decision()
    assert written(first) == [("create", V2, 1, "2")]
    bakes = SEEN | {"candidate_budgets": [candidate_budget_of(V2, 1)]}
    baking = Row(shifting(3, 100), {V2: 100}, now=5, beside=bakes).decision()
    assert (written(baking), deleted(baking)) == ([], [])


def test_a_pod_never_has_two_budgets() -> None:
    """An eviction would be an error: so the candidate's own one goes before that of the served version selects its pods."""
    own = SEEN | {"candidate_budgets": [candidate_budget_of(V2, 1)]}
    promoted = Row(shifting(3, 100), {V2: 100}, now=120, beside=own).decision()
    assert (written(promoted), deleted(promoted)) == ([], [V2])
    after = Row(shifting(3, 100), {V2: 100}, now=120, beside=SEEN).decision()
    assert (written(after), deleted(after)) == ([("apply", "digits", 1, "2")], [])


def test_the_budget_of_a_candidate_goes_when_it_goes_back_and_when_no_pod_of_it_answers() -> None:
    own = SEEN | {"candidate_budgets": [candidate_budget_of(V2, 1)]}
    assert deleted(Row(spec={"abortedVersion": 2}, now=5, beside=own).decision()) == [V2]
    assert deleted(Row(ready=0, now=5, beside=own).decision()) == [V2]
    assert deleted(Row(now=5, beside=own).decision()) == []


def test_a_second_pod_of_a_candidate_starts_before_a_drain_evicts_the_first() -> None:
    there = SEEN | {"cordoned": frozenset({"node-1"}), "candidate_budgets": [candidate_budget_of(V2, 1)]}
    row = Row(now=5, beside=there, pods=[server_pod(V2, ready=True)])
    decision = row.decision()
    [place] = [each for each in (decision.status or {})["places"] if each["version"] == 2]
    assert (place["evacuation"]["step"], place["step"]) == ("SecondPodStarting", "Shifting")
    scaled = [each.manifest["spec"]["replicas"] for each in decision.children if each.manifest["kind"] == "Deployment"]
    assert scaled == [2]
    message = next(each.message for each in decision.events if each.reason == "SecondPodStarting")
    assert message == "Node node-1 is cordoned: a second pod starts elsewhere before the first is evicted."
    missing = Row(now=5, beside=there | {"candidate_budgets": []}, pods=row.pods).decision()
    said = next(each.message for each in missing.events if each.reason == "SecondPodStarting")
    assert said.startswith(f"{message} There is no PodDisruptionBudget {V2}, so no drain waits.")
