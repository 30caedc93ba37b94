"""The vocabulary of reasons: what a training pod's agents say of their end is in it, since it becomes the condition's reason."""

import ast
from pathlib import Path

import fovea_agent
from fovea_api.v1alpha1.conditions import JobReason

FOLDER = Path(fovea_agent.__file__).parent
OF_PODS = ("errors.py", "fetch.py", "sync.py")
"""Where reasons of training pods are given; provision and fetch-model speak to others."""


def said(path: Path) -> set[str]:
    """Every reason that a file gives: `reason = "…"` of a class and `reason="…"` of a call."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        given: list[ast.expr] = []
        if isinstance(node, ast.ClassDef):
            given = [
                item.value
                for item in node.body
                if isinstance(item, ast.Assign) and [ast.unparse(target) for target in item.targets] == ["reason"]
            ]
        elif isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        found |= {value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    return found


def test_what_an_agent_says_of_its_end_is_a_reason_of_jobs() -> None:
    reasons = set().union(*(said(FOLDER / name) for name in OF_PODS))
    assert reasons >= {"KeyMissing", "KeyRefused", "InputMissing", "CheckpointMissing"}
    assert reasons - {str(reason) for reason in JobReason} == set()
