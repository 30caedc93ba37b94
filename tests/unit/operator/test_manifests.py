"""What the builders make, whole, against golden YAML."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from fovea_api.contract import environment, names
from fovea_api.contract.plan import INPUT_PUBLICATION, Input, ModelPlan, TrainingPlan
from fovea_api.v1alpha1 import MachineType, TrainingJob
from fovea_operator.desired import containers
from fovea_operator.desired.batch_job import batch_job
from fovea_operator.desired.deployment import revision, scale, version_deployment
from fovea_operator.desired.disruption_budget import disruption_budget
from fovea_operator.desired.members import Member
from fovea_operator.desired.model import model_deployment as deployment_of_a_job
from fovea_operator.desired.model import model_version
from fovea_operator.desired.pod import Sources, needs_fetch, training_pod
from fovea_operator.desired.service import service, version_service
from fovea_operator.reconcile.serving.decide import decide_model_deployment
from fovea_operator.reconcile.shared.decision import Write
from fovea_operator.reconcile.shared.observed import BudgetRecord
from fovea_operator.settings import Settings
from support.decision_table import RUNNING, decide
from support.golden import DATA, Golden
from support.observations import GPU, MODEL, SETTINGS, at, job, machine, observed, running, version
from support.predictions import PINNED, prediction
from support.rollout_table import V1, V2, held, stable
from support.serving_observations import budget_of, model_deployment, service_at, serving, workload


def given(name: str) -> TrainingJob:
    """A job of tests/data/operator."""
    document = yaml.safe_load((DATA / "operator" / f"job-{name}.yaml").read_text(encoding="utf-8"))
    document["metadata"]["uid"] = f"{document['metadata']['name']}-uid"
    return TrainingJob.model_validate(document)


def test_the_pod_of_a_recipe(golden: Golden) -> None:
    sources = Sources((Input("data", "s3://fovea/vision/datasets/digits"),))
    golden.check("operator/pod-recipe.yaml", training_pod(given("recipe"), Member(), 0, machine(), sources, SETTINGS))


def test_the_pod_of_a_first_attempt_with_nothing_to_fetch_has_no_container_for_it(golden: Golden) -> None:
    made = training_pod(given("recipe"), Member(), 0, machine(), Sources(), SETTINGS)
    golden.check("operator/pod-without-fetch.yaml", made)


@pytest.mark.parametrize(
    ("attempt", "sources", "spec", "wanted"),
    [
        (0, Sources(), {}, False),
        (0, Sources(), {"model": {"name": "digits"}, "checkpoint": {"keep": 1}}, False),
        (1, Sources(), {}, True),
        (0, Sources((Input("data", "s3://fovea/vision/datasets/digits"),)), {}, True),
        (0, Sources((), "s3://fovea/vision/jobs/digits/u"), {}, True),
        (0, Sources(), {"cache": {"name": "features"}}, True),
    ],
    ids=["nothing", "nothing to read", "a later attempt", "an input", "another job's checkpoint", "a cache"],
)
def test_a_pod_has_a_container_that_fetches_where_there_may_be_something_to_fetch(
    attempt: int, sources: Sources, spec: dict[str, Any], wanted: bool
) -> None:
    of = job(**spec)
    assert needs_fetch(of, Member(), attempt, sources) is wanted
    agents = training_pod(of, Member(), attempt, machine(), sources, SETTINGS)["spec"]["initContainers"]
    assert ("--fetch" in agents[-1]["command"]) is not wanted
    assert [each["name"] for each in agents] == [names.FETCH_CONTAINER] * wanted + [names.SYNC_CONTAINER]


def test_the_pod_of_a_container_on_a_gpu_machine(golden: Golden) -> None:
    sources = Sources(
        (
            Input("data", "s3://fovea/vision/datasets/captions"),
            Input("backbone", "s3://fovea/vision/jobs/digits/u/model/0", INPUT_PUBLICATION, "sha256:b"),
        ),
        "s3://fovea/vision/jobs/digits/u",
    )
    settings = Settings(image_pull_secrets=("fovea-registry",))
    golden.check(
        "operator/pod-container-gpu.yaml", training_pod(given("container"), Member(), 2, GPU, sources, settings)
    )


def test_the_deployment_of_a_version(golden: Golden) -> None:
    of, served = model_deployment(scaling={"minReplicas": 2}), version(3)
    made = version_deployment(of, served, revision(of, served), machine(), SETTINGS)
    golden.check("operator/version-deployment.yaml", made)


def test_a_model_is_fetched_beside_the_start_of_a_server_that_waits_for_it(golden: Golden) -> None:
    settings = replace(SETTINGS, server_command=("fovea-model-server",))
    made = version_deployment(model_deployment(), version(3), "0a1b2c3d", machine(), settings)
    golden.check("operator/version-deployment-that-waits.yaml", made)


def test_a_model_on_a_gpu_machine_has_the_image_for_it() -> None:
    def image(settings: Settings, machine_type: MachineType) -> str:
        made = version_deployment(model_deployment(), version(3), "0a1b2c3d", machine_type, settings)
        return str(made["spec"]["template"]["spec"]["containers"][0]["image"])

    both = replace(SETTINGS, server_gpu_image="server:gpu")
    assert [image(both, GPU), image(both, machine()), image(SETTINGS, GPU)] == [
        "server:gpu",
        SETTINGS.server_image,
        SETTINGS.server_image,
    ]


def test_files_of_models_are_shared_by_the_pods_of_a_namespace_through_the_agent_alone() -> None:
    source = {"hostPath": {"path": "/var/cache/fovea"}}
    settings = replace(SETTINGS, model_cache_volume=json.dumps(source), model_cache_size="1Gi")
    pod = version_deployment(model_deployment(), version(3), "0a1b2c3d", machine(), settings)["spec"]["template"][
        "spec"
    ]
    [fetch], [server] = pod["initContainers"], pod["containers"]
    assert {"name": "fovea-model-cache"} | source in pod["volumes"]
    mount = {"name": "fovea-model-cache", "mountPath": "/var/cache/fovea", "subPath": "vision"}
    assert mount in fetch["volumeMounts"]
    assert "fovea-model-cache" not in {each["name"] for each in server["volumeMounts"]}
    plan = ModelPlan.from_json(fetch["env"][0]["value"])
    assert (plan.cache, plan.cache_bytes) == ("/var/cache/fovea", 1 << 30)
    worker = batch_job(prediction(PINNED), version(3), 0, machine(), settings)["spec"]["template"]["spec"]
    assert mount in worker["initContainers"][0]["volumeMounts"]
    assert {"name": "fovea-model-cache"} | source in worker["volumes"]


@pytest.mark.parametrize("text", ["/var/cache", "[]", "{}", '{"hostPath": "/var/cache"}', '{"a": {}, "b": {}}'])
def test_a_volume_that_is_none_is_refused_when_the_operator_starts(text: str) -> None:
    with pytest.raises(ValueError, match=r"FOVEA_OPERATOR_MODEL_CACHE_VOLUME=.* is not the source of a volume"):
        Settings.from_environment({"FOVEA_OPERATOR_MODEL_CACHE_VOLUME": text})


def test_the_scale_of_a_version_leaves_the_template_out(golden: Golden) -> None:
    golden.check("operator/version-scale.yaml", scale(model_deployment(), 3, "0a1b2c3d", 2))


def test_the_service(golden: Golden) -> None:
    golden.check("operator/service.yaml", service(model_deployment(service={"type": "NodePort"}), 3, "0a1b2c3d"))


def test_an_eviction_leaves_so_many_pods_of_a_model(golden: Golden) -> None:
    golden.check("operator/disruption-budget.yaml", disruption_budget(model_deployment(), 3, "0a1b2c3d", 1))


@pytest.mark.parametrize(
    ("known", "written"),
    [
        (None, Write.CREATE),
        (budget_of(V2), Write.APPLY),
        (replace(budget_of(V1), spec={**budget_of(V1).spec, "minAvailable": 7}), Write.APPLY),
    ],
    ids=["missing", "of another version", "edited"],
)
def test_a_budget_is_made_where_it_is_missing_and_put_right_where_it_is_another(
    known: BudgetRecord | None, written: Write
) -> None:
    status = held(stable(1))
    of = serving(
        model_deployment(status),
        version(1),
        workloads=[workload(V1, ready=1)],
        service=service_at(V1),
        budget=budget_of(V1),
    )
    assert decide_model_deployment(of, at(60), SETTINGS).children == ()
    [child] = decide_model_deployment(replace(of, budget=known), at(60), SETTINGS).children
    assert (child.write, child.manifest) == (written, disruption_budget(of.model_deployment, 1, V1[-8:], 0))


def test_the_service_of_a_version_has_nothing_that_its_user_set_for_the_clients_one(golden: Golden) -> None:
    of = model_deployment(service={"type": "NodePort", "annotations": {"example.com/zone": "a"}})
    of = of.model_copy(update={"metadata": of.metadata.model_copy(update={"labels": {"team": "vision"}})})
    golden.check("operator/version-service.yaml", version_service(of, 3, "0a1b2c3d"))


def test_the_model_version(golden: Golden) -> None:
    made = model_version(job(), "digits", 3, 1, MODEL, {"loss": 0.1, "accuracy": 0.97}, main_metric="accuracy")
    golden.check("operator/model-version.yaml", made)


def test_the_model_deployment_of_a_job(golden: Golden) -> None:
    golden.check("operator/model-deployment.yaml", deployment_of_a_job(job(), "digits", SETTINGS))


def test_args_become_flags_in_their_order() -> None:
    assert containers.flags(
        {"epochs": 10, "learning-rate": 0.01, "augment": False, "flip": True, "layers": "128 32"}
    ) == [
        "--epochs=10",
        "--learning-rate=0.01",
        "--augment=false",
        "--flip=true",
        "--layers=128 32",
    ]
    assert containers.flags(None) == []


def test_the_plans_are_read_by_the_agent_as_they_were_meant() -> None:
    pod = training_pod(job(cache={"name": "features"}), Member(), 4, machine(), Sources(), SETTINGS)
    for agent in pod["spec"]["initContainers"]:
        assert TrainingPlan.from_json(agent["env"][0]["value"]) == TrainingPlan(
            "vision", "digits", "job-uid", 4, cache="features", report_url=SETTINGS.report_url, publish=True
        )
    made = version_deployment(model_deployment(), version(3), "r", machine(), SETTINGS)
    served = ModelPlan.from_json(made["spec"]["template"]["spec"]["initContainers"][0]["env"][0]["value"])
    assert served == ModelPlan("vision", "digits", 3, version(3).spec.uri, version(3).spec.digest)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("16", 16),
        ("2", 2),
        ("1.5", 2),
        ("500m", 1),
        ("2001m", 3),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1E", 10**18),
        ("1Ei", 2**60),
    ],
)
def test_a_model_server_with_a_cpu_limit_is_told_how_many_cores_it_has(limit: str, cores: int) -> None:
    made = version_deployment(model_deployment(), version(3), "r", machine(cpuLimit=limit), SETTINGS)
    server = made["spec"]["template"]["spec"]["containers"][0]
    assert server["args"][-1] == f"--tensorflow_session_parallelism={cores}"
    assert server["resources"]["limits"]["cpu"] == limit


def test_a_model_server_answers_until_its_clients_connections_are_over() -> None:
    settings = Settings(server_connection_seconds=5)
    made = version_deployment(model_deployment(), version(3), "r", machine(), settings)
    pod = made["spec"]["template"]["spec"]
    [server] = pod["containers"]
    connections = "grpc.max_connection_age_ms=5000,grpc.max_connection_age_grace_ms=10000"
    assert f"--grpc_channel_arguments={connections}" in server["args"]
    assert server["lifecycle"]["preStop"] == {"sleep": {"seconds": 15}}
    assert pod["terminationGracePeriodSeconds"] == 35


def test_a_cpu_limit_of_nothing_is_none() -> None:
    of = machine(cpu="0", cpuLimit="0")
    made = version_deployment(model_deployment(), version(3), "r", of, SETTINGS)["spec"]["template"]["spec"]
    assert not [flag for flag in made["containers"][0]["args"] if "parallelism" in flag]
    pod = training_pod(given("container"), Member(), 0, of, Sources(), SETTINGS)["spec"]
    for container in (made["containers"][0], *(each for each in pod["containers"] if each["name"] == "trainer")):
        assert "cpu" not in container["resources"]["limits"]


def test_only_agent_containers_hold_the_stores_key_and_only_sync_a_token() -> None:
    pod = training_pod(given("container"), Member(), 1, machine(), Sources(), SETTINGS)
    mounts = {
        container["name"]: {mount["name"] for mount in container["volumeMounts"]}
        for container in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    }
    assert {name for name, held in mounts.items() if names.OBJECT_STORE_SECRET in held} == {
        names.FETCH_CONTAINER,
        names.SYNC_CONTAINER,
    }
    assert {name for name, held in mounts.items() if "fovea-report" in held} == {names.SYNC_CONTAINER}
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_without_a_report_address_there_is_no_token() -> None:
    pod = training_pod(job(), Member(), 0, machine(), Sources(), Settings())
    assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]


def test_what_the_agents_share_is_out_of_reach_of_the_program() -> None:
    pod = training_pod(given("container"), Member(), 1, machine(), Sources(), SETTINGS)
    mounts = {
        container["name"]: {mount["mountPath"] for mount in container["volumeMounts"]}
        for container in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    }
    holders = {name for name, paths in mounts.items() if environment.AGENT_MOUNT in paths}
    assert holders == {names.FETCH_CONTAINER, names.SYNC_CONTAINER}
    assert environment.SYNC_READY.startswith(f"{environment.AGENT_MOUNT}/")


@pytest.mark.parametrize(
    ("user", "wanted"), [({"runAsUser": 4711}, 4711), ({}, 1000)], ids=["the program's user", "of an unknown user"]
)
def test_the_agents_run_as_the_programs_user_where_that_is_given(user: dict[str, int], wanted: int) -> None:
    pod = training_pod(
        job(trainer={"container": {"image": "a:1", **user}}), Member(), 1, machine(), Sources(), SETTINGS
    )
    contexts = [container["securityContext"] for container in pod["spec"]["initContainers"]]
    assert [(c["runAsUser"], c["runAsGroup"], c["readOnlyRootFilesystem"]) for c in contexts] == [
        (wanted, 1000, True)
    ] * 2


def test_a_job_says_itself_how_long_it_may_take_to_publish() -> None:
    given = job(runPolicy={"publishSeconds": 7200})
    pod = training_pod(given, Member(), 0, machine(), Sources(), SETTINGS)
    assert pod["spec"]["terminationGracePeriodSeconds"] == 7200
    assert "--grace-period=7200" in pod["spec"]["initContainers"][-1]["command"]
    suspended = job(RUNNING, suspend=True, runPolicy={"publishSeconds": 7200})
    (deletion,) = decide(observed(suspended, running())).deletions
    assert deletion.grace_seconds == 7200


def test_a_users_own_variables_win_over_cloud_mls() -> None:
    container = {"image": "a:1", "env": [{"name": "CLOUD_ML_JOB", "value": "mine"}]}
    pod = training_pod(job(trainer={"container": container}), Member(), 0, machine(), Sources(), SETTINGS)
    values = [v["value"] for v in pod["spec"]["containers"][0]["env"] if v["name"] == "CLOUD_ML_JOB"]
    assert values == ["mine"]


@pytest.mark.parametrize("path", ["/dev/shm", "/dev/shm/"])
def test_a_users_own_shared_memory_takes_the_place_of_the_machine_types(path: str) -> None:
    container = {
        "image": "a:1",
        "volumes": [{"name": "mine", "emptyDir": {"medium": "Memory"}}],
        "volumeMounts": [{"name": "mine", "mountPath": path}],
    }
    pod = training_pod(job(trainer={"container": container}), Member(), 0, GPU, Sources(), SETTINGS)
    mounted = [m["name"] for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"].startswith("/dev/shm")]
    assert mounted == ["mine"]
    assert "fovea-shared-memory" not in {volume["name"] for volume in pod["spec"]["volumes"]}


def test_an_upgrade_of_the_platform_does_not_change_a_versions_name() -> None:
    of, served = model_deployment(), version(3)
    before = version_deployment(of, served, revision(of, served), machine(), SETTINGS)
    after = version_deployment(of, served, revision(of, served), GPU, Settings(server_image="other:2"))
    assert before["metadata"]["name"] == after["metadata"]["name"] == f"digits-v3-{revision(of, served)}"


def test_another_machine_type_or_content_changes_a_versions_name() -> None:
    names_ = {revision(model_deployment(), version(3)), revision(model_deployment(machineType="large"), version(3))}
    names_.add(revision(model_deployment(), version(4)))
    assert len(names_) == 3


def test_every_derived_name_fits_a_label() -> None:
    longest = "a" * names.MAX_NAME
    of_version = names.version_deployment(longest, 999_999_999, revision(model_deployment(), version(1)))
    assert len(of_version) <= 63
    of = model_deployment()
    of = of.model_copy(update={"metadata": of.metadata.model_copy(update={"name": longest})})
    assert version_service(of, 999_999_999, of_version[-8:])["metadata"]["name"] == of_version
    assert len(names.training_pod(longest, names.ROLE_CHIEF, 0, 9999)) <= 63
