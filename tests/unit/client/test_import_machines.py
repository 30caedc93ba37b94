"""The machine types of an imported job: what amounts of resources and names of machines become."""

from typing import Any

import pytest
from fovea.sdk.importing.imported import imported
from fovea.sdk.importing.options import Options
from support.import_sources import custom, hosted, of_pod, tfjob


@pytest.mark.parametrize("tier", ["BASIC", "BASIC_GPU", "STANDARD_1", "PREMIUM_1"])
def test_a_scale_tier_keeps_its_name_and_names_its_machine_types(tier: str) -> None:
    done = imported(hosted(scaleTier=tier))
    assert done.manifest["spec"]["scaleTier"] == tier
    expected = {
        "BASIC": [],
        "BASIC_GPU": ["standard-gpu"],
        "STANDARD_1": ["complex-model-s", "standard"],
        "PREMIUM_1": ["complex-model-m", "large-model"],
    }
    assert [one.name for one in done.machines] == expected[tier]


@pytest.mark.parametrize(
    ("resources", "machine", "guessed"),
    [
        ({"requests": {"cpu": 2, "memory": "4Gi"}}, {"cpu": "2", "memory": "4Gi"}, ()),
        ({"limits": {"cpu": "500m", "memory": "1Gi"}}, {"cpu": "500m", "cpuLimit": "500m", "memory": "1Gi"}, ()),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}, {"cpu": "1", "memory": "2Gi"}, ("cpu",)),
        ({"requests": {"cpu": 0.5, "memory": 2e9}}, {"cpu": "0.5", "memory": "2000000000"}, ()),
        ({"requests": {"cpu": 1, "memory": "1e9"}}, {"cpu": "1", "memory": "1000000000"}, ()),
        (
            {"limits": {"nvidia.com/gpu": "2"}},
            {"cpu": "1", "memory": "4Gi", "gpus": {"count": 2}},
            ("cpu", "memory"),
        ),
        (
            {"limits": {"nvidia.com/gpu": 1}, "requests": {"nvidia.com/gpu": 1, "cpu": 1, "memory": "1Gi"}},
            {"cpu": "1", "memory": "1Gi", "gpus": {"count": 1}},
            (),
        ),
        (
            {"limits": {"example.com/nic": 1, "amd.com/gpu": 1, "cpu": 1, "memory": "1Gi"}},
            {"cpu": "1", "cpuLimit": "1", "memory": "1Gi", "gpus": {"count": 1, "resource": "amd.com/gpu"}},
            (),
        ),
    ],
)
def test_resources_are_amounts_of_a_machine_type(
    resources: dict[str, Any], machine: dict[str, Any], guessed: tuple[str, ...]
) -> None:
    done = imported(of_pod({"resources": resources}))
    (needed,) = done.machines
    assert (needed.spec, needed.guessed) == (machine, guessed)
    assert done.manifest["spec"]["roles"] == {"chief": {"machineType": needed.name}}


@pytest.mark.parametrize("resources", [{}, {"limits": {"nvidia.com/gpu": 0}}, {"requests": {}}])
def test_a_pod_without_amounts_and_placement_has_the_default_machine_type(resources: dict[str, Any]) -> None:
    done = imported(of_pod({"resources": resources}))
    assert done.machines == ()
    assert "roles" not in done.manifest["spec"]


def test_machine_types_are_named_by_what_they_offer_so_that_equal_jobs_share_them() -> None:
    amounts = {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"nvidia.com/gpu": 1}}
    plain = imported(of_pod({"resources": amounts})).machines[0].name
    placed = imported(of_pod({"resources": amounts}, nodeSelector={"disk": "ssd"})).machines[0].name
    elsewhere = imported(of_pod({"resources": amounts}, nodeSelector={"disk": "hdd"})).machines[0].name
    assert plain == "2cpu-8gi-1gpu"
    assert len({plain, placed, elsewhere}) == 3


def test_a_machine_type_that_the_user_names_is_used_and_not_suggested() -> None:
    job = tfjob({"Worker": 2})
    done = imported(job, Options(machine_types={"chief": "large", "worker": "small"}))
    assert done.manifest["spec"]["roles"] == {
        "chief": {"machineType": "large"},
        "worker": {"count": 1, "machineType": "small"},
    }
    assert [one.manifest() for one in done.machines] == [None, None]


@pytest.mark.parametrize(
    ("source", "name", "spec"),
    [
        ({"masterType": "n1-highmem-4"}, "n1-highmem-4", {"cpu": "4", "memory": "26Gi"}),
        ({"masterType": "n1-highcpu-16"}, "n1-highcpu-16", {"cpu": "16", "memory": "14745Mi"}),
        ({"masterType": "a2-highgpu-2g"}, "a2-highgpu-2g", {"cpu": "24", "memory": "170Gi", "gpus": {"count": 2}}),
        (
            {"masterType": "complex_model_m_gpu"},
            "complex-model-m-gpu",
            {"cpu": "16", "memory": "60Gi", "gpus": {"count": 4}},
        ),
        ({"masterType": "cloud_special"}, "cloud-special", None),
    ],
)
def test_machine_types_of_cloud_ml_become_machine_types_of_the_same_name(
    source: dict[str, Any], name: str, spec: dict[str, Any] | None
) -> None:
    (machine,) = imported(custom(**source)).machines
    assert (machine.name, machine.spec) == (name, spec)
