"""Whatever a user writes in a field of Fovea's reaches the program byte for byte; what is a pod's stays as in a pod."""

import random
from typing import Any

import pytest
from fovea_api.contract import environment, expansion
from fovea_api.contract.plan import Input, ModelPlan, TrainingPlan
from fovea_api.v1alpha1 import TrainingJob
from fovea_operator.cluster import records
from fovea_operator.desired.deployment import version_deployment
from fovea_operator.desired.members import Member
from fovea_operator.desired.pod import Sources, training_pod
from support import kubelet_expansion
from support.observations import SETTINGS, job, machine, version
from support.serving_observations import model_deployment

PIECES = (
    "$",
    "$$",
    "$(",
    ")",
    "$(HOME)",
    "$(FOVEA_INPUT_DIR)",
    "$(NOT_THERE)",
    "$()",
    "(",
    "a",
    " ",
    "=",
    "é",
    "🤗",
    "\\",
    '"',
)
CASES = ["", "$", "$$", "$$$", "$(HOME)", "$$(HOME)", "$(CLOUD_ML_JOB)", "100$", "cost: $$5", "$(", "$()", "^a$|^b$$"]


def texts(seed: int, number: int = 200) -> list[str]:
    source = random.Random(seed)
    return CASES + ["".join(source.choices(PIECES, k=source.randint(1, 8))) for _ in range(number)]


def pod_of(made: TrainingJob, *inputs: Input) -> dict[str, Any]:
    return training_pod(made, Member(), 0, machine(), Sources(inputs), SETTINGS)


@pytest.mark.parametrize("trainer", [{"recipe": "image-classifier"}, {"container": {"image": "a:1"}}])
def test_any_value_of_args_reaches_the_program_as_it_was_written(trainer: dict[str, Any]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    values = texts(seed)
    for start in range(0, len(values), 100):
        wanted = {f"flag-{number}": value for number, value in enumerate(values[start : start + 100])}
        program = pod_of(job(trainer=trainer, args=wanted))["spec"]["containers"][0]
        arrived = kubelet_expansion.command_line(program)
        assert arrived[-len(wanted) :] == [f"--{name}={value}" for name, value in wanted.items()]


def test_a_containers_own_words_are_expanded_as_in_a_pod() -> None:
    container = {
        "image": "a:1",
        "command": ["run", "$(WHO)"],
        "args": ["$$", "$(CLOUD_ML_JOB)"],
        "env": [{"name": "WHO", "value": "me"}, {"name": "TWICE", "value": "$(WHO)$(WHO)"}],
    }
    program = pod_of(job(trainer={"container": container}, args={"price": "$$"}))["spec"]["containers"][0]
    assert kubelet_expansion.command_line(program) == ["run", "me", "$", "digits", "--price=$$"]
    assert kubelet_expansion.environment(program)["TWICE"] == "meme"


def test_the_agents_plan_is_read_as_it_was_meant_and_so_is_the_pod() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    for text in texts(seed):
        source = Input("data", f"s3://fovea/vision/{text}")
        made = pod_of(job(), source)
        for agent in made["spec"]["initContainers"]:
            plan = TrainingPlan.from_json(kubelet_expansion.environment(agent)[environment.PLAN])
            assert plan.inputs == (source,)


def test_the_operator_reads_from_a_pod_what_its_agents_were_told() -> None:
    address = "s3://fovea/vision/jobs/$$/$(HOME)/output/0"
    made = pod_of(job(), Input("data", address, "publication", "sha256:a"))
    made["metadata"]["creationTimestamp"] = "2026-11-21T10:00:00Z"
    assert [item.uri for item in records.pod(made).publications] == [address]


def test_the_plan_of_a_model_is_read_as_it_was_meant() -> None:
    for text in CASES:
        uri = f"s3://fovea/vision/models/{text}"
        made = version_deployment(model_deployment(), version(3, uri=uri), "r", machine(), SETTINGS)
        agent = made["spec"]["template"]["spec"]["initContainers"][0]
        assert ModelPlan.from_json(kubelet_expansion.environment(agent)[environment.PLAN]).uri == uri


def test_what_is_escaped_is_expanded_to_itself_whatever_the_variables() -> None:
    for text in texts(7):
        assert kubelet_expansion.expand(expansion.escaped(text), {"HOME": "/root", "": "x"}) == text
        assert expansion.unescaped(expansion.escaped(text)) == text
