"""The shards of a batch prediction: the pod that lists the input first publishes them, and all pods go by that list.

`<prediction>/shards/list.jsonl.gz`: a header, a line for each shard, and at the end their number, which says that it is whole.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea_api.contract import batch, shards, storage
from fovea_api.contract.manifest import RELEASE
from fovea_api.contract.picture_names import SUFFIXES as PICTURES
from fovea_api.contract.plan import BatchPlan

from fovea_agent import batch_shards, log
from fovea_agent.batch_shards import Malformed, Part, Source
from fovea_agent.download import Wanted, downloads
from fovea_agent.errors import Changed, Corrupt, KeyRefused, Misconfigured, Missing, TooNew
from fovea_agent.inputs import near_matches
from fovea_agent.object_reader import ObjectReader, read_range
from fovea_agent.parallel import run_each
from fovea_agent.store import Store

FORMAT = 1
LEVEL = 1
"""Of compression: ETags are random, and nothing else is worth more seconds."""
LINES = (".jsonl", ".ndjson", ".jsonlines")
TABLES = (".csv",)
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True)
class PlannedShards:
    """Where the shards of a prediction are listed; `file` is the copy of this pod."""

    plan: BatchPlan
    store: Store
    prefix: str
    """Of the prediction."""
    source: Store
    """Of the bucket of the input."""
    location: storage.Location
    folder: Path

    @property
    def key(self) -> str:
        """The object's key."""
        return storage.batch_plan(self.prefix)

    @property
    def file(self) -> Path:
        """The list, once it is fetched."""
        return self.folder / "shards.jsonl.gz"

    def fetch(self) -> bool:
        """Fetch the list that is published; False when there is none yet. It is written once: one fetched before stays."""
        found = self.store.find(self.key)
        if found is None:
            return False
        wanted = Wanted(self.key, self.file.name, found.size, etag=found.etag)
        run_each(downloads(self.store, [wanted], self.folder, self.folder, durable=False))
        return True

    def make(self) -> None:
        """List the input, divide it and publish that, unless another pod is first. Raises Missing, Changed, Misconfigured."""
        draft = self.folder / "draft.jsonl.gz"
        try:
            count = self._write(draft, self._parts())
        except (Changed, Corrupt) as error:
            raise Changed(
                f"the input changed while it was listed ({error.message}): the next attempt takes it as it is then; don't "
                "write to data that is being predicted"
            ) from error
        if not count:
            raise self._nothing()
        if self.store.create(self.key, draft.read_bytes, draft.stat().st_size):
            log.info("the input is divided into shards", shards=count, input=self.plan.input_uri)
        draft.unlink()

    def _write(self, file: Path, parts: Iterable[Part]) -> int:
        count = 0
        with gzip.open(file, "wt", compresslevel=LEVEL, encoding="utf-8") as stream:

            def write(document: Any) -> None:
                stream.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")

            write({"format": FORMAT, "release": RELEASE, **self._identity()})
            for part in parts:
                count += 1
                sources = [[one.path, one.size, one.etag] for one in part.sources]
                write([sources, part.start, part.end, part.header])
            write({"shards": count})
        return count

    def read(self) -> Iterator[Part]:
        """The shards, in the order of their numbers. Raises Corrupt or TooNew naming the list."""
        where = f"s3://{self.store.bucket}/{self.key}"
        try:
            with gzip.open(self.file, "rt", encoding="utf-8") as lines:
                header = json.loads(next(lines))
                if header["format"] != FORMAT:
                    raise TooNew(
                        f"{where} was written by Fovea {header.get('release', 'of a later release')} in format "
                        f"{header['format']!r}, and Fovea {RELEASE} reads format {FORMAT} only: install that release or a "
                        "newer one (images included)"
                    )
                self._check(where, header)
                for count, line in enumerate(lines):
                    document = json.loads(line)
                    if isinstance(document, dict):
                        if document["shards"] != count or next(lines, None) is not None:
                            raise Corrupt(f"{where} is corrupt: it does not have as many shards as it says")
                        return
                    sources, start, end, head = document
                    yield Part(tuple(Source(*one) for one in sources), start, end, head)
        except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError, StopIteration) as error:
            raise Corrupt(f"{where} is corrupt: {error!r}") from error
        raise Corrupt(f"{where} is corrupt: it has no end")

    def _identity(self) -> dict[str, str]:
        """What the answers depend on beside the objects."""
        plan = self.plan
        return {"input": plan.input_uri, "input_format": plan.input_format, "model": plan.model_digest}

    def _check(self, where: str, header: dict[str, Any]) -> None:
        for name, now in self._identity().items():
            if header[name] != now:
                raise Misconfigured(
                    f"{where} was made for {name.replace('_', ' ')} {header[name]!r}, and this pod has {now!r}: one prediction has "
                    "one input and one model. Create another prediction"
                )

    # -- the input --------------------------------------------------------------------------------------------------

    def key_of(self, source: Source) -> str:
        """Key of an object of the input."""
        return "/".join(filter(None, (self.location.key, source.path)))

    def _parts(self) -> Iterator[Part]:
        plan = self.plan
        if plan.input_format == batch.IMAGES:
            pictures = self._sources()
            if plan.output_format == batch.KAGGLE:
                pictures = _of_different_names(pictures)
            yield from batch_shards.of_pictures(pictures, plan.shard_bytes, plan.shard_records)
            return
        for source in self._sources():
            try:
                yield from self._divided(source)
            except Malformed as error:
                raise Misconfigured(
                    f"s3://{self.source.bucket}/{self.key_of(source)} cannot be read as {plan.input_format}: {error}"
                ) from error

    def _divided(self, source: Source) -> Iterator[Part]:
        key, most = self.key_of(source), self.plan.shard_bytes
        if self.plan.input_format == batch.JSONL:

            def read(offset: int, length: int) -> bytes:
                return read_range(self.source, key, source.etag, offset, length)

            yield from batch_shards.of_lines(source, most, read)
            return
        with ObjectReader(self.source, key, source.size, source.etag).buffered() as file:
            if self.plan.input_format == batch.CSV:
                yield from batch_shards.of_csv(source, most, file)
            else:
                yield from batch_shards.of_tfrecord(source, most, file)

    def _sources(self) -> Iterator[Source]:
        """The objects with records, in order of key; what has another name is left out, and counted in the log."""
        base = f"{self.location.key}/" if self.location.key else ""
        others: list[str] = []
        found = left_out = 0
        for item in self.source.listing(base):
            path = item.key.removeprefix(base)
            if not path or path.endswith("/"):
                continue  # a console's placeholder for an empty folder
            if self._is_wanted(path):
                found += 1
                yield Source(path, item.size, item.etag)
            else:
                left_out += 1
                others += [path] if len(others) < 3 else []
        if not found and not left_out and not self.plan.input_uri.endswith("/"):
            single = self.source.find(self.location.key)
            if single is not None:
                yield Source("", single.size, single.etag)
            return
        if left_out:
            log.info("objects with other names are left out", count=left_out, first=others)

    def _is_wanted(self, path: str) -> bool:
        name = path.rpartition("/")[2].lower()
        if self.plan.input_format == batch.IMAGES:
            return name.endswith(tuple(PICTURES))
        if self.plan.input_format == batch.TFRECORD:
            return shards.is_tfrecord(name)
        suffixes = LINES if self.plan.input_format == batch.JSONL else TABLES
        if name.endswith(tuple(f"{suffix}{packed}" for suffix in suffixes for packed in COMPRESSED)):
            raise Misconfigured(
                f"the object {path!r} below {self.plan.input_uri} is compressed, and cannot be divided: uncompress it and upload that"
            )
        return name.endswith(suffixes)

    def _nothing(self) -> Missing:
        wanted = {
            batch.IMAGES: f"no picture ({', '.join(sorted(PICTURES))})",
            batch.JSONL: f"no object with lines ({', '.join(LINES)})",
            batch.CSV: f"no object with rows ({', '.join(TABLES)})",
            batch.TFRECORD: "no TFRecord file with records (such as a.tfrecord)",
        }[self.plan.input_format]
        parent, _, name = self.location.key.rpartition("/")
        found: list[str] = []
        with suppress(KeyRefused, Misconfigured):  # the key may read the place itself, not what is around it
            found = near_matches(name, self.source.children(f"{parent}/" if parent else ""))
        others = ", ".join(
            f"s3://{self.location.bucket}/{key}" for key in found if key.rstrip("/") != self.location.key
        )
        hint = f"did you mean {others}? Else " if others else ""
        return Missing(
            f"the input {self.plan.input_uri} has {wanted}: {hint}correct spec.input, or upload the data",
            reason="InputMissing",
        )


def _of_different_names(pictures: Iterable[Source]) -> Iterator[Source]:
    """The same; raises Misconfigured for two pictures that would have one line in a submission."""
    seen: dict[str, str] = {}
    for picture in pictures:
        name = picture_id(picture.path)
        if name in seen:
            raise Misconfigured(
                f"the pictures {seen[name]!r} and {picture.path!r} have the same name {name!r}, which is the id of a line in a "
                "submission: rename one of them, or choose another spec.output.format"
            )
        seen[name] = picture.path
        yield picture


def picture_id(path: str) -> str:
    """The id of a picture in a submission: the name of its file without the suffix."""
    name = path.rpartition("/")[2]
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
