"""Whether a store keeps what Fovea relies on: `fovea-agent check-store`. S3 is spoken by many, and not by all in full.

Each check does what the agents do, at a place of its own that is emptied afterwards, and says what is lacking and what
would come of it.
"""

import argparse
import hashlib
import io
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from fovea_api.contract import report
from fovea_api.contract.report import Termination

from fovea_agent import log
from fovea_agent.errors import AgentError, Changed, KeyRefused, Misconfigured, Missing, StoreUnreachable
from fovea_agent.parallel import run_all
from fovea_agent.patience import Patience
from fovea_agent.settings import StoreAccess
from fovea_agent.store import Store

FOLDER = ".fovea-check"
RACERS = 8
PART = 5 << 20
"""Bytes: no store takes smaller parts, except the last."""


@dataclass(frozen=True)
class Check:
    """One thing that is relied on. `run` returns what was found instead, or nothing."""

    what: str
    without: str
    """What comes of its lack."""
    run: Callable[[Store, str], str]
    needed: bool = True
    """Whether agents cannot do without it; else its lack is a warning."""


def check_store(store: Store, prefix: str) -> list[str]:
    """What the store lacks, a sentence each; raises AgentError when it cannot be asked (no answer, key refused)."""
    lacks: list[str] = []
    for number, check in enumerate(CHECKS):
        place = f"{prefix}{number}/"
        try:
            found = check.run(store, place)
        except (KeyRefused, StoreUnreachable) as error:
            if check.needed:
                raise
            found = error.message
        except AgentError as error:
            found = error.message
        if found and check.needed:
            lacks.append(f"{check.what}: {found}. Without it {check.without}")
        elif found:
            log.warning(f"can be done without: {check.what}. Without it {check.without}", found=found)
            continue
        log.info("checked", what=check.what, found=found or "as it should be")
    return lacks


def _conditional_create(store: Store, place: str) -> str:
    key = f"{place}manifest.json"
    if not store.put_if_absent(key, b"first"):
        return "the first PUT with If-None-Match: * was refused"
    if store.put_if_absent(key, b"second"):
        return "a second PUT with If-None-Match: * was accepted, expected status 412"
    content = store.read(key)
    return "" if content == b"first" else f"the object holds {content!r} after a PUT that was refused"


def _one_winner(store: Store, place: str) -> str:
    tasks = [partial(store.put_if_absent, f"{place}manifest.json", b"%d" % racer) for racer in range(RACERS)]
    won = sum(run_all(tasks, RACERS))
    return "" if won == 1 else f"{won} of {RACERS} PUTs with If-None-Match: * at once were accepted, expected one"


def _listed_at_once(store: Store, place: str) -> str:
    expected = [f"{place}{name}" for name in ("a-b", "a.png", "a/b", "größe & more+?#")]
    for key in expected:
        _put(store, key, b"x")
        if store.find(key) is None:
            return f"{key!r} is not in a listing right after it was written"
    found = [item.key for item in store.objects(place)]
    if found != expected:
        return f"a listing has {found} instead of {expected}"
    if set(store.children(place)) != {f"{place}{name}" for name in ("a-b", "a.png", "a/", "größe & more+?#")}:
        return f"a listing with a delimiter has {store.children(place)}"
    store.remove(expected[:1])
    return "" if store.find(expected[0]) is None else f"{expected[0]!r} is in a listing right after it was deleted"


def _deleted_together(store: Store, place: str) -> str:
    keys = [f"{place}{number}" for number in range(3)]
    for key in keys:
        _put(store, key, b"x")
    store.remove([*keys, f"{place}never-there"])
    left = [item.key for item in store.objects(place)]
    return f"{left} are left" if left else ""


def _made_of_parts(store: Store, place: str) -> str:
    key, parts = f"{place}big", [b"p" * PART, b"the end"]
    upload = store.begin_multipart(key)
    etags = [
        store.put_part(key, upload, number, partial(io.BytesIO, part), len(part), _md5(part))
        for number, part in enumerate(parts, start=1)
    ]
    store.finish_multipart(key, upload, etags)
    middle = b"".join(store.stream(key, offset=PART - 1, length=5))
    return "" if middle == b"pthe " else f"a range of it reads {middle!r}, expected {b'pthe '!r}"


def _parts_listed(store: Store, place: str) -> str:
    key, part = f"{place}big", b"the end"
    upload = store.begin_multipart(key)
    etag = store.put_part(key, upload, 1, partial(io.BytesIO, part), len(part), _md5(part))
    listed = store.parts(key, upload)
    store.finish_multipart(key, upload, [etag])
    return "" if sorted(listed) == [1] else f"parts {sorted(listed)} are listed, expected 1"


def _copied(store: Store, place: str) -> str:
    _put(store, f"{place}a", b"x")
    store.copy(f"{place}a", _md5(b"x").hex(), f"{place}b")
    content = store.read(f"{place}b")
    return "" if content == b"x" else f"the copy of b'x' reads {content!r}"


def _refused_when_changed(store: Store, place: str) -> str:
    key = f"{place}a"
    try:
        store.put(key, partial(io.BytesIO, b"other"), 5, _md5(b"wanted"))
    except Changed:
        return ""
    return "a PUT whose content does not have its Content-MD5 was accepted"


def _pinned(store: Store, place: str) -> str:
    key = f"{place}a"
    _put(store, key, b"first")
    found = store.find(key)
    if found is None or not found.etag:
        return "a listing has no ETag"
    if b"".join(store.stream(key, etag=found.etag)) != b"first":
        return "a GET with If-Match of the ETag that was listed does not read the object"
    _put(store, key, b"other")
    try:
        read = b"".join(store.stream(key, etag=found.etag))
    except Changed:
        return ""
    return f"a GET with If-Match of an ETag of before reads {read!r}, expected status 412"


def _missing_is_missing(store: Store, place: str) -> str:
    try:
        store.read(f"{place}never-there")
    except Missing:
        return ""
    return "a GET of an object that was never written is answered"


CHECKS = (
    Check(
        "an object is created only once (PUT with If-None-Match: *)",
        "two attempts of a job could publish the same checkpoint, and neither would be whole",
        _conditional_create,
    ),
    Check(
        "of writers that create an object at once one wins",
        "two attempts of a job could publish the same checkpoint, and neither would be whole",
        _one_winner,
    ),
    Check(
        "what was written is listed at once, in order of key",
        "a job would not find its newest checkpoint, and an older attempt would not see that a newer one has begun",
        _listed_at_once,
    ),
    Check(
        "objects are deleted together (POST ?delete)",
        "old checkpoints would never be removed",
        _deleted_together,
    ),
    Check(
        "objects are made of parts (multipart upload) and read in ranges",
        "no file of more than 64 MiB could be published",
        _made_of_parts,
    ),
    Check(
        "content is checked against Content-MD5",
        "a file that changes while it is sent would be published as if it were whole",
        _refused_when_changed,
    ),
    Check(
        "objects are pinned by ETag (GET with If-Match)",
        "a data set that changes while it is read would be mixed of old and new files",
        _pinned,
    ),
    Check(
        "a missing object is reported as missing",
        "a job could not tell that it has no checkpoint yet",
        _missing_is_missing,
    ),
    Check(
        "parts of an upload are listed (ListParts)",
        "what had arrived of a big file is sent again by an agent that is started again, and by the next attempt",
        _parts_listed,
        needed=False,
    ),
    Check(
        "objects are copied within the store (CopyObject)",
        "an attempt sends again what the one before it had sent",
        _copied,
        needed=False,
    ),
)


def _put(store: Store, key: str, data: bytes) -> None:
    store.put(key, partial(io.BytesIO, data), len(data), _md5(data))


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def check_from_command_line(options: argparse.Namespace, env: Mapping[str, str]) -> Termination:
    """Run `fovea-agent check-store`; raises Misconfigured with everything that the store lacks."""
    from fovea_agent.provision import root_access

    access = root_access(options, env) if options.endpoint else StoreAccess.from_directory(options.object_store)
    prefix = f"{options.prefix.strip('/')}/" if options.prefix.strip("/") else ""
    place = f"{prefix}{FOLDER}/{secrets.token_hex(8)}/"
    store = Store(access, Patience(options.patience))
    try:
        lacks = check_store(store, place)
    finally:
        _clean_up(store, place)
    if lacks:
        raise Misconfigured(
            f"the object store at {access.endpoint} lacks what Fovea relies on: {'; '.join(lacks)}. Use another store, "
            "or a newer release of this one"
        )
    return Termination(
        report.REASON_STORE_CHECKED, f"the object store at {access.endpoint} has all that Fovea relies on"
    )


def _clean_up(store: Store, place: str) -> None:
    try:
        # One by one where it cannot delete together is not worth the code: what is left is a few small objects.
        store.remove([item.key for item in store.objects(place)])
    except AgentError as error:
        log.warning("what the check wrote is left", prefix=place, error=error.message)
