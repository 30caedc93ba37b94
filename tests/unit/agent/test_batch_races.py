"""Two pods of a batch prediction in the same moment: what one finds is never taken for somebody else's."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fovea_agent.batch import Batch
from fovea_agent.connections import Readable
from fovea_agent.errors import Misconfigured
from fovea_agent.settings import WorkVolume
from fovea_agent.store import StoredObject
from fovea_api.contract import batch, report, storage
from fovea_api.contract.batch import Summary
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import BatchPlan
from support.memory_store import MemoryStore

PREFIX = storage.batch("vision", "pets", "1")
PLAN = BatchPlan(
    "vision", "pets", "1", 1, "s3://fovea/vision/in", batch.JSONL, "s3://fovea/vision/out", batch.JSONL, "d", 4, 9
)


class Meanwhile(MemoryStore):
    """Does something once: before a key is looked for, before one is written, or after a prefix is listed."""

    def __init__(self) -> None:
        super().__init__()
        self.content |= {"vision/in/a.jsonl": b"1\n2\n3\n4\n"}
        self.moment = ("", "")
        self.does: Callable[[], Any] = lambda: None

    def _at(self, request: str, key: str) -> None:
        wanted, prefix = self.moment
        if request == wanted and key.startswith(prefix):
            self.moment = ("", "")
            self.does()

    def find(self, key: str) -> StoredObject | None:
        self._at("find", key)
        return super().find(key)

    _find = find

    def put(self, key: str, body: Callable[[], Readable], size: int, md5: bytes) -> str:
        self._at("put", key)
        return super().put(key, body, size, md5)

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        found = self.objects(prefix)
        self._at("list", prefix)
        return iter(found)


def pod(store: MemoryStore, folder: Path, answers: int = 2) -> Batch:
    """A pod whose program has answered the first shards already, each pod's with other digits."""
    for number in range(answers):
        made = folder / batch.ANSWERS / str(number)
        made.mkdir(parents=True)
        (made / batch.PREDICTIONS).write_bytes(b"answer %d %s\n" % (number, folder.name.encode()))
        (made / batch.SUMMARY_FILE).write_text(Summary(2).to_json())
    folder.mkdir(exist_ok=True)
    return Batch(PLAN, 0, store, WorkVolume(folder, folder), poll=0.01)


MOMENTS = {
    "before the place is looked at": ("find", f"vision/out/{storage.MANIFEST}"),
    "before the list is": ("find", storage.batch_plan(PREFIX)),
    "before the last shard is": ("find", storage.manifest(storage.batch_answer(PREFIX, 1))),
    "after the answers are": ("list", f"{PREFIX}/shards/answers/"),
    "while it publishes": ("put", storage.batch_answer(PREFIX, 0)),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_pod_that_another_one_overtakes_says_the_same(tmp_path: Path, moment: tuple[str, str]) -> None:
    store = Meanwhile()
    # The program of the overtaken pod has the last shard still before it.
    overtaken, other = pod(store, tmp_path / "1", answers=1), pod(store, tmp_path / "2")
    said: list[Any] = []
    store.moment, store.does = moment, lambda: said.append(other.run())
    said.append(overtaken.run())
    assert [one.reason for one in said] == [report.REASON_PUBLISHED] * 2
    assert said[0].output == said[1].output
    assert said[0].metrics == said[1].metrics == {"records": 4, "errors": 0, "shards": 2}
    manifest = Manifest.from_json(store.content[f"vision/out/{storage.MANIFEST}"])
    files = {entry.path: store.content[f"vision/out/{entry.key}"] for entry in manifest.entries}
    assert [hashlib.sha256(data).hexdigest() for data in files.values()] == [e.sha256 for e in manifest.entries]
    assert {name: data.split()[1] for name, data in files.items()} == {
        batch.part(number, 2, batch.JSONL): b"%d" % number for number in (0, 1)
    }
    for number in (0, 1):
        prefix = storage.batch_answer(PREFIX, number)
        for entry in Manifest.from_json(store.content[storage.manifest(prefix)]).entries:
            assert hashlib.sha256(store.content[f"{prefix}/{entry.key}"]).hexdigest() == entry.sha256


def test_a_publication_at_the_place_of_an_output_that_is_not_done_is_somebody_else_s(tmp_path: Path) -> None:
    store = Meanwhile()
    begun = pod(store, tmp_path / "1")
    begun._prepare()
    begun._pin()
    store.content[f"vision/out/{storage.MANIFEST}"] = b"{}"
    with pytest.raises(Misconfigured) as refused:
        pod(store, tmp_path / "2").run()
    assert refused.value.reason == report.REASON_OUTPUT_TAKEN
