"""Answers to the shards of a batch prediction in the store: each is a publication, and one with a manifest is never made again."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

from fovea_api.contract import batch, storage
from fovea_api.contract.batch import Summary
from fovea_api.contract.entries import Entry

from fovea_agent import log
from fovea_agent.beneath import folder_beneath, read_beneath
from fovea_agent.errors import Conflict, Corrupt, VolumeProblem
from fovea_agent.folder import Folder
from fovea_agent.parallel import run_all
from fovea_agent.publish import Publication, contents, manifest_of, publish
from fovea_agent.restore import is_number, read_manifest
from fovea_agent.sending import Sending
from fovea_agent.settings import WorkVolume
from fovea_agent.store import Store

PAYLOAD = "answer"
LARGEST_SUMMARY = 1 << 20


@dataclass(frozen=True)
class Answer:
    """A published answer: keys are below the prefix of the prediction's answers."""

    number: int
    prefix: str
    predictions: Entry
    errors: Entry | None
    summary: Summary

    @classmethod
    def read(cls, store: Store, prediction: str, number: int) -> Self:
        """From the store; raises Corrupt or Missing."""
        prefix = storage.batch_answer(prediction, number)
        entries = {entry.path: entry for entry in read_manifest(store, prefix).entries}
        if not {batch.PREDICTIONS, batch.SUMMARY_FILE} <= entries.keys():
            raise Corrupt(f"s3://{store.bucket}/{storage.manifest(prefix)} names no predictions")
        key = f"{prefix}/{entries[batch.SUMMARY_FILE].key}"
        try:
            summary = Summary.from_json(store.read(key).decode())
        except ValueError as error:
            raise Corrupt(f"s3://{store.bucket}/{key} is corrupt: {error}") from error
        return cls(number, prefix, entries[batch.PREDICTIONS], entries.get(batch.ERRORS), summary)


def published_answers(store: Store, prediction: str) -> set[int]:
    """Numbers of the shards that are answered."""
    base = storage.batch_answer(prediction, 0).removesuffix("0")
    found = set()
    for item in store.listing(base):
        number, _, name = item.key.removeprefix(base).partition("/")
        if name == storage.MANIFEST and is_number(number):
            found.add(int(number))
    return found


def read_answers(store: Store, prediction: str, numbers: Iterable[int], transfers: int) -> list[Answer]:
    """What is published of these shards."""
    return run_all((partial(Answer.read, store, prediction, number) for number in numbers), transfers)


def is_answered(store: Store, prediction: str, number: int) -> bool:
    """Whether a shard has its answer."""
    return store.find(storage.manifest(storage.batch_answer(prediction, number))) is not None


def publish_answer(sending: Sending, work: WorkVolume, prediction: str, number: int) -> None:
    """Publish what the program answered; an answer that another pod published first stays. Raises AgentError."""
    folder = Folder(work.root, f"{batch.ANSWERS}/{number}")
    _check(work, number)
    plain = Publication(storage.batch_answer(prediction, number), PAYLOAD, 1)
    # The payload is named by its content: two pods that answer the same shard never write to the same objects.
    publication = plain.beside(manifest_of(plain, contents(sending, folder, folder.listing())))
    try:
        publish(sending, folder, publication)
    except Conflict:
        if not is_answered(sending.store, prediction, number):
            raise
        log.info("another pod answered this shard first", shard=number)


def _check(work: WorkVolume, number: int) -> None:
    try:
        with folder_beneath(work.root, f"{batch.ANSWERS}/{number}") as folder:
            Summary.from_json(read_beneath(folder, batch.SUMMARY_FILE, LARGEST_SUMMARY))
    except (OSError, ValueError) as error:
        raise VolumeProblem(f"the answer to shard {number} is not whole: {batch.SUMMARY_FILE}: {error}") from error
