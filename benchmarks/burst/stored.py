"""Objects written to etcd as the API server has written one like them: tens of thousands in a minute."""

import asyncio
import base64
import ssl
from types import TracebackType
from typing import Self

import aiohttp
from fovea_dev.apiserver import ApiServer

AT_ONCE = 16
CLIENT = "apiserver-etcd-client"


class Stored:
    """etcd of an API server, through its JSON gateway."""

    def __init__(self, server: ApiServer) -> None:
        pki, address = server.plane.pki, server.plane.etcd_client
        context = ssl.create_default_context(cafile=pki.certificate("etcd-ca"))
        context.load_cert_chain(pki.certificate(CLIENT), pki.key(CLIENT))
        self._url = f"https://{address.host}:{address.port}/v3/kv"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=AT_ONCE))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def copy(self, key: str, changes: list[dict[str, str]]) -> None:
        """Write an object again under other names: each change is of texts in key and value, such as name and uid."""
        found = await self._send("range", {"key": _encoded(key.encode())})
        value = base64.b64decode(found["kvs"][0]["value"]).decode()
        waiting = iter(changes)

        async def lane() -> None:
            for change in waiting:
                new_key, new_value = key, value
                for old, new in change.items():
                    new_key, new_value = new_key.replace(old, new), new_value.replace(old, new)
                await self._send("put", {"key": _encoded(new_key.encode()), "value": _encoded(new_value.encode())})

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))

    async def _send(self, verb: str, body: dict[str, str]) -> dict[str, list[dict[str, str]]]:
        async with self._session.post(f"{self._url}/{verb}", json=body) as answer:
            answer.raise_for_status()
            document: dict[str, list[dict[str, str]]] = await answer.json()
            return document


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
