"""The GPUs that TensorFlow sees beside those that the machine type promises: what a run says of them, and when it ends."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fovea_api.contract import exit_codes
from fovea_trainers.errors import CpuImage, HiddenGpus, NoGpu, TrainerError
from fovea_trainers.runtime import devices

A100 = {"device_name": "NVIDIA A100-SXM4-40GB", "compute_capability": (8, 0)}
T4 = {"device_name": "Tesla T4", "compute_capability": (7, 5)}
OTHER: dict[str, Any] = {"device_name": "AMD Instinct MI210"}
LISTED = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)\nGPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2)\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets what TensorFlow sees, and what the driver's tool lists; None: it is not there."""

    def has(*seen: dict[str, Any], cuda: bool = True, listed: str | None = None, **environ: str) -> None:
        config = SimpleNamespace(
            list_physical_devices=lambda _kind: list(seen), experimental=SimpleNamespace(get_device_details=dict)
        )
        test = SimpleNamespace(is_built_with_cuda=lambda: cuda)
        monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config, test=test))
        if listed is not None:
            (tmp_path / "listed").write_text(listed, encoding="utf-8")
            program = tmp_path / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/listed\n", encoding="utf-8")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)

    yield has
    devices.held_by_others.cache_clear()


def test_a_run_says_which_gpus_it_got(machine, capfd):
    machine(A100, T4)
    assert [gpu.name for gpu in devices.gpus(2)] == ["NVIDIA A100-SXM4-40GB", "Tesla T4"]
    said = capfd.readouterr().err
    assert said.rstrip().endswith(
        "devices: 2 GPUs: NVIDIA A100-SXM4-40GB (compute capability 8.0), Tesla T4 (compute capability 7.5)"
    )
    machine(OTHER)
    assert [gpu.capability for gpu in devices.gpus(1)] == [()]
    assert capfd.readouterr().err.rstrip().endswith("devices: 1 GPU: AMD Instinct MI210")


def test_a_run_without_gpus_says_so(machine, capfd):
    machine()
    assert devices.gpus(0) == []
    assert "cores, no GPU" in capfd.readouterr().err


def test_gpus_that_nobody_promised_are_used(machine):
    machine(A100)
    assert len(devices.gpus(0)) == 1


MISSING = {
    "a TensorFlow without CUDA": ((), {"cuda": False}, CpuImage, "has 2 GPUs, but TensorFlow finds none.*images.trainerGpu"),
    "no driver": ((), {}, NoGpu, "has 2 GPUs, but TensorFlow finds none: nvidia-smi does not run.*device plugin"),
    "a driver that lists one": ((A100,), {"listed": LISTED.splitlines()[0]}, NoGpu, "finds 1: nvidia-smi lists 1, too"),
    "a driver that lists none": ((), {"listed": "No devices found\n"}, NoGpu, "nvidia-smi lists none, too"),
    "a driver that lists all": ((), {"listed": LISTED}, NoGpu, "nvidia-smi lists 2, so the driver works: the lines above"),
    "a variable that hides one": (
        (A100,), {"CUDA_VISIBLE_DEVICES": "0"}, HiddenGpus, "finds 1: CUDA_VISIBLE_DEVICES=0 hides the others. Remove",
    ),
    "a variable that hides all": ((), {"CUDA_VISIBLE_DEVICES": "-1"}, HiddenGpus, "finds none: CUDA_VISIBLE_DEVICES=-1"),
    "an empty variable": ((), {"CUDA_VISIBLE_DEVICES": ""}, HiddenGpus, "CUDA_VISIBLE_DEVICES= hides"),
    "a variable that hides none": ((A100,), {"CUDA_VISIBLE_DEVICES": "0,1"}, NoGpu, "nvidia-smi does not run"),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "more", "error", "words"), MISSING.values(), ids=MISSING.keys())
def test_a_run_with_fewer_gpus_than_promised_ends_and_says_where_to_look(machine, seen, more, error, words):
    machine(*seen, **more)
    with pytest.raises(TrainerError, match=words) as raised:
        devices.gpus(2)
    assert type(raised.value) is error
    assert raised.value.exit_code == (exit_codes.RESTART if error is NoGpu else 1)


@pytest.mark.parametrize("details", [A100, OTHER])
def test_a_gpu_with_bfloat16_or_of_another_kind_takes_mixed_precision(machine, details):
    machine(details)
    devices.require_bfloat16(devices.gpus(1))


def test_an_older_gpu_refuses_mixed_precision(machine):
    machine(A100, T4)
    with pytest.raises(TrainerError, match=r"--mixed-precision .* Tesla T4 \(compute capability 7.5\) does not know"):
        devices.require_bfloat16(devices.gpus(2))
