"""A job is submitted again: its spec with other flags, under the next free name."""

from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.errors import AlreadyExistsError
from fovea.sdk.jobs import Jobs
from fovea.sdk.submission import Submission, clone, next_name
from fovea_api.v1alpha1 import API_VERSION

UID = "0a1b2c3d-0000-0000-0000-000000000000"
OLD: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "TrainingJob",
    "metadata": {"name": "digits", "namespace": "vision", "uid": UID, "resourceVersion": "7", "labels": {"team": "a"}},
    "spec": {
        "trainer": {"recipe": "image-classifier"},
        "args": {"epochs": 10, "optimizer": "sgd"},
        "checkpoint": {"everySteps": 50, "from": "job://monday", "trainFromScratch": True},
        "suspend": True,
        "cancel": True,
    },
    "status": {"state": "CANCELLED"},
}


class World:
    """A cluster with jobs by name."""

    namespace = "vision"

    def __init__(self, *taken: str) -> None:
        self.taken, self.made = {"digits", *taken}, list[dict[str, Any]]()

    def get(self, *_: Any) -> Any:
        return OLD

    def create(self, _target: Any, _path: str, body: dict[str, Any], *, dry_run: bool) -> Any:
        assert not dry_run
        if body["metadata"]["name"] in self.taken:
            raise AlreadyExistsError(f"job {body['metadata']['name']} exists")
        self.made.append(body)
        return body


def test_a_clone_has_the_spec_but_is_neither_suspended_nor_cancelled() -> None:
    made = clone(OLD, "digits-2", args={"epochs": 20, "seed": 3})
    assert made["spec"] == {
        "trainer": {"recipe": "image-classifier"},
        "args": {"epochs": 20, "optimizer": "sgd", "seed": 3},
        "checkpoint": {"everySteps": 50, "from": "job://monday", "trainFromScratch": True},
    }
    assert made["metadata"] == {"name": "digits-2", "namespace": "vision", "labels": {"team": "a"}}
    assert "status" not in made


def test_a_named_checkpoint_wins_over_training_from_scratch_and_the_other_way_round() -> None:
    on = clone(OLD, "digits-2", args={}, checkpoint_from=f"job://digits@{UID}")["spec"]["checkpoint"]
    assert on == {"everySteps": 50, "from": f"job://digits@{UID}"}
    scratch = Submission("new", base={"spec": {"checkpoint": {"from": "job://a"}}}, train_from_scratch=True).manifest()
    assert scratch["spec"]["checkpoint"] == {"from": "job://a", "trainFromScratch": True}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("digits", "digits-2"),
        ("digits-2", "digits-3"),
        ("digits-9", "digits-10"),
        ("a" * 40, "a" * 38 + "-2"),
        ("resnet-50-v2", "resnet-50-v2-2"),
    ],
)
def test_the_next_name_counts_on(name: str, wanted: str) -> None:
    assert next_name(name, 0) == wanted


def test_the_next_free_name_is_taken_and_the_checkpoint_is_that_jobs_own() -> None:
    world = World("digits-2", "digits-3")
    made = Jobs(world).resubmit("digits", args={"epochs": 20}, from_checkpoint=True)  # type: ignore[arg-type]
    assert made.name == "digits-4"
    assert world.made[0]["spec"]["checkpoint"]["from"] == f"job://digits@{UID}"


def test_a_name_that_is_given_and_taken_is_an_error() -> None:
    with pytest.raises(AlreadyExistsError):
        Jobs(World("mine")).resubmit("digits", as_name="mine")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="choose one"):
        Jobs(World()).resubmit("digits", from_checkpoint=True, train_from_scratch=True)  # type: ignore[arg-type]
