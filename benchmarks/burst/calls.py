"""The few calls of submitter and stepper to the API server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from fovea_operator.cluster import credentials

MERGE = "application/merge-patch+json"


class Gone(Exception):
    """What was to be changed is not there."""


class _Overwhelmed(Exception):
    """The server asks to try again."""


class Calls:
    """Calls as one user agent, with a limit of calls at the same time."""

    def __init__(self, kubeconfig: Path, agent: str, at_once: int = 16) -> None:
        found = credentials.from_kubeconfig([kubeconfig])
        self._server = found.server
        connector = aiohttp.TCPConnector(ssl=found.context(), limit=64)
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": agent}, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._slots = asyncio.Semaphore(at_once)

    async def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> dict[str, Any]:
        """One call, tried again while the server is overwhelmed; raises on any other answer but success."""
        data = None if body is None else json.dumps(body)
        for pause in (0.1, 0.5, 2.0, 5.0, 10.0):
            try:
                return await self._send(method, path, data, kind)
            except (aiohttp.ClientError, _Overwhelmed) as error:
                print(f"{method} {path}: {error}; again in {pause} s", file=sys.stderr)
            await asyncio.sleep(pause)
        return await self._send(method, path, data, kind)

    async def _send(self, method: str, path: str, data: str | None, kind: str) -> dict[str, Any]:
        async with (
            self._slots,
            self._session.request(method, self._server + path, data=data, headers={"Content-Type": kind}) as answer,
        ):
            if answer.status in (429, 500, 503, 504):
                raise _Overwhelmed(str(answer.status))
            document: dict[str, Any] = await answer.json()
            if answer.status == 404:
                raise Gone(f"{method} {path}: {document.get('message')}")
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status}: {document.get('message')}")
            return document

    async def watch(self, path: str, query: str, since: str) -> AsyncIterator[dict[str, Any]]:
        """Events of a watch, begun again where the server ends it (as it does with a watcher that is slow)."""
        while True:
            url = f"{self._server}{path}?watch=true&resourceVersion={since}&{query}"
            async with self._session.get(url) as answer:
                buffer = b""
                async for chunk in answer.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch {path}: {event['object']}")
                        since = event["object"]["metadata"]["resourceVersion"]
                        yield event

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
