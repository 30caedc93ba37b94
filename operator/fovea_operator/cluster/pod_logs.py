"""The log of a pod's program, for the sidecar of that pod, which publishes it.

The pod is the one that the token is bound to, never one that a request names. The log goes through in pieces: none is held.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web
from fovea_api.contract import names

from fovea_operator.errors import ApiError, Gone, Refused

from .progress import Doorkeeper, Sender, refused

log = logging.getLogger(__name__)

Read = Callable[[str, str, str, int], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""`ApiClient.log`."""

LINES = 50_000
"""The newest lines of a log; a kubelet keeps 10 MiB by default."""
AT_ONCE = 4
"""Logs that go through at the same time: reconciles come first."""


class LogDesk:
    """The HTTP endpoint that sidecars read the log of their own pod from."""

    def __init__(self, doorkeeper: Doorkeeper, is_known: Callable[[Sender], bool], read: Read) -> None:
        """`is_known`: whether the sender is a training pod that is there."""
        self._doorkeeper = doorkeeper
        self._is_known = is_known
        self._read = read
        self._reading = 0

    async def get(self, request: web.Request) -> web.StreamResponse:
        """200 with the log; 401, 403 and 503 as for reports, 404 when there is no log, 429 when others are read."""
        sender = await self._doorkeeper.sender_of(request, asyncio.get_running_loop().time())
        if isinstance(sender, web.Response):
            return sender
        if sender is None or not self._is_known(sender):
            return refused()
        if self._reading >= AT_ONCE:
            return web.Response(status=429, text="too many logs are read; try again\n", headers={"Retry-After": "1"})
        self._reading += 1
        try:
            return await self._pass_through(request, sender)
        finally:
            self._reading -= 1

    async def _pass_through(self, request: web.Request, sender: Sender) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        try:
            async with self._read(sender.namespace, sender.pod, names.TRAINER_CONTAINER, LINES) as pieces:
                await response.prepare(request)
                async for piece in pieces:
                    await response.write(piece)
                await response.write_eof()
        except ApiError as error:
            log.warning("cannot read the log of a pod", extra={"pod": sender.pod, "error": str(error)})
            if response.prepared:
                raise  # the answer breaks off: half a log must not be taken for a whole one
            return web.Response(status=404 if isinstance(error, (Gone, Refused)) else 503, text=f"{error}\n")
        return response
