"""What a serving pod needs before its model server loads: `fovea-agent fetch-model`, an init container or a sidecar."""

import shutil
from pathlib import Path

from fovea_api.contract import report, storage
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import ModelPlan
from fovea_api.contract.report import Termination

from fovea_agent import log
from fovea_agent.errors import Corrupt, Misconfigured, Missing, TooNew
from fovea_agent.file_cache import FileCache
from fovea_agent.folder import Folder
from fovea_agent.restore import matches, place, read_manifest, restore
from fovea_agent.settings import DEFAULT_TRANSFERS
from fovea_agent.store import Store

STAGING = ".staging"
"""Below the target: the same volume, so that a version appears by rename; servers look at `<model>/<number>` only."""


def fetch_model(plan: ModelPlan, store: Store, transfers: int = DEFAULT_TRANSFERS) -> Termination:
    """Restore the plan's model to `<target>/<model>/<version>`; a version that is there and verifies stays.

    Raises Corrupt (reason ModelCorrupt) or Missing (ModelMissing): then nothing appears, and nothing is served.
    """
    what = f"version {plan.version} of model {plan.model!r}"
    try:
        location = storage.Location.parse(plan.uri)
        source = store.at(location.bucket)
    except ValueError as error:
        raise Misconfigured(f"{what}: {plan.uri!r} cannot be read ({error}): register it again") from error
    target = Path(plan.target) / plan.model / str(plan.version)
    try:
        manifest = _expected_manifest(source, location.key, plan.digest)
        if _is_in_place(target, Path(plan.target) / STAGING, manifest, transfers):
            log.info("model is in its place already", path=str(target))
            return Termination(report.REASON_FETCHED, f"{what} is in its place already")
        cache = FileCache(Path(plan.cache), plan.cache_bytes) if plan.cache else None
        restore(source, location.key, manifest, target, Path(plan.target) / STAGING, transfers, cache)
        if cache is not None:
            log.info("model cache", found=cache.found, of=manifest.size)
            cache.keep(manifest, target)
    except Corrupt as error:
        raise Corrupt(
            f"{what} is not served: {error.message}. Register the model again or deploy another version",
            reason=report.REASON_MODEL_CORRUPT,
        ) from error
    except TooNew as error:
        raise TooNew(f"{what} is not served: {error.message}; or deploy another version") from error
    except Missing as error:
        raise Missing(
            f"{what} is not served: {error.message}. It was deleted: deploy another version",
            reason=report.REASON_MODEL_MISSING,
        ) from error
    log.info(
        "model fetched", path=str(target), digest=manifest.digest, files=len(manifest.entries), bytes=manifest.size
    )
    return Termination(report.REASON_FETCHED, f"{what} fetched")


def _is_in_place(target: Path, staging: Path, manifest: Manifest, transfers: int) -> bool:
    """Whether the version that an earlier run of this container left verifies. It is out of its place meanwhile.

    Beside a server that starts again, as after a restart of the node, this is what keeps a damaged version from being loaded.
    """
    doubted = staging / f"{target.name}-doubted"
    if target.is_dir():
        staging.mkdir(exist_ok=True)
        shutil.rmtree(doubted, ignore_errors=True)
        target.rename(doubted)
    if not doubted.is_dir():
        return False
    if matches(Folder(staging, doubted.name), manifest, transfers):
        place(doubted, target)
        return True
    log.warning("model in its place does not verify: fetching it again", path=str(target))
    shutil.rmtree(doubted)
    return False


def _expected_manifest(store: Store, prefix: str, digest: str) -> Manifest:
    manifest = read_manifest(store, prefix)
    if manifest.digest != digest:
        key = storage.manifest(prefix)
        raise Corrupt(f"s3://{store.bucket}/{key} is corrupt: expected digest {digest}, found {manifest.digest}")
    return manifest
