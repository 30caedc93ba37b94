"""The index of a model's versions and numbers gives the answers of a plain look at everything that is known."""

from collections.abc import Iterable
from typing import Any

import pytest
from fovea_api.contract import labels
from fovea_api.v1alpha1 import ModelVersion
from fovea_api.v1alpha1.model_deployment_status import PlaceRole
from fovea_operator.cluster.cache import Cache
from fovea_operator.errors import InvalidSpec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.registering import MODEL, NAMESPACE, Raw, model_version, training_job

NUMBERS = st.integers(1, 6)
UIDS = st.sampled_from(["a-uid", "b-uid", "c-uid"])
JOBS = st.sampled_from(["a", "b"])
ROLES = st.sampled_from([role.value for role in PlaceRole])


def plainly(
    versions: Iterable[ModelVersion], number: int | None = None, *, to_serve: bool = False
) -> ModelVersion | None:
    there = [version for version in versions if version.metadata.deletion_timestamp is None]
    if to_serve:
        there = [version for version in there if version.spec.format != "Other"]
    if number is not None:
        return next((version for version in there if version.spec.version == number), None)
    approved = [version for version in there if version.spec.approval == "Approved"]
    return max(approved, key=lambda version: version.spec.version, default=None)


class Index(RuleBasedStateMachine):
    """Objects come, change and go; jobs reserve numbers and give them back."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache(labels.MODEL_DEPLOYMENT)
        self.reserved: dict[str, int] = {}
        self.revision = 0

    def put(self, raw: Raw, **metadata: Any) -> None:
        self.revision += 1
        name = raw["metadata"]["name"]
        raw["metadata"] |= {"uid": f"{name}-uid-{self.revision}", "resourceVersion": str(self.revision), **metadata}
        raw["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z"}
        stores = {
            "ModelVersion": self.cache.versions,
            "TrainingJob": self.cache.jobs,
            "ModelDeployment": self.cache.model_deployments,
        }
        stores[raw["kind"]].put(raw)

    @rule(
        number=NUMBERS,
        uid=UIDS | st.just(""),
        approval=st.sampled_from(["Approved", "Rejected"]),
        form=st.sampled_from([{}, {"format": "Other"}, {"format": "SavedModel"}]),
        deleted=st.booleans(),
    )
    def a_version_comes_or_changes(self, number: int, uid: str, approval: str, form: Raw, deleted: bool) -> None:
        ending = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {}
        self.put(model_version(number, job_uid=uid, approval=approval, **form), **ending)
        self.reserved.pop(uid, None)

    @rule(number=NUMBERS)
    def a_version_becomes_unreadable(self, number: int) -> None:
        with pytest.raises(InvalidSpec):
            self.put(model_version(number, approval="Perhaps"))

    @rule(number=NUMBERS)
    def a_version_goes(self, number: int) -> None:
        self.go(self.cache.versions, f"{MODEL}-v{number}")

    @rule(
        name=JOBS, names=st.sampled_from(["", "v1", f"{MODEL}-v", "cats-v9"]) | NUMBERS.map(lambda n: f"{MODEL}-v{n}")
    )
    def a_job_names_a_version(self, name: str, names: str) -> None:
        self.put(training_job(name, {"state": "SUCCEEDED", "modelVersion": names} if names else {}))

    @rule(name=JOBS)
    def a_job_goes(self, name: str) -> None:
        self.go(self.cache.jobs, name)

    @rule(places=st.lists(st.tuples(ROLES, NUMBERS), max_size=5))
    def a_deployment_names_versions(self, places: list[tuple[str, int]]) -> None:
        status: Raw = {"places": [served(*place) for place in places]} if places else {}
        metadata = {"name": "front", "namespace": NAMESPACE}
        kind = {"apiVersion": "fovea.dev/v1alpha1", "kind": "ModelDeployment"}
        self.put({**kind, "metadata": metadata, "spec": {"model": MODEL}, "status": status})

    @rule()
    def the_deployment_goes(self) -> None:
        self.go(self.cache.model_deployments, "front")

    @rule(uid=UIDS)
    def a_job_reserves(self, uid: str) -> None:
        self.reserved[uid] = self.cache.models.next_number(NAMESPACE, MODEL, uid)
        self.cache.models.reserve(NAMESPACE, MODEL, uid, self.reserved[uid])

    @rule(uid=UIDS)
    def a_job_gives_back(self, uid: str) -> None:
        self.cache.models.give_back(uid)
        self.reserved.pop(uid, None)

    @rule()
    def everything_is_forgotten(self) -> None:
        for store in self.cache.stores:
            store.clear()

    def go(self, store: Any, name: str) -> None:
        entry = store.get(NAMESPACE, name)
        if entry is not None:
            store.remove((NAMESPACE, name), entry.uid)

    @invariant()
    def answers_are_those_of_a_plain_look(self) -> None:
        index = self.cache.models.versions(NAMESPACE, MODEL)
        versions = [entry.record for _, entry in self.cache.versions]
        for to_serve in (False, True):
            for number in (None, *range(1, 8)):
                assert index.find(number, to_serve=to_serve) == plainly(versions, number, to_serve=to_serve)
        for uid in ("a-uid", "b-uid", "c-uid", ""):
            own = [v for v in versions if uid and v.spec.lineage and v.spec.lineage.job_uid == uid]
            assert index.of_job(uid) == min(own, key=lambda version: version.spec.version, default=None)
            assert self.cache.models.next_number(NAMESPACE, MODEL, uid) == self.next_number(uid, versions)

    def next_number(self, uid: str, versions: list[ModelVersion]) -> int:
        taken = {version.spec.version for version in versions}
        for _, job in self.cache.jobs:
            text = (job.record.status.model_version or "").removeprefix(f"{MODEL}-v")
            taken |= {int(text)} if text.isdigit() else set()
        for _, entry in self.cache.model_deployments:
            taken |= {place.version for place in entry.record.status.places or ()}
        own = self.reserved.get(uid, 0)
        if own and own not in taken:
            return own
        return max(taken | {number for holder, number in self.reserved.items() if holder != uid}, default=0) + 1

    @invariant()
    def no_two_jobs_hold_a_number(self) -> None:
        assert len(set(self.reserved.values())) == len(self.reserved)

    def teardown(self) -> None:
        self.everything_is_forgotten()
        for uid in list(self.reserved):
            self.a_job_gives_back(uid)
        assert self.cache.models._indexes == {}, "a model of which nothing is known costs nothing"
        assert self.cache.models._reserving == {}


def served(role: str, number: int) -> Raw:
    revision = "12345678"
    name = f"front-v{number}-{revision}"
    return {"version": number, "revision": revision, "deployment": name, "role": role, "step": "Serving"}


def test_of_two_objects_that_claim_a_number_one_counts_and_both_go_without_a_trace() -> None:
    """The API server lets in none whose name has not its number; one that was written around it must break nothing."""
    cache = Cache(labels.MODEL_DEPLOYMENT)
    for name, raw in (
        ("digits-v1", model_version(1)),
        ("odd", model_version(1)),
        ("digits-v2", model_version(2, approval="Rejected")),
    ):
        metadata = {"name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        cache.versions.put(raw | {"metadata": raw["metadata"] | metadata})
    versions = cache.models.versions(NAMESPACE, MODEL)
    assert versions.find() == versions.find(1)
    assert versions.find(1) is not None
    for name in ("digits-v1", "odd"):
        cache.versions.remove((NAMESPACE, name), name)
        assert versions.find() is None
    assert versions.find(2) is not None


TestIndex = Index.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
