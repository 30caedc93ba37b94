"""The models this server knows: which version a request means, what their states are, and how the set changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from fovea_serving.protocol.errors import failed_precondition, invalid_argument, not_found
from fovea_serving.server.lifecycle import Load, LoadSettings, ModelLifecycle, ModelSettings
from fovea_serving.server.versions import VersionRecord

if TYPE_CHECKING:
    from fovea_serving.server.servable import Servable

log = logging.getLogger(__name__)

MOST_LOOKS: Final = 256
"""Folders that are looked at at once. A thread is made when all others are busy: where a file system hangs."""


class Models:
    """Configured models by name, and the labels that point at their versions."""

    def __init__(
        self,
        *,
        load: Load,
        executor: Executor,
        settings: LoadSettings,
        closed: Callable[[Servable], None],
        labels_may_wait: bool = False,
    ) -> None:
        self._lifecycles: dict[str, ModelLifecycle] = {}
        # What answers until the model's files in another folder do.
        self._before: dict[str, ModelLifecycle] = {}
        # Also those that leave: requests may be under way, and nothing else refers to them.
        self._following: dict[ModelLifecycle, asyncio.Task[None]] = {}
        self._taking_over: set[asyncio.Task[None]] = set()
        self._labels: dict[str, dict[str, int]] = {}
        self._labels_may_wait = labels_may_wait
        looks = ThreadPoolExecutor(MOST_LOOKS, thread_name_prefix="look")
        self._new: Callable[[ModelSettings], ModelLifecycle] = lambda model: ModelLifecycle(
            model, load=load, executor=executor, looks=looks, settings=settings, closed=closed
        )

    def __contains__(self, name: str) -> bool:
        return name in self._lifecycles

    @contextlib.contextmanager
    def use(self, spec: Any) -> Iterator[tuple[int, Servable]]:
        """The version a ModelSpec means, kept loaded as long as the block lasts; raises ServingError."""
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            version: int | None = self._labelled(spec.name, spec.version_label)
        else:
            version = spec.version.value if choice == "version" else None
        lifecycle = self._answering(spec.name, version)
        if lifecycle is None:
            asked = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise not_found(f"Servable not found for request: {asked}")
        found = lifecycle.available[-1] if version is None else version
        with lifecycle.use(found) as servable:
            yield found, servable

    def _answering(self, name: str, version: int | None) -> ModelLifecycle | None:
        """Where a version of a model, or any, is loaded: as it is configured, or as it was until that is loaded."""
        for lifecycles in (self._lifecycles, self._before):
            one = lifecycles.get(name)
            if one is not None and (bool(one.available) if version is None else version in one.available):
                return one
        return None

    def _labelled(self, name: str, label: str) -> int:
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def states(self, name: str, version: int | None) -> list[VersionRecord]:
        """States of one or all versions of a model, lowest first; raises NOT_FOUND. Old versions stay listed."""
        found = [lifecycles[name].records for lifecycles in (self._before, self._lifecycles) if name in lifecycles]
        records = {version: record for each in found for version, record in each.items()}
        if version is not None:
            if version not in records:
                raise not_found(f"Could not find version {version} of model {name}")
            return [records[version]]
        if not records:
            raise not_found(f"Could not find any versions of model {name}")
        return [records[number] for number in sorted(records)]

    async def configure(self, models: Sequence[ModelSettings], *, wait_for_versions: bool = False) -> None:
        """Serve exactly these models; returns when each new one is available, raises ServingError if one will not be."""
        await self.begin(models, wait_for_versions=wait_for_versions)

    def begin(self, models: Sequence[ModelSettings], *, wait_for_versions: bool = False) -> Awaitable[None]:
        """Serve exactly these models from now on; raises ServingError for a label that cannot move, changing nothing.

        The result waits until each new one is available, which may take minutes; it raises a ServingError otherwise. The next change need
        not wait for that: a model that is broken or slow must not keep the others from being changed. The states of
        models that were there before say how they fare. Labels move at once, to versions that are available.

        At start a directory without versions is waited for; at a reload it is an error.
        """
        self._labels = self._checked_labels(models)
        named = {model.name: model for model in models}
        for name in set(self._lifecycles) - set(named):
            for lifecycles in (self._lifecycles, self._before):
                self._leave(lifecycles.pop(name, None))
        for model in models:
            self._go_back(model)
        new = [name for name, model in named.items() if not self._follows(model)]
        for name, model in named.items():
            log.info("(Re-)adding model: %s", name)
            if name in new:
                self._add(model)
            else:
                self._lifecycles[name].change(model)
        return self._outcome([self._lifecycles[name] for name in new], wait_for_versions=wait_for_versions)

    def _add(self, model: ModelSettings) -> None:
        """Follow a model's folder. What is loaded from another one answers until this one's versions are loaded.

        Versions of the same number are other files there, so that nothing of the old folder can stay.
        """
        current = self._lifecycles.get(model.name)
        new = self._lifecycles[model.name] = self._new(model)
        self._follow(new)
        if current is not None and current.available:
            self._leave(self._before.pop(model.name, None))
            self._before[model.name] = current
            if (following := self._following.pop(current, None)) is not None:
                following.cancel()  # what is loaded stays as it is, whatever becomes of its folder
        else:
            self._leave(current)
        if model.name in self._before:
            taking_over = asyncio.get_running_loop().create_task(self._take_over(new))
            self._taking_over.add(taking_over)
            taking_over.add_done_callback(self._taking_over.discard)

    def _go_back(self, model: ModelSettings) -> None:
        """Follow the folder of what still answers, if the model is to have that one again: nothing is loaded twice."""
        before = self._before.get(model.name)
        if before is not None and before.model.base_path == model.base_path:
            self._leave(self._lifecycles[model.name])
            self._lifecycles[model.name] = self._before.pop(model.name)
            self._follow(before)

    async def _take_over(self, new: ModelLifecycle) -> None:
        if await new.ready() and self._lifecycles.get(new.model.name) is new:
            self._leave(self._before.pop(new.model.name, None))

    def _follow(self, lifecycle: ModelLifecycle) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if self._following.get(lifecycle) is task:
                del self._following[lifecycle]

        self._following[lifecycle] = asyncio.get_running_loop().create_task(lifecycle.follow())
        self._following[lifecycle].add_done_callback(ended)

    def _leave(self, lifecycle: ModelLifecycle | None) -> None:
        """Unload it once no request uses it."""
        if lifecycle is not None:
            lifecycle.remove()
            if lifecycle not in self._following:
                self._follow(lifecycle)

    def _follows(self, model: ModelSettings) -> bool:
        """Whether the model's folder is followed already."""
        lifecycle = self._lifecycles.get(model.name)
        return lifecycle is not None and lifecycle.model.base_path == model.base_path

    async def _outcome(self, new: Sequence[ModelLifecycle], *, wait_for_versions: bool) -> None:
        errors = await asyncio.gather(*(one.settled(wait_for_versions=wait_for_versions) for one in new))
        failed = [f"{one.model.name}: {error}" for one, error in zip(new, errors, strict=True) if error is not None]
        if failed:
            message = "; ".join(failed)
            raise failed_precondition(f"Some models did not become available: {{{message}}}")

    def _checked_labels(self, models: Sequence[ModelSettings]) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in models:
            for label, version in model.labels:
                # A label that was given so before is no move: else a version that never loads would block every reload.
                is_new = self._labels.get(model.name, {}).get(label, version) == version
                if self._answering(model.name, version) is None and not (self._labels_may_wait and is_new):
                    raise failed_precondition(
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference"
                    )
                labels.setdefault(model.name, {})[label] = version
        return labels

    def close(self) -> None:
        """Stop following directories; loaded versions stay as they are."""
        for task in (*self._following.values(), *self._taking_over):
            task.cancel()
