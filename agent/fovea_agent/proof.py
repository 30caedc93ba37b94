"""Which checkpoints are known to be whole, as the store keeps it (ADR 112).

A checkpoint may have been torn by whatever ended its program. Until something shows that it is whole it is *unproven*: an
object beside its manifest says so. Nothing is pruned on its behalf. What speaks against one is a *doubt*, by the digest of
the content: an attempt that began with it and made no step, or evidence. Later attempts try what is doubted last.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from fovea_api.contract import storage

from fovea_agent.errors import Corrupt, Missing, TooNew
from fovea_agent.restore import published_numbers, read_manifest
from fovea_agent.store import Store

BEGAN_AGAIN, DAMAGED = "began-again", "damaged"
"""Evidence: the program began with it, and was at an earlier step then; it said that it cannot read it."""
ENOUGH = 2
"""Attempts that made no step: one may have been drained while it imported."""
FIRM = 3
"""Attempts after which the job rather starts from the beginning."""


@dataclass(frozen=True)
class Doubt:
    """Why a checkpoint is passed over.

    `firm`: also when there is no other one. `whole_too`: also when it is known to be whole as it was written.
    """

    why: str
    firm: bool = False
    whole_too: bool = False


def weigh(by: Collection[tuple[str, str]]) -> Doubt | None:
    """The verdict on one content, from all evidence against it: (job, attempt or evidence)."""
    evidence = {what for _, what in by}
    attempts = sum(what.isdecimal() for _, what in by)
    if DAMAGED in evidence:
        return Doubt("the program said that it is damaged", firm=True, whole_too=True)
    if BEGAN_AGAIN in evidence:
        return Doubt("the program began with it, and began again at an earlier step", firm=attempts >= FIRM)
    if attempts >= ENOUGH:
        why = f"{attempts} attempts began with it and made no step, and nothing shows that it was written to its end"
        return Doubt(why, firm=attempts >= FIRM)
    return None


def is_unproven(store: Store, prefix: str) -> bool:
    """Whether the checkpoint at `prefix` may be torn."""
    return store.find(storage.unproven(prefix)) is not None


def unproven_numbers(store: Store, parent: str, numbers: Collection[int]) -> set[int]:
    """Those of the publications `<parent>/<number>` that may be torn."""
    return {number for number in numbers if is_unproven(store, f"{parent}/{number}")}


def prove(store: Store, prefix: str) -> None:
    """From now on the checkpoint at `prefix` is known to be whole."""
    store.remove([storage.unproven(prefix)])


def unprove(store: Store, prefix: str) -> None:
    """From now on the checkpoint at `prefix` may be torn."""
    store.put_if_absent(storage.unproven(prefix), b"")


def doubt(store: Store, job: str, digest: str, by: str) -> None:
    """Say what speaks against this content: an attempt of `job` (its number), or evidence."""
    store.put_if_absent(storage.doubt(job, digest, by), b"")


def doubted(store: Store, parent: str, job_stores: Iterable[tuple[Store, str]]) -> dict[int, Doubt]:
    """Numbers of the checkpoints below `parent` to pass over: doubted by the jobs, and unproven or said to be damaged."""
    against: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for holder, job in job_stores:
        for item in holder.objects(storage.doubts(job)):
            digest, _, by = item.key.removeprefix(storage.doubts(job)).partition("/")
            against[f"sha256:{digest}"].add((job, by))
    weighed = {digest: found for digest, by in against.items() if (found := weigh(by)) is not None}
    result: dict[int, Doubt] = {}
    for number in published_numbers(store, parent) if weighed else ():
        prefix = f"{parent}/{number}"
        try:
            found = weighed.get(read_manifest(store, prefix).digest)
        except (Corrupt, Missing, TooNew):
            continue  # that is decided where it is restored
        if found is not None and (found.whole_too or is_unproven(store, prefix)):
            result[number] = replace(found, why=f"s3://{store.bucket}/{prefix}: {found.why}")
    return result
