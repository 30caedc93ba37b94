"""Sources of which no TrainingJob can be made: the error names the field, its value and what to do."""

from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk.importing.imported import imported
from fovea.sdk.importing.options import Options
from support.import_sources import INPUT, custom, hosted, of_pod, tfjob

REFUSED: dict[str, tuple[Any, str]] = {
    "a PyTorchJob": (
        {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"},
        "kind PyTorchJob of kubeflow.org/v1: TFJ",
    ),
    "a TFJob of another version": ({"apiVersion": "kubeflow.org/v1beta1", "kind": "TFJob"}, "only kubeflow.org/v1 is"),
    "a TFJob of nobody": ({"kind": "TFJob"}, "kind TFJob of (no apiVersion)"),
    "a TrainingJob": ({"apiVersion": "fovea.dev/v1alpha1", "kind": "TrainingJob"}, "already: submit it with `fovea"),
    "a batch prediction": ({"jobId": "x", "predictionInput": {"modelName": "m"}}, "predictionInput is a batch predict"),
    "something else": ({"name": "x"}, "neither a TFJob"),
    "a list": ([tfjob()], "it holds a list, not a TFJob"),
    "no roles": (tfjob({}), "spec.tfReplicaSpecs has neither Chief nor Worker"),
    "no spec": ({"apiVersion": "kubeflow.org/v1", "kind": "TFJob"}, "spec.tfReplicaSpecs is missing"),
    "roles without pods": (tfjob({"Worker": 0}), "spec.tfReplicaSpecs has neither Chief nor Worker with pods"),
    "a chief and a master": (
        tfjob({"Chief": 1, "Master": 1}),
        "spec.tfReplicaSpecs.Master and Chief are the same role",
    ),
    "two chiefs": (tfjob({"Chief": 2, "Worker": 1}), "spec.tfReplicaSpecs.Chief.replicas is 2: a job has at most one"),
    "two evaluators": (
        tfjob({"Worker": 1, "Evaluator": 2}),
        "Evaluator.replicas is 2: a job has at most one evaluator",
    ),
    "servers without workers": (tfjob({"Chief": 1, "PS": 1}), "parameter servers and no workers: a TrainingJob with"),
    "servers alone": (tfjob({"PS": 1}), "has neither Chief nor Worker with pods"),
    "too many workers": (
        tfjob({"Worker": 66}),
        "spec.tfReplicaSpecs.Worker.replicas is 66: a TrainingJob has at most 64 pods of role worker, one more as the chief; lower",
    ),
    "too many workers beside a chief": (
        tfjob({"Chief": 1, "Worker": 65}),
        "spec.tfReplicaSpecs.Worker.replicas is 65: a TrainingJob has at most 64 pods of role worker; lower the number",
    ),
    "too many servers": (
        tfjob({"Worker": 2, "PS": 33}),
        "spec.tfReplicaSpecs.PS.replicas is 33: a TrainingJob has at most 32 pods of role ps; lower the number",
    ),
    "too many workers of Cloud ML": (
        custom(workerType="standard", workerCount="65"),
        "trainingInput.workerCount is 65: a TrainingJob has at most 64 pods of role worker; lower the number",
    ),
    "an unknown role": (tfjob({"Launcher": 1}), "spec.tfReplicaSpecs.Launcher is no role of a TFJob"),
    "a number that is none": (tfjob({"Worker": {"replicas": "two"}}), "replicas is 'two', a whole number is expected"),
    "a negative number": (tfjob({"Worker": -1}), "replicas is -1, a whole number is expected"),
    "a policy that is none": (tfjob({"Worker": {"restartPolicy": "Sometimes"}}), "'Sometimes', one of Always, OnFail"),
    "a role without pods' template": (tfjob({"Worker": {"template": None}}), "Worker has no template"),
    "a role that is a text": (
        tfjob() | {"spec": {"tfReplicaSpecs": {"Worker": "one"}}},
        "is 'one', a mapping is expec",
    ),
    "two programs": (
        of_pod(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]),
        "holds 2 containers, 0 of them named tensorflow",
    ),
    "no program": (of_pod(containers=[]), "has no containers: write the program's container"),
    "no image": (of_pod(containers=[{"name": "tensorflow"}]), "containers[0] has no image"),
    "an amount that is none": (of_pod({"resources": {"limits": {"memory": "much"}}}), "'much', a quantity is expected"),
    "half a GPU": (of_pod({"resources": {"limits": {"nvidia.com/gpu": "500m"}}}), "a pod has 1 to 64 accelerators"),
    "a command of mappings": (of_pod({"command": [{"a": 1}]}), "command[0] is {'a': 1}, a text is expected"),
    "too many arguments": (of_pod({"args": ["x"] * 129}), "spec.trainer.container.args: List should have at most 128"),
    "a TPU tier": (
        hosted(scaleTier="BASIC_TPU"),
        "trainingInput.scaleTier is 'BASIC_TPU': a TrainingJob has the tiers",
    ),
    "a TPU": (
        custom(masterConfig={"acceleratorConfig": {"type": "TPU_V2", "count": 8}, "imageUri": "x"}),
        "acceleratorConfig.type is 'TPU_V2': Fovea trains on CPUs and GPUs",
    ),
    "a custom tier without a master": (hosted(scaleTier="CUSTOM"), "masterType is missing: scaleTier CUSTOM names"),
    "workers without a machine": (
        custom(workerCount=2),
        "trainingInput.workerCount has no machine type beside it: add",
    ),
    "servers of Cloud ML alone": (
        custom(parameterServerType="standard", parameterServerCount=1),
        "parameter servers and no workers",
    ),
    "two evaluators of Cloud ML": (
        custom(evaluatorType="standard", evaluatorCount="2"),
        "trainingInput.evaluatorCount is 2: a job has at most one evaluator",
    ),
    "a package without an image": (
        {
            "jobId": "a",
            "trainingInput": {
                "scaleTier": "BASIC",
                "pythonModule": "trainer.task",
                "packageUris": ["gs://b/trainer.tar.gz"],
                "runtimeVersion": "2.11",
            },
        },
        "module trainer.task has no image, and a TrainingJob runs one: build an image FROM tensorflow/tensorflow:2.11.0 (or a newer "
        "version) with gs://b/trainer.tar.gz installed by pip",
    ),
    "no name": ({"trainingInput": INPUT}, "the source has no name for the job: pass --name NAME"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported_is_refused_with_field_value_and_next_step(case: str) -> None:
    source, message = REFUSED[case]
    with pytest.raises(InvalidError) as refused:
        imported(source)
    assert message in str(refused.value)


def test_a_document_that_holds_itself_is_refused() -> None:
    job = tfjob()
    job["spec"]["more"] = job
    with pytest.raises(InvalidError, match="levels deep, or holds itself"):
        imported(job)


def test_a_machine_type_for_a_scale_tier_is_refused() -> None:
    with pytest.raises(InvalidError, match="--machine-type goes with scaleTier CUSTOM, the input has BASIC"):
        imported(hosted(), Options(machine_types={"chief": "large"}))
