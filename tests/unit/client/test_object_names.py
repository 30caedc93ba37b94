"""A name becomes part of a path: what is none is refused before a request is made."""

import pytest
from fovea.sdk import Client, InvalidError
from fovea.sdk.resources import core_path

NO_NAMES = ["", "a/b", "..", "a?dryRun=All", "Digits", "a b", "a%2fb", "-a", "a-", "ä", "a\n"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_no_object_can_be_called_makes_no_path(name: str) -> None:
    kinds = Client(namespace="vision").jobs.kinds
    with pytest.raises(InvalidError, match=r"name of (the|a) TrainingJob"):
        kinds.path(name)
    with pytest.raises(InvalidError, match=r"name of (the|a) secret"):
        core_path("vision", "secrets", name)


@pytest.mark.parametrize("namespace", NO_NAMES)
def test_what_no_namespace_can_be_called_makes_no_path(namespace: str) -> None:
    client, refused = Client(namespace=namespace), r"name of (the|a) namespace"
    with pytest.raises(InvalidError, match=refused):
        client.jobs.kinds.path()
    with pytest.raises(InvalidError, match=refused):
        str(client.namespace)  # also the place of its data in the store
    with pytest.raises(InvalidError, match=refused):
        core_path(namespace, "pods")


def test_an_empty_name_is_said_to_be_empty() -> None:
    with pytest.raises(InvalidError, match="the name of the TrainingJob is empty: is a variable unset"):
        Client(namespace="vision").jobs.delete("")


def test_paths_of_objects_collections_and_subresources() -> None:
    kinds = Client(namespace="vision").jobs.kinds
    assert kinds.path() == "/apis/fovea.dev/v1alpha1/namespaces/vision/trainingjobs"
    assert kinds.path("digits-2.a") == "/apis/fovea.dev/v1alpha1/namespaces/vision/trainingjobs/digits-2.a"
    assert core_path("vision", "pods") == "/api/v1/namespaces/vision/pods"
    assert core_path("vision", "pods", "digits-0", "log") == "/api/v1/namespaces/vision/pods/digits-0/log"
