"""The processes of a job find each other, before TensorFlow connects them.

TensorFlow waits for all of them as well, without a word, without an end, and deaf: it holds Python's interpreter meanwhile,
so that no signal is heard and no thread runs (ADR 218).
"""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

from fovea_api.contract.cluster_spec import ClusterSpec

from fovea_trainers.runtime.lifeline import Sign, look
from fovea_trainers.runtime.progress import say

T = TypeVar("T")

_MISSING_SECONDS = 30.0
_PAUSE = 0.2
_GREETED_SECONDS = 1.0
_LATER_SECONDS = 60.0
"""The watchdog's limit, and so much more: TensorFlow's own ways to give up, which name nobody, come after it."""
_WAITING = frozenset({signal.SIGTERM, signal.SIGINT})


def others(spec: ClusterSpec) -> dict[str, str]:
    """Addresses of all other processes, by names such as `worker 1`."""
    return {
        role if role == "chief" and len(addresses) == 1 else f"{role} {index}": address
        for role, addresses in spec.cluster.items()
        for index, address in enumerate(addresses)
        if (role, index) != (spec.role, spec.index)
    }


def wait_for(addresses: Mapping[str, str]) -> None:
    """Until each of them has answered once; says for whom it waits."""
    waiting = dict(addresses)
    due = time.monotonic() + _MISSING_SECONDS
    while waiting := {name: address for name, address in waiting.items() if look(address) is not Sign.ANSWERS}:
        if time.monotonic() > due:
            say("waiting for " + ", ".join(f"{name} ({address})" for name, address in waiting.items()))
            due += _MISSING_SECONDS
        time.sleep(_PAUSE)


@contextmanager
def listening(address: str) -> Iterator[None]:
    """Answer whoever looks at the port of this address (host:port), before TensorFlow listens there itself."""
    port = int(address.rpartition(":")[2])
    with ExitStack() as stack:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        listener = stack.enter_context(
            socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=128)
        )
        thread = threading.Thread(target=_greet, args=(listener,), daemon=True, name="greet")
        thread.start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def meet(spec: ClusterSpec) -> None:
    """Wait until all other processes have answered, each of which does the same.

    One that has met all others goes on to TensorFlow's server, which answers as well: nobody misses it.
    """
    with listening(spec.cluster[spec.role][spec.index]):
        wait_for(others(spec))


def connected(make: Callable[[], T], peer_seconds: float) -> T:
    """What `make` gives, which lets TensorFlow connect the processes of a job that have met.

    A request to stop is heard when it is done: TensorFlow would put a handler of its own, which saves nothing, in the place of
    Python's. It is done within seconds, unless one of the others dies just then: SIGALRM ends this process, which is tried again.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITING)
    handlers: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in _WAITING}
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, peer_seconds + _LATER_SECONDS)
    try:
        return make()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _greet(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it is closed
        with connection, suppress(OSError):
            connection.settimeout(_GREETED_SECONDS)
            connection.recv(4096)  # else the kernel takes the answer back with what is unread
            connection.sendall(b"\0")
