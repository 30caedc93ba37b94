"""Step 500 torn by what ended its program, alone or after a whole step 400."""

import json

from fovea_agent.fetch import Fetch
from fovea_api.contract.report import Termination
from support.sidecar import Pod


def fetch(pod: Pod) -> Termination:
    return Fetch(pod.sync.plan, pod.store, pod.work).run()[0]


def progress(pod: Pod, step: int) -> None:
    (pod.work.root / pod.work.progress).write_text(json.dumps({"step": step, "steps": 1000}) + "\n")


def whole(pod: Pod, name: str) -> None:
    """Step 400 under a name like this one, in the store and known to be whole."""
    pod.named(name.replace("500", "400"), b"w400")
    for _ in range(2):
        pod.sync.checkpoints.publish()


def torn(pod: Pod, name: str = "500.pt", attempts: int = 1) -> Pod:
    """Killed while it wrote step 500; returns the pod of the last of the next attempts, all of which began with that."""
    pod.named(name, b"tor")
    for _ in range(attempts):
        pod.end()
        pod = pod.next_attempt()
        assert fetch(pod).checkpoint_step == 500
    return pod


def torn_after_a_whole_one(pod: Pod, name: str = "500.pt", attempts: int = 1) -> Pod:
    whole(pod, name)
    return torn(pod, name, attempts)
