"""How publications that are no longer needed are deleted."""

import itertools
from collections.abc import Collection

from fovea_api.contract import storage

from fovea_agent import log
from fovea_agent.checkpoints import to_prune
from fovea_agent.errors import Corrupt, Missing, TooNew
from fovea_agent.proof import unproven_numbers
from fovea_agent.restore import published_numbers, read_manifest, stored_numbers
from fovea_agent.store import PAGE, Store


def prune(store: Store, parent: str, keep: int, but: Collection[int] = ()) -> None:
    """Delete the publications `<parent>/<number>` that are older than the newest `keep`, and what lies between them.

    `but`: numbers that stay, also those that are older.

    Checkpoints that may be torn do not count: nothing goes because of them.

    The manifest goes first, so that no reader starts on one. One in a format that is not known here stays as it is: how
    its objects hang together with others is not known either.
    """
    published = published_numbers(store, parent)
    unproven = unproven_numbers(store, parent, published)
    for number in to_prune(published.keys() - unproven, stored_numbers(store, parent), keep):
        if number in but:
            continue
        prefix = f"{parent}/{number}"
        manifest = storage.manifest(prefix)
        if number in published:
            try:
                read_manifest(store, prefix)
            except TooNew as error:
                log.info("not pruned", publication=prefix, error=error.message)
                continue
            except (Corrupt, Missing):
                pass
            store.remove([manifest])
        # Page by page: there may be a million.
        keys, objects = (item.key for item in store.listing(f"{prefix}/") if item.key != manifest), 0
        while page := list(itertools.islice(keys, PAGE)):
            store.remove(page)
            objects += len(page)
        log.info("pruned", publication=prefix, objects=objects)
