"""Takes mirrored requests, asks two versions the same, and counts how far their answers are apart.

Nobody waits for it: a request is answered at once, and dropped where too many wait. The gateway throws the answers of a
mirror away, and a client never notices one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc
from fovea_wire import methods, predict_pb2
from fovea_wire.tensors import TensorError
from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry, Counter

from .drift import drift

log = logging.getLogger(__name__)

WAITING = 64
"""Requests that may wait."""
WAITING_BYTES = 64 << 20
"""And their size: the pod has 512 MiB."""
AT_ONCE = 4
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
Ask = Callable[[bytes], Awaitable[bytes]]
"""Sends a PredictRequest; raises grpc.RpcError."""


class Counts:
    """What was compared, for the operator to read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.compared = self._counter("fovea_comparator_compared", "Requests that both versions were asked.")
        self.drift = self._counter("fovea_comparator_drift", "Sum of how far the answers were apart, from 0 to 1 each.")
        self.failed = self._counter(
            "fovea_comparator_candidate_failed", "Of these, those that the new version failed alone."
        )
        self.dropped = self._counter(
            "fovea_comparator_dropped", "Requests that nobody was asked, since too many waited."
        )
        self.left_out = self._counter("fovea_comparator_left_out", "Requests that the stable version failed, too.")

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, registry=self.registry)


class Comparing:
    """The queue of mirrored requests and those who work on it."""

    def __init__(self, stable: Ask, candidate: Ask, counts: Counts) -> None:
        self._stable, self._candidate = stable, candidate
        self._counts = counts
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._bytes = 0

    def take(self, request: bytes) -> None:
        """A mirrored request."""
        if self._queue.full() or self._bytes + len(request) > WAITING_BYTES:
            self._counts.dropped.inc()
            return
        self._bytes += len(request)
        self._queue.put_nowait(request)

    async def run(self) -> None:
        """Compare, a few at a time, until it is cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            request = await self._queue.get()
            self._bytes -= len(request)
            try:
                await self.compare(request)
            except (DecodeError, TensorError) as error:
                self._counts.left_out.inc()
                log.warning("a request or an answer cannot be read: %s", error)
            except Exception:
                # Whatever is in it: the counts of all others must not be lost.
                self._counts.left_out.inc()
                log.exception("a request could not be compared: a defect of Fovea")

    async def compare(self, request: bytes) -> None:
        """Ask both versions, and count."""
        asked = _for_any_version(request)
        before, after = await asyncio.gather(self._stable(asked), self._candidate(asked), return_exceptions=True)
        for answer in (before, after):
            if isinstance(answer, BaseException) and not isinstance(answer, grpc.RpcError):
                raise answer
        if not isinstance(before, bytes):
            # What clients do wrong says nothing about the new version.
            self._counts.left_out.inc()
            return
        if not isinstance(after, bytes):
            self._counts.failed.inc()
            apart = 1.0
        else:
            apart = drift(predict_pb2.PredictResponse.FromString(before), predict_pb2.PredictResponse.FromString(after))
        self._counts.compared.inc()
        self._counts.drift.inc(apart)


def _for_any_version(request: bytes) -> bytes:
    """The request without the number or the label of a version: each version's server has its own."""
    read = predict_pb2.PredictRequest.FromString(request)
    read.model_spec.ClearField("version")
    read.model_spec.ClearField("version_label")
    return read.SerializeToString()


class Mirror(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """What the gateway sends copies of requests to."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Predictions are compared; all else is answered with nothing."""
        is_prediction = handler_call_details.method == methods.PREDICT

        async def answer(request: bytes, _context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            if is_prediction:
                self._take(request)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


def asker(address: str, seconds: float) -> Ask:
    """Asks the servers at host:port, each request for so many seconds."""
    channel = grpc.aio.insecure_channel(address, options=_UNLIMITED)
    call = channel.unary_unary(methods.PREDICT, request_serializer=None, response_deserializer=None)

    async def ask(request: bytes) -> bytes:
        answer: bytes = await call(request, timeout=seconds)
        return answer

    return ask


async def serve(
    port: int, comparing: Comparing, stop: asyncio.Event, bound: Callable[[int], None] = lambda _: None
) -> None:
    """Take requests until `stop` is set. `bound` gets the port, once it takes them (0: any port)."""
    server = grpc.aio.server(options=_UNLIMITED)
    server.add_generic_rpc_handlers((Mirror(comparing.take),))
    taken = server.add_insecure_port(f"[::]:{port}")
    await server.start()
    bound(taken)
    working = asyncio.create_task(comparing.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    await server.stop(grace=1)
    working.cancel()
    stopping.cancel()
    if working.done() and not working.cancelled():
        working.result()
