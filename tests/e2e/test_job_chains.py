"""Jobs that go on where others stopped: from their checkpoints, with their cache, their output, their model."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.installed_store import port_forward, root_store
from support.polling import until
from support.team_jobs import TeamJobs, manifest_at, program, published_steps, team_jobs

FIRST = """
checkpoint(5, "five")
checkpoint(10, "ten")
(cache / "features.txt").write_text("computed by the first")
(output / "vocabulary.txt").write_text("a b c")
(output / "evaluation.json").write_text(json.dumps({"metrics": {"accuracy": 0.25}}))
(model / "variables").mkdir()
(model / "variables" / "weights").write_text("w")
(model / "saved_model.pb").write_text("graph")
(output / "_SUCCESS").touch()
"""

SECOND = """
def text(path):
    return path.read_text() if path.is_file() else None
steps = sorted(int(path.name) for path in checkpoints.iterdir() if path.name.isdecimal())
seen = {
    "steps": steps,
    "state": text(checkpoints / str(steps[-1]) / "state") if steps else None,
    "cache": text(cache / "features.txt"),
    "vocabulary": text(inputs / "words" / "vocabulary.txt"),
    "newest": text(inputs / "newest" / "variables" / "weights"),
    "numbered": text(inputs / "numbered" / "saved_model.pb"),
    "of the job": text(inputs / "ofjob" / "saved_model.pb"),
}
(output / "seen.json").write_text(json.dumps(seen))
(cache / "features.txt").write_text("computed anew by the second")
checkpoint(steps[-1] + 1, "one more")
(output / "_SUCCESS").touch()
"""


@dataclass(frozen=True)
class Chain:
    """Two jobs, the second of which takes everything from the first; and what the second has seen."""

    jobs: TeamJobs
    first: str
    second: str
    store: Any
    statuses: dict[str, dict[str, Any]]
    waited: dict[str, Any]
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def chain(cluster: Any, images: dict[str, str], small_machine: str) -> Iterator[Chain]:
    name = f"t{uuid.uuid4().hex[:8]}"
    first, second = f"{name}-one", f"{name}-two"
    inputs = {
        "words": f"job://{first}/output",
        "ofjob": f"job://{first}/model",
        "newest": f"model://{name}",
        "numbered": f"model://{name}/1",
    }
    with team_jobs(cluster) as jobs, port_forward(cluster.environment) as endpoint:
        # The second is there before what it names: it waits.
        jobs.submit(
            second,
            program(
                *(images["fovea"], small_machine, SECOND),
                inputs=inputs,
                checkpoint={"from": f"job://{first}"},
                cache={"name": name},
            ),
        )
        waited = until(lambda: cluster.status(second), seconds=30, what="the second job's status")
        jobs.submit(first, program(images["fovea"], small_machine, FIRST, model={"name": name}, cache={"name": name}))
        statuses = {job: jobs.ended(job) for job in (first, second)}
        store = root_store(cluster.kubectl, endpoint)
        output = statuses[second]["output"]["uri"].removeprefix("s3://fovea/")
        entry = next(one for one in manifest_at(store, f"s3://fovea/{output}").entries if one.path == "seen.json")
        seen = json.loads(store.read(f"{output}/{entry.key}"))
        yield Chain(jobs, first, second, store, statuses, waited, seen)


def test_a_job_waits_without_a_pod_for_the_job_it_names(chain: Chain) -> None:
    assert chain.waited["state"] == "QUEUED"
    admitted = chain.jobs.condition(chain.waited, "Admitted")
    assert (admitted["status"], admitted["reason"]) == ("False", "InputPending")
    assert "spec.inputs.newest: waiting for an approved version of model" in chain.waited["message"]
    assert "or cancel this job" in chain.waited["message"]
    assert "roles" not in chain.waited or not chain.waited["roles"]["chief"].get("pending")


def test_it_starts_from_the_other_jobs_newest_checkpoint_and_publishes_its_own(chain: Chain) -> None:
    assert (chain.seen["steps"], chain.seen["state"]) == ([10], "ten")
    assert published_steps(chain.store, chain.jobs.prefix(chain.first)) == [5, 10]
    assert published_steps(chain.store, chain.jobs.prefix(chain.second)) == [11]
    assert chain.statuses[chain.second]["checkpoint"]["step"] == 11


def test_the_cache_of_the_first_job_is_there_in_the_second(chain: Chain) -> None:
    assert chain.seen["cache"] == "computed by the first"


def test_output_and_model_of_the_other_job_are_inputs(chain: Chain) -> None:
    expected = {"vocabulary": "a b c", "newest": "w", "numbered": "graph", "of the job": "graph"}
    assert {name: chain.seen[name] for name in expected} == expected


def test_the_cache_that_the_second_job_changed_is_there_in_a_third(
    chain: Chain, images: dict[str, str], small_machine: str
) -> None:
    third = f"{chain.first.removesuffix('-one')}-three"
    source = """
assert (cache / "features.txt").read_text() == "computed anew by the second"
assert not any(path.name.isdecimal() for path in checkpoints.iterdir())
"""
    spec = program(images["fovea"], small_machine, source, cache={"name": chain.first.removesuffix("-one")})
    chain.jobs.submit(third, spec)
    chain.jobs.ended(third)


def test_a_job_that_continues_one_without_checkpoints_says_so(
    chain: Chain, images: dict[str, str], small_machine: str
) -> None:
    name = chain.first.removesuffix("-one")
    chain.jobs.submit(f"{name}-none", program(images["fovea"], small_machine, ""))
    chain.jobs.submit(
        f"{name}-after", program(images["fovea"], small_machine, "", checkpoint={"from": f"job://{name}-none"})
    )
    chain.jobs.ended(f"{name}-none")
    status = chain.jobs.ended(f"{name}-after", "FAILED")
    assert chain.jobs.condition(status, "Failed")["reason"] == "CheckpointMissing"
    assert "spec.checkpoint.from must name a job that has published one" in status["message"]
