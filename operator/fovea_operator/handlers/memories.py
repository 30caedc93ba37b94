"""What Kopf remembers of each object beside our cache: nothing.

It keeps a memo, a throttler and the states of indexes and daemons for every object that it has seen, about 1 KiB, and
we use none of them. The class is not exported by Kopf; where it is handed over is (`memories=` of `kopf.operator`).
"""

from typing import Any

from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory


class NoMemories(ResourceMemories):
    """Makes each memory for one event."""

    async def recall(self, raw_body: Any, **how: Any) -> ResourceMemory:
        """A memory that nobody keeps."""
        return await super().recall(raw_body, **{**how, "ephemeral": True})
