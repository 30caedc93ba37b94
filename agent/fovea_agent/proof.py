"""Which checkpoints are known to be whole, as the store keeps it (ADR 112).

A checkpoint that did not appear by rename may have been torn by whatever ended its program. Until something shows that
it is whole it is *unproven*: an object beside its manifest says so. Nothing is pruned on its behalf. An attempt that began
with one and made no step leaves a *doubt*, by the digest of the content; later attempts pass over what is doubted.
"""

from collections.abc import Collection

from fovea_api.contract import storage

from fovea_agent.errors import Corrupt, Missing, TooNew
from fovea_agent.restore import published_numbers, read_manifest
from fovea_agent.store import Store

WHY = "an attempt that began with it made no step, and nothing shows that it was written to its end"


def is_unproven(store: Store, prefix: str) -> bool:
    """Whether the checkpoint at `prefix` may be torn."""
    return store.find(storage.unproven(prefix)) is not None


def unproven_numbers(store: Store, parent: str, numbers: Collection[int]) -> set[int]:
    """Those of the publications `<parent>/<number>` that may be torn."""
    return {number for number in numbers if is_unproven(store, f"{parent}/{number}")}


def prove(store: Store, prefix: str) -> None:
    """From now on the checkpoint at `prefix` is known to be whole."""
    store.remove([storage.unproven(prefix)])


def doubt(store: Store, job: str, digest: str) -> None:
    """Say that an attempt of `job` began with this content and made no step."""
    store.put_if_absent(storage.doubt(job, digest), b"")


def doubted(store: Store, parent: str, job_stores: Collection[tuple[Store, str]]) -> dict[int, str]:
    """Numbers of the checkpoints below `parent` to pass over, with the reason: unproven, and doubted by one of the jobs."""
    digests = {
        f"sha256:{item.key.rpartition('/')[2]}"
        for holder, job in job_stores
        for item in holder.objects(storage.doubts(job))
    }
    found: dict[int, str] = {}
    for number in published_numbers(store, parent) if digests else ():
        prefix = f"{parent}/{number}"
        try:
            manifest = read_manifest(store, prefix)
        except (Corrupt, Missing, TooNew):
            continue  # what becomes of that is decided where it is restored
        if manifest.digest in digests and is_unproven(store, prefix):
            found[number] = f"s3://{store.bucket}/{prefix}: {WHY}"
    return found
