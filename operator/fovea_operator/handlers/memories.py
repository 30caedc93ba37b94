"""Makes Kopf remember nothing of an object.

By default, Kopf keeps a memo, a throttler and the states of indexes and daemons for each object, about 1 KiB. Fovea uses none
of them. Kopf does not export the class, but it does export the parameter (`memories=` of `kopf.operator`).
"""

from typing import Any

from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory


class NoMemories(ResourceMemories):
    """Makes a new memory for each event."""

    async def recall(self, raw_body: Any, **how: Any) -> ResourceMemory:
        """A memory that is not kept."""
        return await super().recall(raw_body, **{**how, "ephemeral": True})
