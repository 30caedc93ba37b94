"""A data set is deleted only where it is known that nothing uses it, in whichever namespace, or where that is forced."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from fovea.sdk import ForbiddenError, FoveaError, InvalidError, NotInstalledError, UnreachableError
from fovea.sdk.data import Data
from fovea.sdk.store import StoredObject
from support.command_line import Ran, fovea
from support.jobs import training_job

URI = "s3://fovea/vision/datasets/pets"
EVERYWHERE = "/apis/fovea.dev/v1alpha1/"
HERE = "/apis/fovea.dev/v1alpha1/namespaces/vision/"


def job(name: str, namespace: str, uri: str = f"{URI}/cats", state: str = "RUNNING") -> dict[str, Any]:
    document = training_job(name, inputs={"data": uri})
    document["metadata"] |= {"namespace": namespace, "uid": f"{name}-uid"}
    return document | {"status": {"state": state}}


def version(name: str, namespace: str) -> dict[str, Any]:
    spec = {"model": "m", "version": 1, "uri": f"{URI}/model", "digest": "sha256:" + "0" * 64, "bytes": 1}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


class World:
    """A cluster with objects of several namespaces, and a store with one data set. `fails` says which error a list gets."""

    namespace = "vision"

    def __init__(self, jobs: tuple[Any, ...] = (), versions: tuple[Any, ...] = (), **fails: FoveaError) -> None:
        self.objects = {"trainingjobs": jobs, "modelversions": versions}
        self.fails = fails
        self.left = ["vision/datasets/pets/cats/1.png"]
        self.bucket = "fovea"

    def get(self, target: Any, path: str, query: Any = None) -> Any:
        where = "here" if path.startswith(HERE) else "everywhere"
        if where in self.fails:
            raise self.fails[where]
        kind = path.removeprefix(HERE if where == "here" else EVERYWHERE)
        if kind in self.fails:
            raise self.fails[kind]
        found = [
            each for each in self.objects[kind] if where == "everywhere" or each["metadata"]["namespace"] == "vision"
        ]
        return {"items": found}

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        yield from (StoredObject(key, 1, "e") for key in self.left if key.startswith(prefix))

    def delete(self, keys: Any) -> None:
        gone = set(keys)
        self.left = [key for key in self.left if key not in gone]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`fovea data delete pets --yes …` in a world."""

    def run(world: World, *words: str) -> Ran:
        @contextmanager
        def open_store(*_: Any, **__: Any) -> Iterator[World]:
            yield world

        monkeypatch.setattr("fovea.sdk.data.open_store", open_store)
        client = SimpleNamespace(data=Data(world), namespace="vision")  # type: ignore[arg-type]
        monkeypatch.setattr("fovea.cli.options.Where.client", lambda _: client)
        return fovea("data", "delete", "pets", "--yes", *words)

    return run


REFUSED = ForbiddenError("you may not list TrainingJob")


@pytest.mark.parametrize(
    "error",
    [REFUSED, UnreachableError("no answer"), NotInstalledError("no Fovea"), InvalidError("no kubeconfig")],
    ids=lambda error: type(error).__name__,
)
def test_where_it_cannot_be_known_who_uses_it_it_stays_unless_forced(typed: Any, error: FoveaError) -> None:
    world = World(everywhere=error, here=error)
    ran = typed(world)
    assert ran.code == 1
    assert f"whether a job or a version uses data set pets is not known ({error})" in ran.err
    assert "nothing was deleted; --force deletes it all the same" in ran.err
    assert world.left
    ran = typed(world, "--force").ok()
    assert f"is not known ({error})" in ran.err
    assert not world.left


def test_users_in_every_namespace_count(typed: Any) -> None:
    world = World(jobs=(job("mine", "vision"), job("theirs", "speech")), versions=(version("m-v1", "ads"),))
    for words in ((), ("--force",)):
        ran = typed(world, *words)
        assert ran.code == 1
        users = "job mine, job theirs in namespace speech, version m-v1 in namespace ads"
        assert f"data set pets is used by {users}: " in ran.err
        assert world.left


def test_who_may_not_see_all_namespaces_is_told_that_one_was_looked_at(typed: Any) -> None:
    world = World(jobs=(job("theirs", "speech"),), everywhere=REFUSED)
    ran = typed(world).ok()
    assert "Only namespace vision was searched for jobs and versions that use data set pets" in ran.err
    assert not world.left
    world = World(jobs=(job("mine", "vision"),), everywhere=REFUSED)
    assert "data set pets is used by job mine: " in typed(world).err
    assert world.left


def test_ended_jobs_and_those_of_other_data_sets_are_no_users(typed: Any) -> None:
    others = (
        job("ended", "vision", state="FAILED"),
        job("other", "speech", f"{URI}-2"),
        job("x", "ads", "job://x/output"),
    )
    world = World(jobs=others)
    assert typed(world).ok().err == ""
    assert not world.left


def unreadable(name: str) -> dict[str, Any]:
    document = version(name, "ads")
    return document | {"spec": document["spec"] | {"version": "of a later release"}}


def test_an_object_that_cannot_be_read_keeps_the_data_set_and_is_passed_over_by_force_alone(typed: Any) -> None:
    world = World(versions=(unreadable("m-v9"),))
    ran = typed(world)
    assert ran.code == 1
    assert "whether a job or a version uses data set pets is not known" in ran.err
    assert "m-v9" in ran.err
    assert world.left
    ran = typed(world, "--force").ok()
    assert "m-v9" in ran.err
    assert not world.left


@pytest.mark.parametrize("words", [(), ("--force",)])
def test_a_user_that_is_known_counts_whatever_else_cannot_be_read(typed: Any, words: tuple[str, ...]) -> None:
    for versions in ((unreadable("m-v9"), version("m-v1", "ads")), (version("m-v1", "ads"), unreadable("m-v9"))):
        world = World(versions=versions)
        ran = typed(world, *words)
        assert ran.code == 1
        assert "data set pets is used by version m-v1 in namespace ads: " in ran.err
        assert world.left


def test_a_user_that_is_known_counts_though_the_other_kind_cannot_be_listed(typed: Any) -> None:
    world = World(jobs=(job("mine", "vision"),), modelversions=UnreachableError("no answer"))
    ran = typed(world, "--force")
    assert ran.code == 1
    assert "data set pets is used by job mine: " in ran.err
    assert world.left


def test_of_many_that_cannot_be_read_the_first_are_named(typed: Any) -> None:
    ran = typed(World(versions=tuple(unreadable(f"m-v{i}") for i in range(9))))
    assert "m-v4" in ran.err
    assert "m-v5" not in ran.err
    assert "and 4 more" in ran.err
