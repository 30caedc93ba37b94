"""Following the model config file: what changes in it is applied, and a bad file leaves everything as it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fovea_serving.protocol.errors import ServingError
from fovea_serving.server.flags import UsageError
from fovea_serving.server.lifecycle import ModelSettings

log = logging.getLogger(__name__)


async def follow_config(
    read: Callable[[], Sequence[ModelSettings]],
    begin: Callable[[Sequence[ModelSettings]], Awaitable[None]],
    current: Sequence[ModelSettings],
    sleep: Callable[[], Awaitable[Any]],
) -> None:
    """Read after each `sleep` and begin what differs from `current`, until cancelled.

    `begin` raises what is refused, else gives what to wait for: new models may take minutes, or fail, and the next
    change of the file does not wait for them. What was refused is tried again, for the version that a label waits for
    may be loaded by then; it is logged once. The file is read on a thread: its file system may hang.
    """
    said = ""
    waiting: set[asyncio.Future[None]] = set()
    while True:
        await sleep()
        try:
            wanted = await asyncio.to_thread(read)
            if wanted != current:
                outcome = asyncio.ensure_future(begin(wanted))
                waiting.add(outcome)
                outcome.add_done_callback(waiting.discard)
                outcome.add_done_callback(_tell)
                current = wanted
            said = ""
        except (ServingError, UsageError) as error:
            if str(error) != said:
                said = str(error)
                log.error("The model config was not applied as a whole: %s", error)  # noqa: TRY400 - the text says it


def _tell(outcome: asyncio.Future[None]) -> None:
    if not outcome.cancelled() and (error := outcome.exception()) is not None:
        log.error("The model config was applied, but: %s", error)
