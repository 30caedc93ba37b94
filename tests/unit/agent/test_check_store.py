"""What a store may lack is found, named with what comes of it, and told apart from a store that does not answer."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pytest
from fovea_agent.check_store import CHECKS, check_store
from fovea_agent.connections import Readable
from fovea_agent.errors import Changed, KeyRefused, Misconfigured, StoreUnreachable
from fovea_agent.store import Part, StoredObject
from support.memory_store import MemoryStore, md5


class Complete(MemoryStore):
    """A store that keeps all of it."""

    def put(self, key: str, body: Callable[[], Readable], size: int, digest: bytes) -> str:  # type: ignore[override]
        data = body().read()
        if md5(data) != digest:
            raise Changed(key)
        return super().put(key, partial(io.BytesIO, data), size, digest)


class IgnoresConditions(Complete):
    def put_if_absent(self, key: str, data: bytes) -> bool:
        self.content[key] = data
        return True


class KnowsNoConditions(Complete):
    def put_if_absent(self, key: str, data: bytes) -> bool:
        raise Misconfigured("the object store does not understand a request (501 NotImplemented)")


class ListsLate(Complete):
    def objects(self, prefix: str) -> list[StoredObject]:
        return super().objects(prefix)[:-1]


class ListsInAnotherOrder(Complete):
    def objects(self, prefix: str) -> list[StoredObject]:
        return super().objects(prefix)[::-1]


class DeletesOne(Complete):
    def remove(self, keys: Iterable[str]) -> None:
        super().remove(itertools.islice(keys, 1))


class ChecksNoContent(Complete):
    def put(self, key: str, body: Callable[[], Readable], size: int, digest: bytes) -> str:  # type: ignore[override]
        self.content[key] = body().read()
        return ""


class IgnoresPins(Complete):
    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:
        return super().stream(key, offset=offset, length=length)


class IgnoresRanges(Complete):
    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:
        return super().stream(key, etag=etag)


class ForgetsParts(Complete):
    def put_part(self, key: str, upload: str, number: int, *rest: object) -> str:  # type: ignore[override]
        return "" if number == 1 else super().put_part(key, upload, number, *rest)  # type: ignore[arg-type]

    def finish_multipart(self, key: str, upload: str, etags: list[str]) -> None:
        raise Misconfigured("the object store does not understand a request (InvalidPart)")


class AnswersEverything(Complete):
    def read(self, key: str) -> bytes:
        return self.content.get(key, b"")


def test_a_store_that_keeps_everything_lacks_nothing() -> None:
    assert check_store(Complete(), "vision/") == []


@pytest.mark.parametrize(
    ("store", "lacks"),
    [
        (IgnoresConditions, ["created only once", "one wins"]),
        (KnowsNoConditions, ["created only once", "one wins"]),
        (ListsLate, ["listed at once"]),
        (ListsInAnotherOrder, ["listed at once"]),
        (DeletesOne, ["deleted together"]),
        (ChecksNoContent, ["Content-MD5"]),
        (IgnoresPins, ["pinned by ETag"]),
        (IgnoresRanges, ["read in ranges"]),
        (ForgetsParts, ["made of parts"]),
        (AnswersEverything, ["reported as missing"]),
    ],
)
def test_what_a_store_lacks_is_said_with_what_comes_of_it(store: type[Complete], lacks: list[str]) -> None:
    found = check_store(store(), "vision/")
    assert all(any(word in sentence for sentence in found) for word in lacks)
    assert all("Without it " in sentence for sentence in found)


class MayNotList(Complete):
    def parts(self, key: str, upload: str) -> dict[int, Part]:
        raise KeyRefused("ListMultipartUploadParts is not allowed")


class CopiesNothing(Complete):
    def copy(self, source: str, etag: str, key: str) -> str:
        raise StoreUnreachable("500, again and again")


@pytest.mark.parametrize(("kind", "what"), [(MayNotList, "ListParts"), (CopiesNothing, "CopyObject")])
def test_what_can_be_done_without_is_a_warning(
    kind: type[Complete], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert check_store(kind(), "") == []
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert what in said
    assert "Without it " in said


def test_every_check_can_fail(caplog: pytest.LogCaptureFixture) -> None:
    found = [sentence for kind in Complete.__subclasses__() for sentence in check_store(kind(), "")]
    found += [record.message.removeprefix("can be done without: ") for record in caplog.records]
    assert all(any(sentence.startswith(check.what) for sentence in found) for check in CHECKS)


@pytest.mark.parametrize("error", [KeyRefused, StoreUnreachable])
def test_a_store_that_does_not_answer_lacks_nothing_but_an_answer(error: type[Exception]) -> None:
    class Silent(Complete):
        def put_if_absent(self, key: str, data: bytes) -> bool:
            raise error("no")

    with pytest.raises(error):
        check_store(Silent(), "")
