"""What the API server refuses for its content is written with less in it, and not sent again as it was."""

from typing import Any

import pytest
from fovea_operator import errors
from fovea_operator.cluster.keys import Ref
from fovea_operator.cluster.queue import Again
from fovea_operator.reconcile.shared.decision import Child, Decision, Deletion, Write
from support.kinds import POD, TRAINING_JOB
from support.memory_api import merged
from support.reconciled import World, job, pod

FAILED = {
    "type": "Failed",
    "status": "True",
    "reason": "Failed",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "observedGeneration": 1,
}
END = {
    "state": "FAILED",
    "message": "Failed: model failed 🤗",
    "endTime": "2026-01-01T00:00:00Z",
    "attempts": {"chief-0": 2},
    "progress": {"step": 3, "metrics": {"🤗": 1.0}},
    "metrics": {"🤗": 1.0},
    "output": {"uri": "s3://fovea/x", "digest": "sha256:0", "bytes": 1, "files": 1},
    "lastFailure": {"attempt": 2, "reason": "no word 🤗", "message": "model failed 🤗"},
    "conditions": [FAILED | {"reason": "ProgramFailed", "message": "Failed: model failed 🤗"}],
}


def refusing(world: World, unwanted: Any, code: int = 400) -> None:
    """The API server refuses statuses with something in them."""
    patch, create = world.server.merge_status, world.server.create

    def check(content: Any) -> None:
        if unwanted(content):
            world.server.detail.append("refused")
            raise errors.Refused("yaml: invalid Unicode character", code=code)

    async def patched(ref: Ref, version: int, changes: dict[str, Any]) -> dict[str, Any]:
        known = world.server.objects[ref.gvk, ref.name]
        check(merged(known.get("status"), changes))
        return await patch(ref, version, changes)

    async def created(manifest: dict[str, Any]) -> dict[str, Any]:
        check(manifest["spec"])
        return await create(manifest)

    world.server.merge_status = patched  # type: ignore[method-assign]
    world.server.create = created  # type: ignore[method-assign]


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_status_whose_text_is_refused_is_written_without_it(code: int) -> None:
    world = World(lambda *_: Decision(status=END))
    world.know(job())
    refusing(world, lambda status: "🤗" in str(status), code)
    failure, calls = world.work()
    assert failure is None
    assert calls == ["refused", "announce StatusRefused", "patch TrainingJob/status"]
    assert "yaml: invalid Unicode character" in world.announced[0].message
    assert {k: world.status[k] for k in ("state", "endTime", "attempts", "output")} == {
        k: END[k] for k in ("state", "endTime", "attempts", "output")
    }
    [failed] = world.status["conditions"]
    assert (failed["type"], failed["status"], failed["reason"]) == ("Failed", "True", "ProgramFailed")
    assert failed["message"].startswith("ProgramFailed. The API server refused the status with its full text")
    assert world.status["lastFailure"]["reason"] == "Unknown"
    _, calls = world.work()
    assert calls == [], "what is written is not written again, and what was refused is not sent again"


def test_a_status_that_was_refused_is_not_tried_again_at_every_report_but_once_its_words_are_others() -> None:
    told = END | {"state": "RUNNING", "nextAttemptTime": "2026-01-01T00:00:00Z"}  # no pod is looked for
    world = World(lambda *_: Decision(status=told))
    world.know(job())
    refusing(world, lambda status: "🤗" in str(status))
    world.work()
    for step in (4, 5):
        told |= {"progress": {"step": step, "metrics": {"🤗": step / 8}}}
        told |= {"checkpoint": {"step": step, "digest": "sha256:0", "time": f"2026-01-01T00:00:0{step}Z"}}
        _, calls = world.work()
        # Of the first step the checkpoint itself is new.
        assert calls == (["refused", "announce StatusRefused"] if step == 4 else []) + ["patch TrainingJob/status"]
        assert world.status["progress"] == {"step": step}
    told |= {"message": "goes on", "metrics": {}, "lastFailure": END["lastFailure"] | {"message": "", "reason": "Lost"}}
    told |= {"conditions": [], "progress": {"step": 6, "metrics": {"loss": 1.0}}}
    _, calls = world.work()
    assert calls == ["patch TrainingJob/status"]
    assert world.status["message"] == "goes on"


def test_a_namesake_begins_with_its_whole_status() -> None:
    world = World(lambda *_: Decision(status=END))
    world.know(job())
    refusing(world, lambda status: "🤗" in str(status))
    world.work()
    world.intake.gone(TRAINING_JOB, "team", "digits", "u1")
    world.work()
    world.know(job(metadata=job()["metadata"] | {"uid": "u2"}))
    _, calls = world.work()
    assert calls == ["refused", "announce StatusRefused", "patch TrainingJob/status"]


def test_a_server_that_refuses_every_status_for_a_while_gets_the_whole_one_afterwards() -> None:
    world = World(lambda *_: Decision(status=END))
    world.know(job())
    refuses = [True]
    refusing(world, lambda _: refuses[0])
    for _ in range(2):
        assert world.work()[1] == ["refused", "announce StatusRefused"] * 4
    refuses[0] = False
    world.work()
    assert world.status == END


def test_a_status_that_is_still_refused_is_left_with_its_state_its_conditions_and_what_later_decisions_need() -> None:
    world = World(lambda *_: Decision(status=END))
    world.know(job())
    refusing(world, lambda status: "output" in status, 413)
    failure, calls = world.work()
    assert failure is None
    assert calls == ["refused", "announce StatusRefused"] * 3 + ["patch TrainingJob/status"]
    assert world.status.keys() == {"state", "message", "endTime", "attempts", "conditions"}


def test_a_status_that_is_refused_for_missing_rights_is_not_shortened(caplog: pytest.LogCaptureFixture) -> None:
    world = World(lambda *_: Decision(status=END))
    world.know(job())
    refusing(world, lambda status: True, 403)
    assert world.work() == (Again(), ["refused"])
    assert "check the operator's rights" in caplog.text


def test_a_deletion_waits_for_a_status_that_is_refused_altogether() -> None:
    world = World(lambda *_: Decision(status=END, deletions=(Deletion(POD, "team", "old", "u9", 30),)))
    world.know(job())
    refusing(world, lambda status: True)
    failure, calls = world.work()
    assert failure == Again()
    assert "delete Pod" not in calls


def test_a_child_that_is_refused_for_its_content_is_written_without_what_the_user_gave_it() -> None:
    world = World(
        lambda *_: Decision(children=(Child(Write.CREATE, pod(), pod("plain")),), status={"state": "RUNNING"})
    )
    world.know(job())
    create = world.server.create

    async def checked(manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["name"] != "plain":
            raise errors.Refused("metrics: Too many", code=422)
        return await create(manifest)

    world.server.create = checked  # type: ignore[method-assign]
    failure, calls = world.work()
    assert failure is None
    assert calls == ["announce ContentRefused", "create Pod", "patch TrainingJob/status"]
