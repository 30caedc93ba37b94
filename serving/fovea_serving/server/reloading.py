"""Following the model config file: what changes in it is applied, and a bad file leaves everything as it is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fovea_serving.server.errors import ServingError
from fovea_serving.server.flags import UsageError
from fovea_serving.server.lifecycle import ModelSettings

log = logging.getLogger(__name__)


async def follow_config(
    read: Callable[[], Sequence[ModelSettings]],
    configure: Callable[[Sequence[ModelSettings]], Awaitable[None]],
    current: Sequence[ModelSettings],
    sleep: Callable[[], Awaitable[Any]],
) -> None:
    """Read after each `sleep` and configure what differs from `current`, until cancelled.

    What was refused is tried again, for the version that a label waits for may be loaded by then; it is said once.
    """
    said = ""
    while True:
        await sleep()
        try:
            wanted = read()
            if wanted != current:
                await configure(wanted)
                current = wanted
            said = ""
        except (ServingError, UsageError) as error:
            if str(error) != said:
                said = str(error)
                log.error("The model config was not applied as a whole: %s", error)  # noqa: TRY400 - the text says it
