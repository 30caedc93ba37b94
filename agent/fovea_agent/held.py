"""Checkpoints that an evaluator needs, as the store has it: they are not pruned."""

from fovea_api.contract import storage

from fovea_agent.restore import is_number
from fovea_agent.store import Store


def held_before(store: Store, job: str, attempt: int) -> list[str]:
    """Keys of what attempts before this one hold."""
    prefix = storage.all_held(job)
    keys = (item.key for item in store.objects(prefix))
    return [key for key in keys if (by := key.removeprefix(prefix).split("/")[0]).isdecimal() and int(by) < attempt]


def held_steps(store: Store, job: str) -> set[int]:
    """Steps of checkpoints that an evaluator needs."""
    names = (item.key.rpartition("/")[2] for item in store.objects(storage.all_held(job)))
    return {int(name) for name in names if is_number(name)}
