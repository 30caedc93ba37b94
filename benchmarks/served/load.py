"""The load: callers in a closed loop, made by h2load, a compiled client that leaves the cores to the server.

h2load knows HTTP/2 and not gRPC: it sends the same frame again and again and believes any answer with status 200, as an
error of gRPC has too. So one answer is asked for by a client of gRPC first, and all must have as many bytes as that one.
Over HTTP/1.1 the status says whether an answer is right, and its length may differ: numbers are text there.
"""

import math
import re
import resource
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    own_ms: float = 0.0
    """Processor milliseconds of h2load itself for each request."""


@dataclass(frozen=True)
class Call:
    """A request as it stands on the wire, and the bytes of its answer where all have to have as many (gRPC)."""

    url: str
    body: bytes
    headers: tuple[str, ...]
    answer: int | None = None


class LoadFailed(SystemExit):
    """Not every request got a right answer: the end of the program, where nothing else can be measured."""


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


def grpc_call(address: str, payload: bytes, answer: int, *, method: str = METHOD, host: str = "") -> Call:
    """A call of gRPC; `host` is the name that a gateway goes by."""
    headers = ("content-type: application/grpc", "te: trailers", *((f":authority: {host}",) if host else ()))
    return Call(f"http://{address}{method}", struct.pack(">BI", 0, len(payload)) + payload, headers, answer)


def load(address: str, payload: bytes, clients: int, seconds: float) -> Load:
    """`clients` callers for `seconds`; each sends its next request when it has its answer."""
    return send(grpc_call(address, payload, answer_bytes(address, payload)), clients, seconds)


def send(call: Call, clients: int, seconds: float) -> Load:
    """The same for any request: over HTTP/2 where it is one of gRPC, else over HTTP/1.1 with a connection for each caller."""
    said, rows, used = _h2load(call, clients, f"--duration={max(1, round(seconds))}", seconds + 120)
    return _read(said, [spent / 1e3 for _, spent in rows], call.answer, used)


def send_number(call: Call, clients: int, number: int) -> Load:
    """A load of so many requests, all of which are answered: some servers don't bear callers that leave.

    The rate is that of the time in which all callers had a request to send.
    """
    said, rows, used = _h2load(call, clients, f"--requests={number}", 600)
    ends = sorted(start + spent for start, spent in rows)
    full = max(1, len(ends) - clients)
    found = _read(said, [spent / 1e3 for _, spent in rows], call.answer, used)
    return replace(found, rate=full / (ends[full - 1] - min(start for start, _ in rows)) * 1e6)


def _h2load(call: Call, clients: int, length: str, timeout: float) -> tuple[str, list[tuple[int, int]], float]:
    """What it said, start and duration of each request in microseconds, by duration, and its processor seconds."""
    connections = clients if call.answer is None else math.ceil(clients / STREAMS)
    with tempfile.TemporaryDirectory() as name:
        body, log = Path(name) / "body", Path(name) / "log"
        body.write_bytes(call.body)
        command = [required(), "--threads=1", f"--clients={connections}", length]
        command += [f"--max-concurrent-streams={clients // connections}", f"--data={body}", f"--log-file={log}"]
        command += [f"--header={header}" for header in call.headers]
        before = _used_by_children()
        words = [*command, *(("--h1",) if call.answer is None else ()), call.url]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=timeout)
        used = _used_by_children() - before
        rows = [(int(start), int(spent)) for start, _, spent in (line.split("\t")[:3] for line in log.open())]
    return done.stdout, sorted(rows, key=lambda row: row[1]), used


def _used_by_children() -> float:
    """Processor seconds of programs that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read(said: str, times: Sequence[float], expected: int | None, used: float = 0.0) -> Load:
    counts = re.search(r"requests: \d+ total, (\d+) started, \d+ done, (\d+) succeeded, (\d+) failed", said)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    data = re.search(r"\((\d+)\) data", said)
    rate = re.search(r"finished in [\d.]+[mu]?s, ([\d.]+) req/s", said)
    if counts is None or codes is None or data is None or rate is None:
        raise SystemExit(f"{PROGRAM} said something unknown:\n{said}")
    started, succeeded, failed = map(int, counts.groups())
    if not succeeded and not failed:
        raise LoadFailed(f"no request was answered in time ({started} were sent):\n{said}")
    if failed or not times or any(map(int, codes.groups()[1:])):
        raise LoadFailed(f"not every answer was the right one ({counts[0]}; {codes[0]}):\n{said}")
    # Answers that were on their way when the time was up are counted in bytes and not as requests.
    if expected is not None and not succeeded * expected <= int(data.group(1)) <= started * expected:
        raise LoadFailed(f"not every answer was the right one ({expected} bytes each):\n{said}")
    return Load(
        rate=float(rate.group(1)),
        p50=times[len(times) // 2],
        p99=times[min(len(times) - 1, int(len(times) * 0.99))],
        requests=started,
        own_ms=used / started * 1e3,
    )
