"""The load: callers in a closed loop, made by h2load, a compiled client that leaves the cores to the server.

h2load knows HTTP/2 and not gRPC: it sends the same frame again and again and believes any answer with status 200, as an
error of gRPC has too. So one answer is asked for by a client of gRPC first, and all must have as many bytes as that one.
"""

import math
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from served.model import METHOD

PROGRAM = "h2load"
STREAMS = 8
"""Calls at once on one connection, as programs make them that share a channel."""
FRAME_HEAD = 5
"""Bytes before a message of gRPC: whether it is compressed, and its length."""


@dataclass(frozen=True)
class Load:
    """What the callers measured: requests per second, milliseconds, and how many requests were sent."""

    rate: float
    p50: float
    p99: float
    requests: int


def required() -> str:
    """Where h2load is; ends with its remedy where it is not."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise SystemExit(f"{PROGRAM} is not installed: `apt install nghttp2-client`, or `brew install nghttp2`")
    return found


def answer_bytes(address: str, payload: bytes) -> int:
    """Bytes of one right answer on the wire."""
    import grpc

    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        return FRAME_HEAD + len(call(payload, timeout=60, wait_for_ready=True))


def load(address: str, payload: bytes, clients: int, seconds: float) -> Load:
    """`clients` callers for `seconds`; each sends its next request when it has its answer."""
    expected = answer_bytes(address, payload)
    connections = math.ceil(clients / STREAMS)
    with tempfile.TemporaryDirectory() as name:
        frame, log = Path(name) / "frame", Path(name) / "log"
        frame.write_bytes(struct.pack(">BI", 0, len(payload)) + payload)
        command = [required(), "--threads=1", f"--clients={connections}", f"--duration={max(1, round(seconds))}"]
        command += [f"--max-concurrent-streams={clients // connections}", f"--data={frame}", f"--log-file={log}"]
        command += ["--header=content-type: application/grpc", "--header=te: trailers", f"http://{address}{METHOD}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120)
        times = sorted(int(line.split("\t")[2]) / 1e3 for line in log.read_text().splitlines())
    return _read(done.stdout, times, expected)


def _read(said: str, times: Sequence[float], expected: int) -> Load:
    counts = re.search(r"requests: \d+ total, (\d+) started, \d+ done, (\d+) succeeded, (\d+) failed", said)
    data = re.search(r"\((\d+)\) data", said)
    rate = re.search(r"finished in [\d.]+s, ([\d.]+) req/s", said)
    if counts is None or data is None or rate is None:
        raise SystemExit(f"{PROGRAM} said something unknown:\n{said}")
    started, succeeded, failed = map(int, counts.groups())
    # Answers that were on their way when the time was up are counted in bytes and not as requests.
    if failed or not succeeded or not succeeded * expected <= int(data.group(1)) <= started * expected:
        raise SystemExit(f"not every answer was the right one ({expected} bytes each):\n{said}")
    return Load(
        rate=float(rate.group(1)),
        p50=times[len(times) // 2],
        p99=times[min(len(times) - 1, int(len(times) * 0.99))],
        requests=started,
    )
