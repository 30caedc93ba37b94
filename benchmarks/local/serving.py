"""A model behind its NodePort: requests per second and latency."""

import statistics
import tempfile
from pathlib import Path

from served import model
from served.load import load, required
from support import local_models
from support.local_jobs import machine_type

from local.cluster import NAMESPACE, Local


def serving(local: Local, *, quick: bool) -> None:
    """The model of benchmarks/model_server.py, served as users' models are, asked through the NodePort."""
    required()
    seconds, rounds = (2.0, 1) if quick else (5.0, 3)
    name, machine = f"{local.word}-serving", machine_type(f"{local.word}-serving", cpu="500m", memory="2Gi")
    deployment = local_models.model_deployment(name, name, name)
    with tempfile.TemporaryDirectory() as folder:
        model.save_cnn3(Path(folder) / "model")
        version = local_models.register(local, name, Path(folder) / "model")
        image = model.picture()
        payload = model.request(name, image)
        with local.made(machine, deployment):
            local_models.serves(local, name, 1)
            where = local_models.address(local, name)
            load(where, payload, 32, 1.0)
            found = {count: [load(where, payload, count, seconds) for _ in range(rounds)] for count in (1, 8, 32)}
        local.kubectl("delete", "modelversion", version, "-n", NAMESPACE)
    print(f"\n### Model server through its NodePort (cnn3, one JPEG of {len(image) / 1000:.0f} KB in each request)\n")
    print("| clients | req/s | p50 ms | p99 ms |\n|---|---|---|---|")
    for count, measured in found.items():
        rate, p50, p99 = (statistics.median(getattr(one, key) for one in measured) for key in ("rate", "p50", "p99"))
        print(f"| {count} | {rate:.0f} | {p50:.1f} | {p99:.1f} |")
