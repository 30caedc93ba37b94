"""Jobs for the local cluster: small Python programs in one of Fovea's images, on machines of which many fit on a small node."""

from typing import Any

from fovea_api.contract import names
from fovea_api.v1alpha1 import API_VERSION

DONE = "print('done')"

COUNT = """
import json, os, pathlib, signal, sys, time

def stop(*_):
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)  # process 1 is not ended by a signal that it does not handle
steps, pause, hold = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None
folder = pathlib.Path(os.environ['FOVEA_CHECKPOINT_DIR'])
found = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
first = max(found, default=0)
starts = json.loads((folder / str(first) / 'starts.json').read_text()) if found else []
starts.append(first)
print('starting at step', first, flush=True)
for step in range(first + 1, steps + 1):
    time.sleep(pause)
    unfinished = folder / '.unfinished'
    unfinished.mkdir()
    (unfinished / 'starts.json').write_text(json.dumps(starts))
    unfinished.rename(folder / str(step))
    with open(os.environ['FOVEA_PROGRESS_FILE'], 'a') as progress:
        print(json.dumps({'step': step, 'steps': steps}), file=progress)
    while step == hold and not found:
        time.sleep(0.1)
output = pathlib.Path(os.environ['FOVEA_OUTPUT_DIR'])
metrics = {'starts': len(starts), 'last_start': first, 'steps': steps}
(output / 'evaluation.json').write_text(json.dumps({'metrics': metrics}))
(output / '_SUCCESS').touch()
"""
"""Counts `steps` with a `pause` between them, a checkpoint each; its metrics say how often and where it started.

With a third number it stays at that step until it is ended: only what starts from a checkpoint goes on to the end."""

FAIL_ONCE = """
import os, pathlib, sys
folder = pathlib.Path(os.environ['FOVEA_CHECKPOINT_DIR'])
if not (folder / '1').exists():
    (folder / '.unfinished').mkdir()
    (folder / '.unfinished').joinpath('state').write_text('1')
    (folder / '.unfinished').rename(folder / '1')
    sys.exit(int(sys.argv[1]))
print('second attempt')
"""
"""Ends with a code as long as there is no checkpoint, and leaves one."""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(300)
"""
"""Does not end when it is asked to, but later."""


def machine_type(name: str, **spec: Any) -> dict[str, Any]:
    """A MachineType that is small where `spec` says nothing else."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MachineType",
        "metadata": {"name": name},
        "spec": {"cpu": "10m", "memory": "256Mi", **spec},
    }


def program_job(
    name: str, image: str, machine: str, program: str, *arguments: str, namespace: str = "vision", **spec: Any
) -> dict[str, Any]:
    """A TrainingJob that runs `python -c program arguments…`; keywords are fields of the spec (camelCase)."""
    container = {"image": image, "command": ["python", "-c", program], "args": list(arguments)}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "trainer": {"container": container},
            "scaleTier": "CUSTOM",
            "roles": {names.ROLE_CHIEF: {"machineType": machine}},
            **spec,
        },
    }
