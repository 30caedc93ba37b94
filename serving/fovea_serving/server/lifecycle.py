"""Loads and unloads the versions of one model as its directory changes; carries out what `versions.plan` decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea_serving.protocol.errors import ServingError, internal
from fovea_serving.server import versions
from fovea_serving.server.versions import Policy, State, VersionRecord

if TYPE_CHECKING:
    from fovea_serving.server.servable import Servable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One entry of the model configuration."""

    name: str
    base_path: Path
    policy: Policy = field(default_factory=versions.Latest)
    labels: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How often a failing load is tried again, and how often the directory is looked at (0: once)."""

    retries: int = 5
    retry_seconds: float = 60.0
    poll_seconds: float = 1.0


Load = Callable[[str, int, Path], "Servable"]
"""Loads and warms up a version (model, version, path); blocks; raises ServingError."""


class _Loaded:
    """A servable and the requests that use it right now."""

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        self.users = 0
        self.unused = asyncio.Event()
        self.unused.set()


class ModelLifecycle:
    """The versions of one model. Everything but loading itself happens on the event loop."""

    def __init__(
        self,
        model: ModelSettings,
        *,
        load: Load,
        executor: Executor,
        looks: Executor,
        settings: LoadSettings,
        closed: Callable[[Servable], None],
    ) -> None:
        self.model = model
        self.records: dict[int, VersionRecord] = {}
        self._loaded: dict[int, _Loaded] = {}
        self._load = load
        self._executor = executor
        self._looks = looks
        self._settings = settings
        self._closed = closed
        self._present: frozenset[int] | None = None
        self._missing = ""
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._jobs: set[asyncio.Task[None]] = set()
        self._removed = False
        self._looked = False

    @property
    def available(self) -> list[int]:
        """Versions that answer requests, lowest first."""
        return sorted(self._loaded)

    @contextlib.contextmanager
    def use(self, version: int) -> Iterator[Servable]:
        """A loaded version, kept loaded as long as the block lasts."""
        loaded = self._loaded[version]
        loaded.users += 1
        loaded.unused.clear()
        try:
            yield loaded.servable
        finally:
            loaded.users -= 1
            if not loaded.users:
                loaded.unused.set()

    def change(self, model: ModelSettings) -> None:
        """Follow another configuration of the same model in the same folder."""
        self.model = model
        self._wake.set()

    def remove(self) -> None:
        """The model is not configured any more: unload everything, and end the wait for it."""
        self._removed = True
        self._wake.set()
        self._start(self._notify())

    async def follow(self) -> None:
        """Keep the loaded versions as the directory and the policy ask, until cancelled or removed."""
        while True:
            self._wake.clear()
            if not self._removed:
                await self._look()
            self._carry_out()
            if self._removed and all(r.state is State.END for r in self.records.values()):
                return
            poll = self._settings.poll_seconds
            if not poll and self._present is not None:
                await self._wake.wait()
                continue
            with contextlib.suppress(TimeoutError):
                # Not wait_for: it forgets a cancellation that comes in the moment in which it is woken.
                async with asyncio.timeout(poll or 1.0):
                    await self._wake.wait()

    async def settled(self, *, wait_for_versions: bool) -> ServingError | None:
        """Wait until every wanted version is available or has failed; the error of the highest one.

        A directory that is missing or empty may still be filled: `wait_for_versions` says whether to wait for that.
        """
        wait = wait_for_versions and bool(self._settings.poll_seconds)
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._removed
                    or versions.settled(self._wanted(), self.records)
                    or (self._looked and not wait and not self._wanted())
                )
            )
        if self._removed:
            return internal(f"Model {self.model.name} was taken out of the configuration before it was loaded")
        if not self._wanted():
            return internal(self._missing)
        return self.records[max(self._wanted())].error

    async def ready(self) -> bool:
        """Wait until every wanted version is available or has failed, and one is available; False: it is removed."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._removed or (bool(self._loaded) and versions.settled(self._wanted(), self.records))
            )
        return not self._removed

    def _wanted(self) -> frozenset[int]:
        if self._removed:
            return frozenset()
        return versions.wanted(self.model.policy, self._present or frozenset())

    async def _look(self) -> None:
        if self._present is not None and not self._settings.poll_seconds:
            return
        model, others = self.model, None
        try:
            found, others = await asyncio.get_running_loop().run_in_executor(self._looks, _seen, model.base_path)
        except FileNotFoundError:
            found = self._present or frozenset()
        except OSError as error:
            log.error("Base path of model %s: %s; what is loaded stays", model.name, error)  # noqa: TRY400 - the path says it all
            found = self._present or frozenset()
        missing = ""
        if not versions.wanted(model.policy, found):
            missing = versions.no_versions(model.name, model.base_path, found, others)
        if missing and missing != self._missing:
            log.warning("%s", missing)
        self._missing = missing
        if found != self._present or not self._looked:
            self._present, self._looked = found, True
            await self._notify()

    def _carry_out(self) -> None:
        plan = versions.plan(self._wanted(), self.records)
        for version in plan.forget:
            self.records[version] = replace(self.records[version], retry=True)
        for version in plan.load:
            self.records[version] = VersionRecord(version, State.START)
            self._start(self._bring_up(version))
        for version in plan.unload:
            self.records[version] = self.records[version].at(State.UNLOADING)
            self._start(self._take_down(version))

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _bring_up(self, version: int) -> None:
        name, path = self.model.name, _path_of(self.model.base_path, version)
        self._set(version, State.LOADING)
        loop = asyncio.get_running_loop()
        for attempt in range(self._settings.retries + 1):
            try:
                servable = await loop.run_in_executor(self._executor, self._load, name, version, path)
            except Exception as error:  # noqa: BLE001 - any failure to load is this version's state
                failure = error if isinstance(error, ServingError) else internal(f"{type(error).__name__}: {error}")
                log.error("Loading servable: {name: %s version: %d} failed: %s", name, version, failure)  # noqa: TRY400 - the runtime's words
                if attempt == self._settings.retries or version not in self._wanted():
                    self._set(version, State.END, failure)
                    break
                await asyncio.sleep(self._settings.retry_seconds)
            else:
                self._loaded[version] = _Loaded(servable)
                self._set(version, State.AVAILABLE)
                log.info("Successfully loaded servable version {name: %s version: %d}", name, version)
                break
        self._wake.set()
        await self._notify()

    async def _take_down(self, version: int) -> None:
        loaded = self._loaded.pop(version)
        await self._notify()
        await loaded.unused.wait()
        self._closed(loaded.servable)
        # Not on the threads that load: they may all wait for another model's files.
        await asyncio.get_running_loop().run_in_executor(None, loaded.servable.close)
        self._set(version, State.END)
        log.info("Done unloading servable version {name: %s version: %d}", self.model.name, version)
        self._wake.set()
        await self._notify()

    def _set(self, version: int, state: State, error: ServingError | None = None) -> None:
        self.records[version] = self.records[version].at(state, error)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _seen(base_path: Path) -> tuple[frozenset[int], list[str]]:
    """Version numbers among the directories of a base path, and the names of everything else there, sorted."""
    numbers, others = set(), []
    for entry in base_path.iterdir():
        number = versions.version_number(entry.name)
        if number is not None and entry.is_dir():
            numbers.add(number)
        else:
            others.append(entry.name)
    return frozenset(numbers), sorted(others)


def _path_of(base_path: Path, version: int) -> Path:
    """Directory of a version, however its number is spelled."""
    plain = base_path / str(version)
    if plain.is_dir():
        return plain
    spelled = (entry for entry in base_path.iterdir() if versions.version_number(entry.name) == version)
    return max(spelled, default=plain)
