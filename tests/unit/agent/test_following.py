"""The sidecar of an evaluator: brings checkpoints one at a time, publishes what is measured, and holds the best one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_agent.fetch import Fetch
from fovea_agent.following import STORE_EVERY, Following
from fovea_agent.held import held_steps
from fovea_agent.proof import unprove
from fovea_agent.restore import published_numbers
from fovea_agent.sending import Sending
from fovea_api.contract import environment, exit_codes, report, storage
from fovea_api.contract.evaluation import Best
from support.sidecar import PLAN, Pod

EVALUATOR = replace(PLAN, role="evaluator", publish=False, restore=False, attempt=0, cache="")


class Team:
    """The chief's pod and the evaluator's, with the same store."""

    def __init__(self, folder: Path, attempt: int = 0, chief: Pod | None = None) -> None:
        self.chief = chief or Pod(folder / "chief", replace(PLAN, cache="", checkpoint_keep=2))
        self.pod = Pod(folder / f"evaluator-{attempt}", replace(EVALUATOR, attempt=attempt), self.chief.store)
        self.following = self._following()
        self.job = self.following.job

    def _following(self) -> Following:
        sync = self.pod.sync
        return Following(sync.plan, self.pod.work, Sending(self.chief.store), sync.reporter, poll=0.0)

    def publish(self, *steps: int) -> None:
        """The chief's sidecar publishes checkpoints, and prunes."""
        for step in steps:
            self.chief.checkpoint(step)
            self.chief.sync.look()

    def brought(self) -> set[int]:
        folder = self.pod.work.directory(environment.CHECKPOINT_DIR)
        return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}

    def measure(self, step: int, best: Best) -> None:
        """The program leaves an evaluation, which appears by rename."""
        document = {"metrics": {"accuracy": 0.5}, "best": best.document()}
        name = f".{step}/{environment.EVALUATION_FILE}"
        folder = self.pod.write(environment.OUTPUT_DIR, {name: json.dumps(document).encode()})
        (folder / f".{step}").rename(folder / str(step))

    def evaluations(self, attempt: int = 0) -> set[int]:
        return set(published_numbers(self.chief.store, storage.evaluations(self.job, attempt)))


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def best(step: int, value: float = 0.5) -> Best:
    return Best(step, "accuracy", value)


def test_the_newest_checkpoint_comes_and_the_next_one_once_it_is_measured(team: Team) -> None:
    team.following.look()
    assert team.brought() == set()
    team.publish(100, 200)
    team.following.look()
    assert team.brought() == {200}
    team.publish(300, 400)
    team.following.look()
    assert team.brought() == {200}, "the program still measures it"
    team.measure(200, best(200))
    team.following.look()
    assert team.brought() == {400}, "the newest, and the one before is gone"


def test_a_checkpoint_that_the_program_has_put_aside_is_followed_by_the_next(team: Team) -> None:
    team.publish(100)
    team.following.look()
    place = team.pod.work.directory(environment.CHECKPOINT_DIR) / "100"
    place.rename(place.with_name(f"{environment.DAMAGED_PREFIX}100-1"))
    team.publish(200)
    team.following.look()
    assert 200 in team.brought()


def test_a_checkpoint_that_may_be_torn_does_not_come(team: Team) -> None:
    team.publish(100, 200)
    unprove(team.chief.store, storage.checkpoint(team.job, 200))
    team.following.look()
    assert team.brought() == {100}


def test_what_is_measured_is_published_at_once_and_the_best_is_reported(team: Team) -> None:
    team.publish(100)
    team.following.look()
    team.measure(100, best(100, 0.75))
    team.following.look()
    assert team.evaluations() == {100}
    said = team.pod.sync.reporter.current()
    assert (said.best_step, said.best_metric, said.best_value) == (100, "accuracy", 0.75)


def test_the_best_checkpoint_and_the_one_in_the_pod_are_not_pruned(team: Team) -> None:
    team.publish(100)
    team.following.look()
    team.measure(100, best(100))
    team.following.look()
    team.publish(200, 300)
    team.following.look()
    assert team.brought() == {300}
    team.publish(400, 500, 600)
    assert team.chief.published_steps() == {100, 300, 500, 600}
    team.measure(300, best(300, 0.9))
    team.following.look()
    team.publish(700)
    assert team.chief.published_steps() == {100, 300, 600, 700}, "the status may still name the best before"
    team.measure(600, best(600, 0.95))
    team.following.look()
    team.publish(800)
    assert team.chief.published_steps() == {300, 600, 700, 800}, "the one before that goes"


def test_a_best_checkpoint_that_is_not_in_the_store_is_not_named(team: Team) -> None:
    team.publish(100)
    team.following.look()
    team.measure(100, best(100))
    team.following.look()
    team.measure(150, best(150, 0.9))
    team.following.look()
    assert team.following.best == best(100)
    assert held_steps(team.chief.store, team.job) == {100}


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"best": 3}', '{"best": {"step": true, "metric": "a", "value": 1}}', "no"]
)
def test_an_evaluation_that_names_no_best_is_published_all_the_same(team: Team, text: str) -> None:
    team.pod.write(environment.OUTPUT_DIR, {f"100/{environment.EVALUATION_FILE}": text.encode()})
    team.following.look()
    assert team.evaluations() == {100}
    assert team.following.best is None


def test_the_next_attempt_finds_what_was_measured_and_lets_go_of_what_the_one_before_held(
    team: Team, tmp_path: Path
) -> None:
    team.publish(100)
    team.following.look()
    team.measure(100, best(100))
    team.following.look()
    team.publish(200)
    team.following.look()  # its pod is lost with 200 in it
    after = Team(tmp_path, 1, team.chief)
    _, code = Fetch(after.pod.sync.plan, team.chief.store, after.pod.work).run()
    assert code == exit_codes.OK
    assert (after.pod.work.directory(environment.OUTPUT_DIR) / "100" / environment.EVALUATION_FILE).is_file()
    assert after.brought() == set(), "fetch brings no checkpoint: the sidecar does"
    after.following.look()
    assert after.following.best == best(100)
    assert after.brought() == {200}
    held = {item.key for item in team.chief.store.objects(storage.all_held(team.job))}
    assert held == {storage.held(team.job, 1, step) for step in (100, 200)}


def test_at_the_end_the_rest_is_published_and_nothing_but_the_best_is_held(team: Team) -> None:
    team.publish(100, 200)
    team.following.look()
    team.measure(200, best(200))
    team.following.look()
    team.publish(300)
    team.following.look()
    team.pod.write(environment.LOG_DIR, {"validation/events.1": b"events"})
    team.measure(250, best(200))
    team.pod.end()
    assert team.pod.termination.reason == report.REASON_NOTHING_TO_PUBLISH
    # The sidecar's own run ends, not the one that this test has looked with.
    assert team.evaluations() == {200, 250}
    assert storage.manifest(storage.evaluator_events(team.job, 0)) in {
        item.key for item in team.chief.store.objects(storage.evaluators(team.job))
    }
    team.following.finish()
    assert held_steps(team.chief.store, team.job) == {200}


def test_the_store_is_asked_less_often_than_the_volume(team: Team) -> None:
    team.following.poll = 1000.0
    team.following.look()
    team.publish(100)
    team.following.look()
    assert team.brought() == set(), f"the next look is in {STORE_EVERY * 1000} s"
