"""Draining gRPC: what was accepted is answered, also when its message is still on its way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fovea_dev.ports import free_ports
from fovea_serving.server import grpc_services
from fovea_serving.server.grpc_services import GrpcServer
from support.played_inference import Inference
from support.polling import until
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

MESSAGE_BYTES = 2**20
GRACE = 20.0


class Relay:
    """Passes bytes to the server, from the client only the first ones until `go_on` is set."""

    def __init__(self, port: int, most: int) -> None:
        self.go_on, self._port, self._most = asyncio.Event(), port, most
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield "{}:{}".format(*server.sockets[0].getsockname())
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
        for pump in self._pumps:
            pump.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, to_server]
        loop = asyncio.get_running_loop()
        self._pumps += [
            loop.create_task(self._pump(reader, to_server, self._most)),
            loop.create_task(self._pump(upstream, writer, None)),
        ]

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, most: int | None) -> None:
        passed = 0
        while data := await source.read(4096):
            if most is not None and passed + len(data) > most:
                await self.go_on.wait()
            passed += len(data)
            target.write(data)
            await target.drain()
        target.close()


@contextlib.asynccontextmanager
async def half_sent() -> AsyncIterator[tuple[GrpcServer, Relay, Any]]:
    """A server that has accepted a call of which half of the message has come."""
    (port,) = free_ports(1)
    server = GrpcServer(Inference(), None, arguments=[], with_health=False, may_reload=False)  # type: ignore[arg-type]
    await server.start(port=port, socket_path="", tls=None)
    relay = Relay(port, MESSAGE_BYTES // 32)
    async with relay.listening() as address, grpc.aio.insecure_channel(address) as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].tensor_content = bytes(MESSAGE_BYTES)
        call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=GRACE)
        await asyncio.to_thread(until, lambda: server.under_way.count, seconds=GRACE, what="accepted call")
        try:
            yield server, relay, call
        finally:
            await server.stop(0)


def test_an_accepted_call_whose_message_is_still_on_its_way_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_services, "LAST_BYTES_SECONDS", 0.01)

    async def go() -> str:
        async with half_sent() as (server, relay, call):
            stopping = asyncio.create_task(server.stop(GRACE))
            # A server that does not count the call cuts it now; one that does has nothing to do until it is sent.
            await asyncio.wait({stopping}, timeout=0.5)
            assert not stopping.done()
            relay.go_on.set()
            answer = await call
            await stopping
            return str(answer.model_spec.name)

    assert asyncio.run(go()) == "m"


def test_a_call_whose_caller_left_before_its_message_came_does_not_count_any_more() -> None:
    async def go() -> None:
        async with half_sent() as (server, relay, call):
            relay.cut()
            with pytest.raises(grpc.RpcError):
                await call
            async with asyncio.timeout(GRACE):
                await server.stop(10 * GRACE)
            assert server.under_way.count == 0

    asyncio.run(go())
