"""Which labelled namespaces get a key, when it is looked at again, and that one namespace's trouble is not the others'."""

from collections.abc import Mapping

import pytest
from fovea_agent.errors import AgentError, KeyRefused
from fovea_agent.namespace_keys import RECHECK, NamespaceKeys, keep, named
from fovea_agent.provision import Secrets


class World:
    """A cluster and a store: every Secret that is written has a new key."""

    def __init__(self, **labels: str) -> None:
        self.labels, self.secrets, self.works = labels, dict[str, dict[str, str]](), dict[str, str]()
        self.asked: list[str] = []
        self.refuses: set[str] = set()
        self.down = False
        self.now = 1000.0
        self.made = 0
        self.keys = NamespaceKeys(self, self, lambda: self.now)

    def labelled(self, label: str) -> dict[str, str]:
        assert label == "fovea.dev/object-store"
        if self.down:
            raise AgentError("the API server does not answer")
        return dict(self.labels)

    def label(self, namespace: str, label: str) -> str | None:
        return self.labelled(label).get(namespace)

    def read(self, namespace: str) -> dict[str, str] | None:
        return self.secrets.get(namespace)

    def write(self, namespace: str, data: Mapping[str, str]) -> None:
        if namespace in self.refuses:
            raise KeyRefused("forbidden")
        self.secrets[namespace] = dict(data)

    def provide(self, namespace: str, target: Secrets) -> bool:
        self.asked.append(namespace)
        present = target.read(namespace)
        if present and present["key"] == self.works.get(namespace):
            return False
        self.made += 1
        self.works[namespace] = str(self.made)
        target.write(namespace, {"key": str(self.made)})
        return True

    def revoke(self, namespace: str) -> None:
        self.asked.append(f"-{namespace}")
        self.works.pop(namespace, None)

    def has_a_key(self, namespace: str) -> bool:
        return self.secrets.get(namespace, {}).get("key") == self.works.get(namespace, "none")


def test_a_namespace_gets_its_key_once_and_a_later_one_too() -> None:
    world = World(vision="enabled")
    assert [world.keys.round() for _ in range(3)] == [1, 0, 0]
    world.labels["speech"] = "enabled"
    assert [world.keys.round() for _ in range(3)] == [1, 0, 0]
    assert world.asked == ["vision", "speech"]
    assert world.has_a_key("vision")
    assert world.has_a_key("speech")


@pytest.mark.parametrize("what", ["deleted", "changed", "withdrawn by hand"])
def test_what_became_of_a_key_is_put_right(what: str) -> None:
    world = World(vision="enabled")
    world.keys.round()
    if what == "deleted":
        del world.secrets["vision"]
    elif what == "changed":
        world.secrets["vision"] = {"key": "another"}
    else:
        world.works.clear()
        world.now += RECHECK
    world.keys.round()
    assert world.has_a_key("vision")


def test_a_label_that_goes_leaves_the_key_and_disabled_withdraws_it_once() -> None:
    world = World(vision="enabled")
    world.keys.round()
    world.labels = {}
    world.keys.round()
    assert world.has_a_key("vision")
    world.labels = {"vision": "disabled"}
    for _ in range(3):
        world.keys.round()
    assert world.asked == ["vision", "-vision"]
    assert not world.has_a_key("vision")
    world.labels = {"vision": "enabled"}
    assert world.keys.round() == 1
    assert world.has_a_key("vision")


def test_a_namespace_that_is_refused_holds_up_no_other_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World(a="enabled", b="enabled", c="yes")
    world.refuses = {"a"}
    assert [world.keys.round() for _ in range(3)] == [1, 0, 0]
    assert world.has_a_key("b")
    said = {record.fields["namespace"]: record.fields["error"] for record in caplog.records}  # type: ignore[attr-defined]
    assert len(caplog.records) == 2
    assert said["a"] == "forbidden"
    assert "fovea.dev/object-store is 'yes': set it to enabled or disabled" in said["c"]
    world.refuses.clear()
    world.keys.round()
    assert world.has_a_key("a")


def test_a_key_that_was_withdrawn_by_the_label_does_not_come_back_with_the_list_of_an_upgrade() -> None:
    world = World(vision="enabled")
    assert named(world, world, ["vision"]) == 1
    world.labels = {"vision": "disabled"}
    assert named(world, world, ["vision", "speech"]) == 1
    assert not world.has_a_key("vision")
    assert world.has_a_key("speech")
    assert world.asked == ["vision", "-vision", "speech"]


def test_a_namespace_has_one_that_makes_its_key_by_its_label_the_one_of_labels_else_the_one_of_the_list() -> None:
    world = World(vision="enabled", speech="disabled")
    assert named(world, world, [], unless_labelled=["vision", "speech", "ads"]) == 1
    assert world.asked == ["ads"]
    world.asked.clear()
    world.keys.round()
    assert world.asked == ["-speech", "vision"]


def test_a_label_that_is_no_answer_changes_nothing_of_a_listed_namespace(caplog: pytest.LogCaptureFixture) -> None:
    world = World(vision="disbaled")
    assert named(world, world, ["vision", "speech"]) == 1
    assert world.asked == ["speech"]
    assert [record.fields["namespace"] for record in caplog.records if record.levelname == "ERROR"] == ["vision"]  # type: ignore[attr-defined]


def test_a_listed_namespace_that_cannot_have_a_key_ends_the_command() -> None:
    world = World()
    world.refuses = {"vision"}
    with pytest.raises(KeyRefused):
        named(world, world, ["vision"])


class Enough(BaseException):
    """Ends the loop."""


def test_an_api_server_that_does_not_answer_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    world, waits = World(vision="enabled"), list[float]()
    world.down = True

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        world.down = len(waits) < 3
        if len(waits) == 5:
            raise Enough

    with pytest.raises(Enough):
        keep(world.keys, 7, sleep)
    assert waits == [7] * 5
    assert world.has_a_key("vision")
    assert [record.getMessage() for record in caplog.records] == ["namespaces cannot be listed"]
