"""The ceiling: the same model in one process, called by no more callers at once than the server has."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

MOST_THREADS = 2
LARGEST_BATCH = 32


@dataclass(frozen=True)
class Limit:
    """What the model does in one process: pictures per second, and processor milliseconds for each."""

    rate: float
    cpu_ms: float


def shapes(clients: int) -> list[tuple[int, int]]:
    """Threads and batch sizes that `clients` callers can fill: at no moment are more pictures under way than callers."""
    found = []
    for threads in range(1, min(MOST_THREADS, clients) + 1):
        most = min(clients // threads, LARGEST_BATCH)
        found += [(threads, size) for size in {most, max(1, most // 2)}]
    return sorted(found)


def best(run: Any, image: Any, clients: int, seconds: float) -> Limit:
    """The highest rate of these shapes; `run` takes an array of pictures: encoded ones, or arrays like `image`."""
    possible = shapes(clients)
    found = [_ceiling(run, image, size, threads, seconds / len(possible)) for threads, size in possible]
    return max(found, key=lambda limit: limit.rate)


def _ceiling(run: Any, image: Any, batch: int, threads: int, seconds: float) -> Limit:
    import numpy as np

    feed = np.array([image] * batch, dtype=object) if isinstance(image, bytes) else np.stack([image] * batch)
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
