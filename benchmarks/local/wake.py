"""The first request to a model without a pod: what it waits for, with the model fetched before its server's start and beside it."""

import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from support import installed_gateway
from support.behind_gateway import Served

from local.cluster import NAMESPACE, Local, wait

MEBIBYTES = 200
IDLE_SECONDS = 10
WAYS = {
    # The operator knows Fovea's server by the first word of its command.
    "fetched, then started": "serving.command={env,fovea-model-server}",
    "fetched while it starts": "serving.command={fovea-model-server}",
}


def wake(local: Local, *, quick: bool) -> None:
    """Two models of the same files, in turns; their pods are made as the chart said when the models were."""
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with installed_gateway.gateway(local), ExitStack() as stack:
        models = {way: _model(local, setting, stack) for way, setting in WAYS.items()}
        for _ in range(2 if quick else 7):
            for way, model in models.items():
                wait(lambda of=model: not _pods(local, of), 300, "no pod is left")  # type: ignore[misc]
                begun = time.monotonic()
                code, _ = model.get(f"/v1/models/{model.name}", seconds=300)
                seconds = time.monotonic() - begun
                if code != 200:
                    raise SystemExit(f"{way}: {code}")
                wait(lambda of=model: _step(of) == "Serving", 60, "it serves")  # type: ignore[misc]
                taken[way].append((seconds, model.status()["scaling"]["coldStartSeconds"]))
    print(f"\n### The first request to a model without a pod ({MEBIBYTES} MiB, medians of {len(taken[way])})\n")
    print("| model | s, as the client sees it | s, in the status |\n|---|---|---|")
    for way, both in taken.items():
        seen, said = (statistics.median(each) for each in zip(*both, strict=True))
        print(f"| {way} | {seen:.1f} | {said:.1f} |")


def _model(local: Local, setting: str, stack: ExitStack) -> Served:
    """One that sleeps, made with that setting of the chart."""
    local.deployment.install(setting)
    made = Served(local, Path(stack.enter_context(tempfile.TemporaryDirectory())))
    stack.callback(made.remove)
    made.begin(versions=1, mebibytes=MEBIBYTES)
    merge = json.dumps({"spec": {"scaling": {"minReplicas": 0, "idleSeconds": IDLE_SECONDS}}})
    local.kubectl("patch", "md", made.name, "-n", NAMESPACE, "--type=merge", "-p", merge)
    return made


def _pods(local: Local, model: Served) -> list[object]:
    return [*local.list("pods", NAMESPACE, f"fovea.dev/model-deployment={model.name}")]


def _step(model: Served) -> str:
    [stable] = [place for place in model.status()["places"] if place["role"] == "stable"]
    return str(stable["step"])
