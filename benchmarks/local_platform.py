"""The whole platform on the local cluster: a job's way to RUNNING, what a checkpoint costs, a model server behind its NodePort,
a rollout under load, the way back of a worker that dies, and the first request to a model without a pod.

    python benchmarks/local_platform.py [--only start,checkpoint,serving,rollout,restart,wake] [--quick]

(Not called platform.py: a script's own folder comes first on the import path, and that name is the standard library's.)
Everything it makes has a name of its own and is deleted at the end; what is measured runs in the team namespace `vision`.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("tests", "dev", "benchmarks")]
# ruff: noqa: E402 - what stands in tests/, dev/ and benchmarks/ is no distribution

from local.checkpoint import checkpoint
from local.cluster import Local
from local.restart import restart
from local.rollout import rollout
from local.serving import serving
from local.start import start
from local.wake import wake

PARTS = {
    "start": start,
    "checkpoint": checkpoint,
    "serving": serving,
    "rollout": rollout,
    "restart": restart,
    "wake": wake,
}

UNASKED = [part for part in PARTS if part != "wake"]
"""The other one needs Envoy Gateway, which takes minutes to build."""


def main() -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(UNASKED), help=f"parts, comma-separated: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: does it work, not how fast is it")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    local = Local()
    for part in options.only.split(","):
        PARTS[part](local, quick=options.quick)
        print(f"<!-- load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores -->", flush=True)


if __name__ == "__main__":
    main()
