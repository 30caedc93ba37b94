"""Model server: requests per second and latency against what the same machine does in one process, side by side.

    python benchmarks/model_server.py [--seconds 5] [--rounds 3] [--clients 1,8,32] [--minimum 0.85]

The model has three convolutions and takes encoded pictures (one JPEG of 320x240 in every request). Rounds of the server
and rounds of the ceiling alternate, because the machine may be busy with other things; the table shows medians.
Everything stays on the loopback interface; the load comes from a process of its own that sends bytes made once.
The processor time for each picture hardly depends on what else the machine does: where the rates are noisy, read that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import io
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "dev"))
from fovea_dev.ports import free_ports

METHOD = "/tensorflow.serving.PredictionService/Predict"
MODEL = "cnn3"
START_SECONDS = 120
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Round:
    """One measurement of a number of clients."""

    rate: float
    p50: float
    p99: float
    requests: float = 0.0
    cpu_ms: float = 0.0


@dataclass(frozen=True)
class Limit:
    """What the model does in one process: pictures per second, and processor milliseconds for each."""

    rate: float
    cpu_ms: float


@dataclass(frozen=True)
class Server:
    """A running server process."""

    address: str
    pid: int


def picture() -> bytes:
    """A JPEG of 320x240, about 15 KB."""
    import numpy as np
    from PIL import Image

    blocks = np.random.default_rng(0).integers(0, 255, (12, 16, 3))
    pixels = np.kron(blocks, np.ones((20, 20, 1))).astype("uint8")
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=85)
    return target.getvalue()


def save_cnn3(folder: Path) -> None:
    """The model of the image-classifier recipe at 150x150, untrained: three convolutions, two dense layers."""
    import keras
    import tensorflow as tf

    layers = keras.layers
    model = keras.Sequential([keras.Input((150, 150, 3)), layers.Rescaling(1 / 255)])
    for filters in (32, 32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPool2D())
    for layer in (layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(2, activation="softmax")):
        model.add(layer)

    class Classifier(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in model.variables]
            names = tf.constant(["cat", "dog"])

            def decoded(data: Any) -> Any:
                image = tf.io.decode_image(data, channels=3, expand_animations=False)
                return tf.ensure_shape(tf.image.resize(image, (150, 150)), (150, 150, 3))

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])  # type: ignore[untyped-decorator]
            def classify(image: Any) -> Any:
                scores = model(tf.map_fn(decoded, image, fn_output_signature=tf.float32), training=False)
                return {"scores": scores, "label": tf.gather(names, tf.argmax(scores, -1))}

            self.classify = classify

    module = Classifier()
    tf.saved_model.save(module, str(folder), signatures=module.classify)


def request_bytes(image: bytes) -> bytes:
    """A PredictRequest of one picture."""
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    tensor = request.inputs["image"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add().size = 1
    tensor.string_val.append(image)
    return bytes(request.SerializeToString())


async def load(address: str, payload: bytes, clients: int, seconds: float) -> dict[str, float]:
    """So many callers in a closed loop; each sends its next request when it has its answer."""
    from grpc import aio

    latencies: list[float] = []
    sent = 0
    async with contextlib.AsyncExitStack() as stack:
        count = max(1, clients // 8)
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [await stack.enter_async_context(aio.insecure_channel(address, options)) for _ in range(count)]
        calls: list[Any] = [channel.unary_unary(METHOD) for channel in channels]  # type: ignore[call-arg]
        start = time.perf_counter() + WARM_UP_SECONDS
        end = start + seconds

        async def caller(number: int) -> None:
            nonlocal sent
            call = calls[number % count]
            while (begun := time.perf_counter()) < end:
                await call(payload, timeout=60)
                sent += 1
                if begun >= start:
                    latencies.append(time.perf_counter() - begun)

        await asyncio.gather(*(caller(number) for number in range(clients)))
        elapsed = time.perf_counter() - start
    latencies.sort()
    return {
        "rate": len(latencies) / elapsed,
        "requests": sent,
        "p50": latencies[len(latencies) // 2] * 1e3,
        "p99": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] * 1e3,
    }


def processor_seconds(pid: int) -> float:
    """Processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server_round(server: Server, payload: Path, clients: int, seconds: float) -> Round:
    """One measurement, with the load made by another process."""
    command = [sys.executable, __file__, "--load", server.address, "--payload", str(payload)]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    before = processor_seconds(server.pid)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120)
    measured = Round(**json.loads(done.stdout))
    used = processor_seconds(server.pid) - before
    return dataclasses.replace(measured, cpu_ms=used / measured.requests * 1e3)


def ceiling(run: Any, image: bytes, batch: int, threads: int, seconds: float) -> Limit:
    """The model by itself: so many threads, each with batches of this size."""
    import numpy as np

    feed = np.array([image] * batch, dtype=object)
    run(feed)
    end = time.perf_counter() + seconds

    def worker(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            run(feed)
            done += batch
        return done

    started, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(worker, range(threads)))
    used = time.process_time() - used
    return Limit(total / (time.perf_counter() - started), used / total * 1e3)


def best_ceiling(run: Any, image: bytes, clients: int, seconds: float) -> Limit:
    """The highest rate among the batch sizes that so many clients could fill (two threads, one for a lone client)."""
    sizes = [size for size in (1, 8, 32) if size <= clients]
    threads = 1 if clients == 1 else 2
    found = [ceiling(run, image, size, threads, seconds / len(sizes)) for size in sizes]
    return max(found, key=lambda limit: limit.rate)


@contextlib.contextmanager
def running_server(base: Path, log: Path) -> Iterator[Server]:
    """A server of the model."""
    (port,) = free_ports(1)
    flags = [f"--port={port}", f"--model_name={MODEL}", f"--model_base_path={base}"]
    with log.open("wb") as target:
        process = subprocess.Popen(
            [sys.executable, "-m", "fovea_serving.server.main", *flags], stdout=target, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Running ModelServer" not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.2)
        yield Server(f"127.0.0.1:{port}", process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def measure(arguments: argparse.Namespace) -> bool:
    """Print the table; whether the aim was met at the highest number of clients."""
    clients = [int(number) for number in arguments.clients.split(",")]
    found: dict[int, list[Round]] = {number: [] for number in clients}
    limits: dict[int, list[Limit]] = {number: [] for number in clients}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_cnn3(folder / MODEL / "1")
        image = picture()
        payload = folder / "request.bin"
        payload.write_bytes(request_bytes(image))
        from fovea_serving.server.servable import SessionSettings
        from fovea_serving.server.servable import load as load_servable

        model = load_servable(folder / MODEL / "1", SessionSettings())
        signature = model.signatures["serving_default"]
        outputs = tuple(signature.outputs)

        def run(feed: Any) -> Any:
            return model.run(signature, [feed], outputs)

        with running_server(folder / MODEL, folder / "server.log") as server:
            server_round(server, payload, max(clients), 1.0)
            for number in range(arguments.rounds):
                for count in clients:
                    limits[count].append(best_ceiling(run, image, count, arguments.seconds))
                    found[count].append(server_round(server, payload, count, arguments.seconds))
                print(f"round {number + 1} of {arguments.rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return report(found, limits, len(image), arguments.minimum)


def report(found: dict[int, list[Round]], limits: dict[int, list[Limit]], size: int, minimum: float) -> bool:
    """The table as markdown, and whether the share at the highest number of clients reaches the minimum."""
    cores, busy = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cores} cores, load average {busy:.1f}, one JPEG of {size / 1000:.0f} KB in each request\n")
    print("| clients | req/s | p50 ms | p99 ms | in-process ceiling/s | share | CPU ms/picture, server | ceiling |")
    print("|---|---|---|---|---|---|---|---|")
    share = 0.0
    for count, rounds in sorted(found.items()):
        own = {key: statistics.median(getattr(one, key) for one in rounds) for key in ("rate", "p50", "p99", "cpu_ms")}
        limit = statistics.median(one.rate for one in limits[count])
        limit_cpu = statistics.median(one.cpu_ms for one in limits[count])
        share = statistics.median(one.rate / each.rate for one, each in zip(rounds, limits[count], strict=True))
        print(
            f"| {count} | {own['rate']:.0f} | {own['p50']:.1f} | {own['p99']:.1f} | {limit:.0f} "
            f"| {share:.0%} | {own['cpu_ms']:.2f} | {limit_cpu:.2f} |"
        )
    return share >= minimum


def main() -> int:
    """Measure, or make the load when called by the measuring process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of clients")
    parser.add_argument("--clients", default="1,8,32", help="numbers of concurrent callers")
    parser.add_argument("--minimum", type=float, default=0.0, help="exit 1 below this share at the most clients")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--payload", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        payload = Path(arguments.payload).read_bytes()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(load(arguments.load, payload, int(arguments.clients), arguments.seconds))))
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return 0 if measure(arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
