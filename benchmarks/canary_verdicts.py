"""How often a canary's verdict is right: rollouts of simulated requests, judged every second by the operator's own analysis.

python benchmarks/canary_verdicts.py [--rollouts 60]
"""

import argparse
import random
from collections import Counter, deque
from statistics import median

from fovea_api.v1alpha1.model_deployment_status import Place
from fovea_api.v1alpha1.rollout import CANARY_STEPS, Analysis
from fovea_operator.reconcile.serving.analysis import judge
from fovea_operator.reconcile.shared.traffic import Requests, Traffic

RECENT = 30
LONGEST_SECONDS = 1800
CASES = ((0.002, 0.002), (0.005, 0.005), (0.01, 0.01), (0.0, 0.03), (0.0, 0.05), (0.01, 0.05), (0.0, 0.3))
"""Part of the requests that fails: on the stable version, on the candidate."""


def place(version: int) -> Place:
    return Place(version=version, revision="r", deployment=f"v{version}", role="stable", step="Serving")


def requests(seconds: list[tuple[int, int]]) -> Requests:
    total = sum(asked for asked, _ in seconds)
    return Requests(total, sum(failed for _, failed in seconds), {10.0: total})


def rollout(chosen: random.Random, rate: int, stable: float, candidate: float) -> tuple[str, int, int]:
    """The outcome, the seconds in its last step, and how many requests failed there."""
    for step in CANARY_STEPS:
        whole: dict[str, list[tuple[int, int]]] = {"v1": [], "v2": []}
        recent: dict[str, deque[tuple[int, int]]] = {of: deque(maxlen=RECENT) for of in whole}
        for second in range(1, LONGEST_SECONDS + 1):
            new = sum(chosen.random() < step.weight / 100 for _ in range(rate))
            for of, asked, part in (("v2", new, candidate), ("v1", rate - new, stable)):
                seen = (asked, sum(chosen.random() < part for _ in range(asked)))
                whole[of].append(seen)
                recent[of].append(seen)
            traffic = Traffic(
                {of: requests(seen) for of, seen in whole.items()},
                {of: requests(list(seen)) for of, seen in recent.items()},
            )
            verdict = judge(Analysis(), place(2), place(1), traffic, step.weight)
            if verdict.failed is not None:
                return "rolled back", second, traffic.whole["v2"].failed
            if second >= step.hold_seconds and not verdict.waits_for:
                break
        else:
            return "waits", LONGEST_SECONDS, 0
    return "promoted", 0, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=60, help="Rollouts of each case.")
    given = parser.parse_args()
    chosen = random.Random(1)
    print(
        "| requests/s | fail on stable | on candidate | promoted | rolled back | waits 30 min | s to the way back | failed till then |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for rate in (20, 100):
        for stable, candidate in CASES:
            found = [rollout(chosen, rate, stable, candidate) for _ in range(given.rollouts)]
            counts = Counter(outcome for outcome, _, _ in found)
            back = [(seconds, failed) for outcome, seconds, failed in found if outcome == "rolled back"]
            times = [f"{median(each[i] for each in back):g}" if back else "" for i in (0, 1)]
            shown = [counts[outcome] for outcome in ("promoted", "rolled back", "waits")]
            print("|", " | ".join(map(str, (rate, stable, candidate, *shown, *times))), "|")


if __name__ == "__main__":
    main()
