"""The model server with a clock around the runtime: `python clocks.py TALLY <flags of the server>`.

A runner's thread does both: it runs the model, and it joins the inputs and cuts up the outputs around the run. The clock
is the thread's own processor time; its total lies in the file TALLY, where another process reads it while this one runs.
Threads of Python get their numbers as names in the kernel: those of the runtime bear the name of whatever made them.
"""

import ctypes
import mmap
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

TOTAL = struct.Struct("<d")
PR_SET_NAME = 15


def runtime_seconds(tally: Path) -> float:
    """Processor time which threads that run models have spent in the runtime so far."""
    found: float = TOTAL.unpack(tally.read_bytes())[0]
    return found


def _measured(tally: Path) -> None:
    import tensorflow as tf

    tally.write_bytes(TOTAL.pack(0.0))
    with tally.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), TOTAL.size)
    lock, run, total = threading.Lock(), tf.compat.v1.Session.run, 0.0

    def clocked(*args: Any, **kwargs: Any) -> Any:
        nonlocal total
        begun = time.thread_time()
        try:
            return run(*args, **kwargs)
        finally:
            spent = time.thread_time() - begun
            with lock:
                total += spent
                TOTAL.pack_into(shared, 0, total)

    tf.compat.v1.Session.run = clocked


def _named() -> None:
    set_name, run = ctypes.CDLL(None).prctl, threading.Thread.run

    def named(thread: threading.Thread) -> None:
        set_name(PR_SET_NAME, str(threading.get_native_id()).encode(), 0, 0, 0)
        run(thread)

    threading.Thread.run = named  # type: ignore[method-assign]


if __name__ == "__main__":
    from fovea_serving.server import main

    _named()
    _measured(Path(sys.argv.pop(1)))
    sys.exit(main.main())
