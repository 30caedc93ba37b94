"""What the agent's transfers cost: small files a second and core, one big object, and a million files without a network.

    python benchmarks/agent_transfers.py --files 20000 --big 1024     # against a MinIO of its own, on loopback
    python benchmarks/agent_transfers.py --synthetic 1000000          # no network: listing, planning, pinning, writing
    python benchmarks/agent_transfers.py --synthetic 1000000 --dry    # and no files: what `fetch` adds to the transfer
    python benchmarks/agent_transfers.py --publish 1000000            # no network: that many files sent ahead and published

CPU is the transferring process's own, by getrusage: what does not depend on the machine's load as times do.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "dev")]

from fovea_agent import inputs  # noqa: E402
from fovea_agent.connections import Readable  # noqa: E402
from fovea_agent.download import Wanted  # noqa: E402
from fovea_agent.folder import Folder  # noqa: E402
from fovea_agent.patience import Patience  # noqa: E402
from fovea_agent.publish import Publication, publish, send_ahead  # noqa: E402
from fovea_agent.restore import read_manifest  # noqa: E402
from fovea_agent.sending import Sending  # noqa: E402
from fovea_agent.settings import StoreAccess  # noqa: E402
from fovea_agent.store import Store, StoredObject  # noqa: E402
from fovea_api.contract.plan import Input  # noqa: E402

JOB = "vision/jobs/digits/uid"
TINY = b"x" * 1500


class Synthetic(Store):
    """A store without a network: a listing of `count` objects in a thousand folders, all of the same content."""

    bucket = "fovea"  # type: ignore[assignment]

    def __init__(self, count: int) -> None:
        self.count, self.patience = count, Patience(0)
        self.kept: dict[str, bytes] = {}
        self.etag = hashlib.md5(TINY).hexdigest()

    def at(self, bucket: str) -> "Synthetic":  # noqa: ARG002
        return self

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        for number in range(self.count):
            yield StoredObject(f"{prefix}{number // 1000:06}/{number:09}.jpg", len(TINY), self.etag, datetime.now(UTC))

    def find(self, key: str) -> StoredObject | None:
        data = self.kept.get(key)
        return None if data is None else StoredObject(key, len(data), "pin", datetime.now(UTC))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.kept.setdefault(key, data) is data

    def attempt(self, method, key, operation, what, progress=lambda: None):  # noqa: ARG002
        return operation()

    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:  # noqa: ARG002
        data = self.kept.get(key, TINY)
        yield data[offset : offset + length if length else len(data)]


class Swallowing(Synthetic):
    """Takes `count` files of the same content, of which it keeps nothing, and the manifest."""

    def __init__(self, count: int, folder: Path) -> None:
        super().__init__(count)
        self.sent, self.folder = 0, folder

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        if self.sent == self.count:
            for number in range(self.count):
                yield StoredObject(f"{prefix}files/{path_of(number)}", len(TINY), self.etag, datetime.now(UTC))

    def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:  # noqa: ARG002
        assert body().read() == TINY
        self.sent += 1
        return md5.hex()

    def create(self, key: str, body: Callable[[], Readable | bytes], size: int) -> bool:  # noqa: ARG002
        made = body()
        assert not isinstance(made, bytes)
        with (self.folder / "manifest").open("wb") as file:
            while chunk := made.read(1 << 20):
                file.write(chunk)
        return True

    def stream(self, key: str, *, offset: int = 0, length: int = 0, etag: str = "") -> Iterator[bytes]:  # noqa: ARG002
        with (self.folder / "manifest").open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk


def path_of(number: int) -> str:
    return f"{number // 1000:06}/{number:09}.jpg"


def published(arguments: argparse.Namespace) -> None:
    """A result that is sent ahead and published, and its manifest read as the next attempt reads it."""
    folder, publication = Path(arguments.folder), Publication(f"{JOB}/output/1", "files", 1)
    sending = Sending(Swallowing(arguments.publish, folder), transfers=arguments.transfers)
    steps: dict[str, Callable[[], object]] = {
        "sent ahead": lambda: send_ahead(sending, Folder(folder, "output"), publication),
        "published": lambda: publish(sending, Folder(folder, "output"), publication),
    }
    if arguments.read:
        steps = {"its manifest read": lambda: read_manifest(sending.store, publication.prefix)}
    for what, step in steps.items():
        timed(what, step)


def nothing_downloaded(
    _store: Store, wanted: Iterable[Wanted], *_folders: Path, durable: bool
) -> Iterator[Callable[[], None]]:
    """In place of `downloads`: tasks that do nothing."""
    assert not durable
    for one in wanted:
        yield partial(nothing, one)


def nothing(_: Wanted) -> None:
    """Do nothing."""


def fetch(store: Store, folder: Path, transfers: int, uri: str) -> None:
    inputs.Inputs(store, JOB, folder, folder / ".staging", transfers).fetch(Input("data", uri))


def timed(what: str, action: Callable[[], object]) -> None:
    """Do it and print what it took."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    action()
    wall, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"what": what, "wall": wall, "cpu": cpu, "rss": now.ru_maxrss / 1024}), flush=True)


def child(arguments: argparse.Namespace) -> None:
    """One fetch or publication, in a process of its own; prints what it took."""
    store: Store
    if arguments.publish:
        published(arguments)
        return
    if arguments.synthetic:
        store = Synthetic(arguments.synthetic)
        if arguments.dry:
            inputs.downloads = nothing_downloaded
    else:
        store = Store(StoreAccess(**json.loads(arguments.access)), Patience(60), connections=arguments.transfers + 2)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        for what in ("first attempt", "later attempt"):
            timed(what, partial(fetch, store, folder / what, arguments.transfers, arguments.uri))
            shutil.rmtree(folder / what)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measured(*arguments: str) -> list[dict[str, float]]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def row(name: str, figures: dict[str, float], files: int, size: int) -> None:
    wall, cpu = figures["wall"], figures["cpu"]
    print(
        f"| {name}, {figures['what']} | {wall:.1f} | {cpu:.1f} | {files / wall:.0f} | {files / cpu:.0f} | "
        f"{size / wall / 2**20:.0f} | {size / cpu / 2**20:.0f} | {figures['rss']:.0f} |",
        flush=True,
    )


def publishing(arguments: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        one = folder / "output" / path_of(0)
        for number in range(arguments.publish):
            path = folder / "output" / path_of(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if number % 50_000:  # a name is enough, and ext4 allows 65,000 of a file
                path.hardlink_to(one)
            else:
                path.write_bytes(TINY)
                one = path
        common = ("--publish", str(arguments.publish), "--folder", str(folder))
        for figures in [*measured(*common), *measured(*common, "--read")]:
            row(f"{arguments.publish} files, no network", figures, arguments.publish, arguments.publish * len(TINY))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def against_minio(arguments: argparse.Namespace) -> None:
    from support.object_store import running_object_store

    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        with running_object_store(folder / "minio") as minio:
            access = {
                "endpoint": minio.endpoint,
                "bucket": minio.bucket,
                "access_key": minio.root.access_key,
                "secret_key": minio.root.secret_key,
            }
            common = ("--access", json.dumps(access), "--folder", str(folder))
            store = minio.store()
            md5 = hashlib.md5(TINY).digest()
            keys = [f"vision/datasets/small/{n // 1000:03}/{n:06}.jpg" for n in range(arguments.files)]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda key: store.put(key, lambda: io.BytesIO(TINY), len(TINY), md5), keys))
            for transfers in arguments.transfers_list:
                options = ("--uri", "s3://fovea/vision/datasets/small", "--transfers", str(transfers))
                for figures in measured(*common, *options):
                    name = f"{arguments.files} files of 1.5 kB, {transfers} transfers"
                    row(name, figures, arguments.files, arguments.files * len(TINY))
                minio.client.remove_object(minio.bucket, f"{JOB}/inputs/data.jsonl.gz")
            if arguments.big:
                size = arguments.big << 20
                with (folder / "big").open("wb") as file:
                    for _ in range(arguments.big):
                        file.write(os.urandom(1 << 20))
                minio.client.fput_object(minio.bucket, "vision/datasets/big", str(folder / "big"))
                (folder / "big").unlink()
                for transfers in arguments.transfers_list:
                    options = ("--uri", "s3://fovea/vision/datasets/big", "--transfers", str(transfers))
                    for figures in measured(*common, *options):
                        row(f"{arguments.big} MiB, {transfers} transfers", figures, 1, size)
                    minio.client.remove_object(minio.bucket, f"{JOB}/inputs/data.jsonl.gz")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="small files in a MinIO (%(default)s)")
    parser.add_argument("--big", type=int, default=1024, metavar="MIB", help="one big object (%(default)s; 0: none)")
    parser.add_argument("--synthetic", type=int, default=0, metavar="FILES", help="no network: that many files")
    parser.add_argument("--dry", action="store_true", help="with --synthetic: write no files")
    parser.add_argument("--publish", type=int, default=0, metavar="FILES", help="no network: publish that many files")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--transfers", type=int, default=8, help=argparse.SUPPRESS)
    parser.add_argument("--transfers-list", type=int, nargs="*", default=[1, 8], metavar="N", help="(%(default)s)")
    parser.add_argument("--folder", help="where to write (the system's temporary folder)")
    parser.add_argument("--uri", default="s3://fovea/vision/datasets/small", help=argparse.SUPPRESS)
    parser.add_argument("--access", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    print(f"load average at the beginning: {os.getloadavg()[0]:.1f}")
    print("| what | wall s | CPU s | files/s | files/s and core | MiB/s | MiB/s and core | peak RSS MiB |")
    print("|---|---|---|---|---|---|---|---|")
    if arguments.publish:
        publishing(arguments)
    elif arguments.synthetic:
        options = ["--synthetic", str(arguments.synthetic), *(["--dry"] if arguments.dry else [])]
        for figures in measured(*options, *(["--folder", arguments.folder] if arguments.folder else [])):
            row(
                f"{arguments.synthetic} files, no network{', none written' if arguments.dry else ''}",
                figures,
                arguments.synthetic,
                arguments.synthetic * len(TINY),
            )
    else:
        against_minio(arguments)
    print(f"load average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
