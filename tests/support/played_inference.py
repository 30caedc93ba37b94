"""The ports of the model server with no models behind them, on the event loop that serves in production, and a raw client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvloop
from fovea_dev.ports import free_ports
from fovea_serving.server.conversion import Converters
from fovea_serving.server.grpc_services import GrpcServer
from fovea_serving.server.memory import RequestMemory
from fovea_serving.server.metrics import Metrics
from fovea_serving.server.rest import RestServer, RestSettings
from support.polling import until
from tensorflow_serving.apis import classification_pb2, get_model_status_pb2, predict_pb2

SECONDS = 20.0


class Inference:
    """Stands for the models.

    Every model has a status of no versions. A classification has `classes`, once `gate` is open. A Predict is answered by the
    model's name and the size of the request, or `error` is raised; of the model "slow" it never is.
    """

    as_content = False

    def __init__(self, most_bytes: int = 2**29) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.never = asyncio.Event()
        self.asked = self.classes = 0
        self.text = ""
        self.error: Exception | None = None
        self.metrics = Metrics(known=lambda _: True)
        self.memory, self.converters = RequestMemory(most_bytes), Converters()

    def status(self, request: Any) -> Any:
        response = get_model_status_pb2.GetModelStatusResponse()
        if self.text:
            response.model_version_status.add().status.error_message = self.text
        return response

    async def classify(self, request: Any, deadline: Any, entrypoint: str, share: Any = None) -> Any:
        self.asked += 1
        with self.memory.hold(request.ByteSize(), share):
            await self.gate.wait()
            response = classification_pb2.ClassificationResponse()
            entry = response.result.classifications.add()
            entry.classes.extend([classification_pb2.Class(label="a", score=1.0)] * self.classes)
            return response

    async def predict(self, spec: Any, form: Any, deadline: float | None, entrypoint: str, share: Any = None) -> bytes:
        with self.metrics.request(spec.name, "Predict", entrypoint, deadline), self.memory.hold(form.size, share):
            if self.error is not None:
                raise self.error
            if spec.name == "slow":
                await self.never.wait()
            response = predict_pb2.PredictResponse()
            response.model_spec.name = spec.name
            response.model_spec.version.value = form.size
            return bytes(response.SerializeToString())


Port = Callable[..., contextlib.AbstractAsyncContextManager[int]]


@contextlib.asynccontextmanager
async def rest_port(inference: Any, **settings: Any) -> AsyncIterator[int]:
    (port,) = free_ports(1)
    server = RestServer(inference, Metrics(known=lambda _: True), RestSettings(**settings))
    await server.start(port)
    try:
        yield port
    finally:
        while opened:
            opened.pop().close()
        await server.stop(0)


@contextlib.asynccontextmanager
async def grpc_port(inference: Any, **options: Any) -> AsyncIterator[int]:
    (port,) = free_ports(1)
    server = GrpcServer(inference, None, arguments=[*options.items()], with_health=True, may_reload=False)  # type: ignore[arg-type]
    await server.start(port=port, socket_path="", tls=None)
    try:
        yield port
    finally:
        await server.stop(0)


def run(
    served: Port, test: Callable[[int, Inference], Awaitable[None]], *, most_bytes: int = 2**29, **settings: Any
) -> None:
    """A test of one port; `settings` are those of RestSettings, or arguments of the gRPC channel."""

    async def go() -> None:
        inference = Inference(most_bytes)
        async with asyncio.timeout(3 * SECONDS), served(inference, **settings) as port:
            await test(port, inference)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go())


async def seen(probe: Callable[[], Any]) -> None:
    """Wait until the probe is true, beside the event loop."""
    await asyncio.to_thread(until, probe, seconds=SECONDS, every=0.02, what="what the server should do")


opened: list[asyncio.StreamWriter] = []


class Client:
    """One connection to the REST port; what is sent is the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""
        self.body = b""
        opened.append(writer)

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", sent: bytes = b"") -> Client:
        client = cls(*await asyncio.open_connection(host, port, limit=2**24))
        client.writer.write(sent)
        return client

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Of the next answer; its head and body are kept."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SECONDS)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.head, self.body = head.lower(), await self.reader.readexactly(length)
        return int(head.split()[1])

    async def closed(self) -> bool:
        """Whether the server ends the connection without a word."""
        try:
            return await asyncio.wait_for(self.reader.read(1), SECONDS) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False
