"""What is a SavedModel, and what is said of what is none."""

import pytest
from fovea_api.contract.saved_model import problem


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["saved_model.pb", "variables/variables.index"], ""),
        (["saved_model.pbtxt"], ""),
        (
            ["1/saved_model.pb", "1/variables/a"],
            "M is not a SavedModel: saved_model.pb lies in its folder 1, not directly in it",
        ),
        (["9/saved_model.pb", "10/saved_model.pb"], "M is not a SavedModel: saved_model.pb lies in its folder 10, not"),
        (["a/b/saved_model.pb"], "lies in its folder a/b, not"),
        (["model.pt"], "M is not a SavedModel: it has no saved_model.pb, but model.pt"),
        (["d", "c", "b", "a"], "but a, b, c and 1 more"),
        (["not_saved_model.pb"], "but not_saved_model.pb"),
        (["x" * 5000], "but " + "x" * 100),
        ([], "M is not a SavedModel: it is empty"),
    ],
)
def test_a_folder_of_files_is_judged_by_where_its_graph_lies(paths: list[str], said: str) -> None:
    found = problem(paths, "M")
    assert said in found
    assert bool(found) == bool(said)
    assert len(found) < 500
