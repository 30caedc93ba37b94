"""An object store in memory for the agent's pure parts, whose writer can die at any of its requests."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from fovea_agent.connections import Readable
from fovea_agent.errors import Changed, Missing
from fovea_agent.patience import Patience
from fovea_agent.store import Part, Store, StoredObject

T = TypeVar("T")


class Died(BaseException):
    """The process is gone: nothing catches this."""


class MemoryStore(Store):
    """What `Store` promises, without a network. After `lives` writing requests the next one raises Died.

    `dies_after_writing`: whether the request that kills still takes effect, its answer being lost.
    """

    bucket = "fovea"  # type: ignore[assignment]

    def __init__(self) -> None:
        self.patience = Patience(0)
        self.content: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}  # of objects made of parts: not their MD5
        self.begun = itertools.count()
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.lives: int | None = None
        self.dies_after_writing = False
        self.writes: list[str] = []

    def _write(self, what: str, effect: Callable[[], None]) -> None:
        if self.lives == 0:
            if self.dies_after_writing:
                effect()
            raise Died(what)
        if self.lives is not None:
            self.lives -= 1
        self.writes.append(what)
        effect()

    def at(self, bucket: str) -> "MemoryStore":
        assert bucket == self.bucket
        return self

    def objects(self, prefix: str) -> list[StoredObject]:
        found = sorted((k, v) for k, v in self.content.items() if k.startswith(prefix))
        return [StoredObject(k, len(v), self.etags.get(k, md5(v).hex()), datetime.now(UTC)) for k, v in found]

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        return iter(self.objects(prefix))

    def children(self, prefix: str, limit: int | None = None) -> list[str]:
        below = (key.removeprefix(prefix).partition("/") for key in self.content if key.startswith(prefix))
        return sorted({f"{prefix}{name}{slash}" for name, slash, _ in below})[:limit]

    def attempt(
        self,
        method: str,
        key: str,
        operation: Callable[[], T],
        what: str,
        progress: Callable[[], object] = lambda: None,
        *,
        needed: bool = True,
    ) -> T:
        return self.patience.run(operation, what, progress)

    def find(self, key: str) -> StoredObject | None:
        return next((item for item in self.objects(key) if item.key == key), None)

    _find = find

    def read(self, key: str) -> bytes:
        if key not in self.content:
            raise Missing(key)
        return self.content[key]

    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:
        found = next(iter(self.objects(key)), None)
        if found is not None and etag not in ("", found.etag):
            raise Changed(key)
        data = self.read(key)
        yield data[offset : offset + length if length else len(data)]

    def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        data = body().read()
        if len(data) != size:
            raise Changed(key)
        self._write(f"put {key}", lambda: self.content.update({key: data}))
        return md5.hex()

    def create(self, key: str, body: Callable[[], Readable | bytes], size: int) -> bool:
        made = body()
        data = made if isinstance(made, bytes) else made.read()
        assert len(data) == size
        if key in self.content:
            return False
        self._write(f"put {key}", lambda: self.content.update({key: data}))
        return True

    def copy(self, source: str, etag: str, key: str) -> str:
        data = self._source(source, etag)
        self._write(f"copy {key}", lambda: self.content.update({key: data}))
        return md5(data).hex()

    def copy_part(self, source: str, etag: str, key: str, upload: str, number: int, offset: int, size: int) -> str:
        data = self._source(source, etag)[offset : offset + size]
        self._write(f"copy part {number} {key}", lambda: self.uploads[upload][1].update({number: data}))
        return md5(data).hex()

    def _source(self, source: str, etag: str) -> bytes:
        found = self.find(source)
        if found is None:
            raise Missing(source)
        if found.etag != etag:
            raise Changed(source)
        return self.content[source]

    def remove(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            if key not in self.content:
                continue
            self._write(f"remove {key}", lambda key=key: self.content.pop(key, None))  # type: ignore[misc]

    def begin_multipart(self, key: str) -> str:
        upload = f"upload-{next(self.begun)}"
        self._write(f"begin {key}", lambda: self.uploads.update({upload: (key, {})}))
        return upload

    def put_part(self, key: str, upload: str, number: int, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        data = body().read()
        self._write(f"part {number} {key}", lambda: self.uploads[upload][1].update({number: data}))
        return md5.hex()

    def parts(self, key: str, upload: str) -> dict[int, Part]:
        if upload not in self.uploads:
            raise Missing(upload)
        return {number: Part(len(data), md5(data).hex()) for number, data in self.uploads[upload][1].items()}

    def finish_multipart(self, key: str, upload: str, etags: list[str]) -> None:
        if upload not in self.uploads:
            raise Missing(upload)

        def effect() -> None:
            _, parts = self.uploads.pop(upload)
            wanted = range(1, len(etags) + 1)
            assert [md5(parts[number]).hex() for number in wanted] == etags
            self.content[key] = b"".join(parts[number] for number in wanted)
            self.etags[key] = f"{md5(b''.join(map(bytes.fromhex, etags))).hex()}-{len(etags)}"

        self._write(f"finish {key}", effect)


def md5(data: bytes) -> bytes:
    """MD5, as S3's ETags are made of."""
    return hashlib.md5(data, usedforsecurity=False).digest()
