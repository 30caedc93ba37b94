"""What jobs left in the store, found by name: `job://NAME@latest` and `job://NAME@UID`.

Only the store knows of a job whose object was deleted. What is found by the first attempt of the job that names it is
written down there, and holds for every later attempt: another job may leave something meanwhile.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fovea_api.contract import storage
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import INPUT_JOB_MODEL, INPUT_JOB_OUTPUT, INPUT_PUBLICATION, Input, TrainingPlan

from fovea_agent import log
from fovea_agent.errors import Corrupt, Misconfigured, Missing
from fovea_agent.restore import read_manifest, stored_numbers
from fovea_agent.store import Store, StoredObject

PARTS = {INPUT_JOB_OUTPUT: "output", INPUT_JOB_MODEL: "model"}
SHOWN = 3


@dataclass(frozen=True)
class Left:
    """One publication (or folder of checkpoints) that a job left; `newest` is the object by which its age is known."""

    prefix: str
    uid: str
    newest: StoredObject


@dataclass(frozen=True)
class Leavings:
    """What the plan of a job asks for of other jobs, by address."""

    plan: TrainingPlan
    store: Store

    @property
    def _own(self) -> str:
        return storage.job(self.plan.namespace, self.plan.job, self.plan.uid)

    def publication(self, item: Input) -> Input:
        """The publication that an input of kind job-output or job-model stands for; raises Missing."""
        if item.kind not in PARTS:
            return item
        location, source = self._at(item.uri, f"input {item.name!r}")

        def find() -> dict[str, str]:
            prefix, manifest = self._newest_publication(source, location.key, PARTS[item.kind], item)
            return {"uri": str(storage.Location(source.bucket, prefix)), "digest": manifest.digest}

        found = self._once(item.name, find)
        log.info("found what a job left", input=item.name, asked=item.uri, uri=found["uri"])
        return replace(item, kind=INPUT_PUBLICATION, uri=found["uri"], digest=found["digest"])

    def checkpoints(self) -> str:
        """Address of the job to continue: `checkpoint_from`, or the newest job of that name with a checkpoint."""
        asked = self.plan.checkpoint_from
        location, source = self._at(asked, "spec.checkpoint.from")
        if storage.uid_of(location.key):
            return asked

        def find() -> dict[str, str]:
            left = sorted(self._checkpoints(source, location.key), key=_age, reverse=True)
            if not left:
                raise Missing(
                    f"spec.checkpoint.from: {self._never(source, location.key, 'checkpoint')}",
                    reason="CheckpointMissing",
                )
            return {"uri": str(storage.Location(source.bucket, left[0].prefix))}

        return self._once("checkpoint.from", find)["uri"]

    def _at(self, uri: str, what: str) -> tuple[storage.Location, Store]:
        try:
            location = storage.Location.parse(uri)
            return location, self.store.at(location.bucket)
        except ValueError as error:
            raise Misconfigured(f"{what}, {uri!r}: {error}") from error

    def _once(self, name: str, find: Callable[[], dict[str, str]]) -> dict[str, str]:
        """What the first attempt found, for good."""
        key = storage.resolved(self._own, name)
        if self.store.find(key) is None:
            found = find()
            if self.store.put_if_absent(key, json.dumps(found).encode()):
                return found
        known: dict[str, str] = json.loads(self.store.read(key))
        return known

    def _newest_publication(self, source: Store, key: str, part: str, item: Input) -> tuple[str, Manifest]:
        """Of the newest attempt that is complete; where no program leaves `_SUCCESS`, of the newest attempt."""
        first: tuple[str, Manifest] | None = None
        for left in sorted(self._outputs(source, key, part), key=_age, reverse=True):
            try:
                output = read_manifest(source, left.newest.key.removesuffix(f"/{storage.MANIFEST}"))
                manifest = output if part == "output" else read_manifest(source, left.prefix)
            except (Corrupt, Missing) as error:
                log.warning("passed over: its manifest cannot be read", publication=left.prefix, error=error.message)
                continue
            if output.complete:
                return left.prefix, manifest
            first = first or (left.prefix, manifest)
        if first is None:
            never = self._never(source, key, part)
            raise Missing(f"input {item.name!r}: {never} Correct spec.inputs.{item.name} and submit again")
        log.warning("no attempt says that it is complete: the newest is taken", input=item.name, publication=first[0])
        return first

    def _outputs(self, source: Store, key: str, part: str) -> Iterator[Left]:
        """Outputs of every attempt; with part `model`, of those that published a model. Their age is the output's."""
        for job in self._jobs(source, key):
            for attempt in stored_numbers(source, storage.outputs(job)):
                newest = source.find(storage.manifest(storage.output(job, attempt)))
                prefix = storage.output(job, attempt) if part == "output" else storage.model(job, attempt)
                if newest and (part == "output" or source.find(storage.manifest(prefix))):
                    yield Left(prefix, storage.uid_of(job), newest)

    def _checkpoints(self, source: Store, key: str) -> Iterator[Left]:
        for job in self._jobs(source, key):
            found = (
                source.find(storage.manifest(storage.checkpoint(job, n)))
                for n in stored_numbers(source, storage.checkpoints(job))
            )
            newest = max(filter(None, found), key=lambda item: item.modified, default=None)
            if newest:
                yield Left(job, storage.uid_of(job), newest)

    def _jobs(self, source: Store, key: str) -> list[str]:
        """The job of the prefix, or all of its name but this one itself."""
        if storage.uid_of(key):
            return [key]
        found = [child.rstrip("/") for child in source.children(f"{key}/") if child.endswith("/")]
        return [job for job in found if job != self._own]

    def _never(self, source: Store, key: str, part: str) -> str:
        """Why there is nothing, and what there is."""
        name, uid = storage.name_of(key), storage.uid_of(key)
        where = storage.Location(source.bucket, key)
        if not uid:
            return (
                f"no job {name} has left any {part}: nothing is at {where}/. It never existed, it published none, or its data "
                "was deleted."
            )
        of_name = key.removesuffix(f"/{uid}")
        others = self._checkpoints(source, of_name) if part == "checkpoint" else self._outputs(source, of_name, part)
        known = list(dict.fromkeys(left.uid for left in sorted(others, key=_age, reverse=True)))[:SHOWN]
        there = f" Jobs of this name that left one, the newest first: {', '.join(known)}." if known else ""
        return (
            f"job {name} with uid {uid} has left no {part}: nothing is at {where}/. It never existed, it published none, or "
            f"its data was deleted.{there}"
        )


def _age(left: Left) -> float:
    return left.newest.modified.timestamp()
