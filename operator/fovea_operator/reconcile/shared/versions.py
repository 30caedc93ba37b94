"""The versions of one model: which of them is meant, and which number the next one gets.

Every answer costs the same however many versions there are: what is asked for is kept in order, change by change.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from fovea_api.v1alpha1 import ModelVersion


def servable(version: ModelVersion) -> bool:
    """Whether its files are a SavedModel."""
    return version.spec.format != "Other"


@dataclass
class Versions:
    """What a decision reads."""

    _by_number: dict[int, ModelVersion] = field(default_factory=dict)
    _by_job: dict[str, list[int]] = field(default_factory=dict)
    # Numbers in order, the highest last.
    _numbers: list[int] = field(default_factory=list)
    _approved: list[int] = field(default_factory=list)
    _servable: list[int] = field(default_factory=list)

    def find(self, number: int | None = None, *, to_serve: bool = False) -> ModelVersion | None:
        """The version of a number, or the newest approved one; `to_serve`: only one that can be served.

        One that is being deleted is none any more.
        """
        if number is None:
            newest = self._servable if to_serve else self._approved
            return self._by_number[newest[-1]] if newest else None
        found = self._by_number.get(number)
        if found is None or found.metadata.deletion_timestamp is not None:
            return None
        return found if servable(found) or not to_serve else None

    def of_job(self, uid: str) -> ModelVersion | None:
        """The version that the job with that uid has registered."""
        numbers = self._by_job.get(uid)
        return self._by_number[numbers[0]] if numbers else None


@dataclass
class VersionIndex(Versions):
    """What the edge keeps: the versions that exist, the numbers that statuses name, and those that are reserved.

    A reservation holds a number for one job from the decision to register until the version is there or is refused:
    no two jobs try the same number.
    """

    _named: list[int] = field(default_factory=list)
    _reserved: dict[str, int] = field(default_factory=dict)

    def put(self, version: ModelVersion) -> None:
        """A version exists, or is another one than before."""
        number, deleted = version.spec.version, version.metadata.deletion_timestamp is not None
        self.remove(number)
        self._by_number[number] = version
        insort(self._numbers, number)
        if uid := _job_uid(version):
            insort(self._by_job.setdefault(uid, []), number)
        if version.spec.approval == "Approved" and not deleted:
            insort(self._approved, number)
            if servable(version):
                insort(self._servable, number)

    def remove(self, number: int) -> None:
        """The version of that number does not exist any more."""
        version = self._by_number.pop(number, None)
        if version is None:
            return
        for numbers in (self._numbers, self._approved, self._servable):
            _take_out(numbers, number)
        if uid := _job_uid(version):
            _take_out(self._by_job[uid], number)
            if not self._by_job[uid]:
                del self._by_job[uid]

    def name(self, number: int) -> None:
        """A status names a number, once more if others do, too."""
        insort(self._named, number)

    def unname(self, number: int) -> None:
        """It does not any more."""
        _take_out(self._named, number)

    def next_number(self, uid: str) -> int:
        """What a version of the job with that uid is to be numbered: what it has reserved if that is still free."""
        own = self._reserved.get(uid)
        if own is not None and own not in self._by_number and not _holds(self._named, own):
            return own
        others = (number for holder, number in self._reserved.items() if holder != uid)
        highest = (numbers[-1] for numbers in (self._numbers, self._named) if numbers)
        return max((0, *highest, *others)) + 1

    def reserve(self, uid: str, number: int) -> None:
        """Hold a number for a job, in place of what it held before."""
        self._reserved[uid] = number

    def give_back(self, uid: str) -> None:
        """The job with that uid needs no number (any more)."""
        self._reserved.pop(uid, None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of the model."""
        return not (self._by_number or self._named or self._reserved)


def _job_uid(version: ModelVersion) -> str:
    return version.spec.lineage.job_uid if version.spec.lineage is not None else ""


def _holds(numbers: list[int], number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _take_out(numbers: list[int], number: int) -> None:
    if _holds(numbers, number):
        del numbers[bisect_left(numbers, number)]
