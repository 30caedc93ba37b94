"""A job's cache, published as its next generation: when its program says that it is whole, and at success."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fovea_api.contract import environment, storage
from fovea_api.contract.plan import TrainingPlan

from fovea_agent import log
from fovea_agent.errors import AgentError, Conflict, Corrupt, Fenced, Missing, Postponed, Vanished
from fovea_agent.folder import Folder
from fovea_agent.listing import Listing
from fovea_agent.prune import prune
from fovea_agent.publish import Publication, contents, manifest_of, publish
from fovea_agent.restore import published_numbers, read_manifest
from fovea_agent.sending import Sending
from fovea_agent.settings import WorkVolume

TRIES = 3
KEPT_GENERATIONS = 2
"""The newest, and the one before it, which somebody may be restoring."""


@dataclass
class CachePublishing:
    """The cache of one attempt; the plan names it.

    `left_out` says what cannot be published of a folder. `pause` raises Postponed when something else comes first.
    """

    plan: TrainingPlan
    work: WorkVolume
    sending: Sending
    left_out: Callable[[Folder, Listing], object]
    pause: Callable[[], None]
    _done: tuple[int, int] | None = None
    """The mark of which the cache was published, or could not be."""
    _parent: str = field(init=False)

    def __post_init__(self) -> None:
        self._parent = storage.cache(self.plan.namespace, self.plan.cache)

    def is_due(self) -> bool:
        """Whether the program says that the cache is whole, and no generation was made of it since it said so."""
        mark = self._mark()
        return bool(self.plan.cache) and mark is not None and mark != self._done

    def publish_ahead(self) -> None:
        """While the program runs, once for each time that it says that the cache is whole. It fails nothing: the end follows.

        A program takes its mark away before it changes the cache, so one that is still there shows that what was listed
        after it is whole. Raises Postponed, Fenced.
        """
        mark = self._mark()
        if not self.is_due():
            return

        def fence() -> None:
            self.sending.fence()
            if self._mark() != mark:
                raise Postponed

        self.pause()
        try:
            self._publish(replace(self.sending, fence=fence, pause=self.pause))
        except (Postponed, Fenced):
            raise
        except (AgentError, OSError) as error:
            log.warning("the cache is not published ahead", cache=self.plan.cache, error=str(error))
        self._done = mark

    def publish(self) -> None:
        """Publish it, unless the newest generation holds the same. Raises AgentError, OSError."""
        self._publish(self.sending)

    def _publish(self, sending: Sending) -> None:
        folder = Folder(self.work.root, self.work.relative(environment.CACHE_DIR))
        listing = folder.listing()
        self.left_out(folder, listing)
        if not listing.files:
            return
        del listing  # it may be one of a million files, and `publish` makes its own
        for _ in range(TRIES):
            newest = max(published_numbers(sending.store, self._parent), default=0)
            # Two jobs may publish the same generation at once: payload folders of their own, and one manifest wins.
            payload = f"{self.plan.uid}-{self.plan.attempt}"
            try:
                if not newest or not self._is_generation(sending, folder, newest):
                    publish(sending, folder, Publication(f"{self._parent}/{newest + 1}", payload, self.plan.attempt))
                break
            except (Conflict, Vanished) as error:
                log.warning("cache not published: trying again", error=error.message)
        prune(sending.store, self._parent, KEPT_GENERATIONS)

    def _is_generation(self, sending: Sending, folder: Folder, number: int) -> bool:
        prefix = f"{self._parent}/{number}"
        try:
            newest = read_manifest(sending.store, prefix)
        except (Corrupt, Missing):
            return False
        files = contents(sending, folder, folder.listing())
        return manifest_of(Publication(prefix, "", self.plan.attempt), files).digest == newest.digest

    def _mark(self) -> tuple[int, int] | None:
        """Which file the program's mark is, and since when; None: the agent sees none."""
        try:
            found = (self.work.directory(environment.OUTPUT_DIR) / environment.CACHE_MARKER).lstat()
        except OSError:  # not there, or in a folder that the program has closed, which is said where that is published
            return None
        return found.st_ino, found.st_mtime_ns
