"""What the server makes of the devices that TensorFlow sees: on any machine, with the expectations that fit it."""

import os
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
from fovea_api.contract import environment
from support.model_server import Client, model_server, predict_request, publish

GPUS = len(tf.config.list_physical_devices("GPU"))
VISIBLE = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(GPUS))))}


def used_mebibytes() -> int:
    """Of all GPUs."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return sum(map(int, subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()))


@pytest.mark.parametrize("how", ["as in a pod", "by itself"])
def test_batches_fit_the_devices_and_memory_is_taken_as_it_is_needed(
    how: str, tmp_path: Path, saved_model: Path
) -> None:
    base = tmp_path / "models"
    publish(saved_model, base, 1)
    rows, runs = (128, 2) if GPUS else (32, max(2, len(os.sched_getaffinity(0)) // 2))
    before = used_mebibytes() if GPUS else 0
    given = environment.of_gpus(GPUS) if how == "as in a pod" else {}
    flags = ("--model_name=tiny", f"--model_base_path={base}", "--file_system_poll_wait_seconds=0")
    with model_server(tmp_path, *flags, env=VISIBLE | given) as server:
        said = f"TensorFlow sees {GPUS} GPUs and may use {len(os.sched_getaffinity(0))} cores: "
        assert f"{said}at most {rows} rows in a run, {runs} runs at once" in server.log
        client = Client(f"127.0.0.1:{server.port}")
        for count in (1, rows, 2 * rows):
            answer = client.predict(predict_request("half_plus_two", {"x": [2.0] * count}))
            assert answer["y"] == [3.0] * count
        if GPUS:
            # TensorFlow would take nearly all of the memory; CUDA's own part is some hundred MiB.
            assert used_mebibytes() - before < 4096


def test_a_share_of_the_memory_is_taken_where_the_flag_says_so(tmp_path: Path, saved_model: Path) -> None:
    base = tmp_path / "models"
    publish(saved_model, base, 1)
    before = used_mebibytes() if GPUS else 0
    flags = ("--model_name=tiny", f"--model_base_path={base}", "--per_process_gpu_memory_fraction=0.5")
    with model_server(tmp_path, *flags, env=VISIBLE) as server:
        assert Client(f"127.0.0.1:{server.port}").predict(predict_request("half_plus_two", {"x": [2.0]}))["y"] == [3.0]
        if GPUS:
            assert used_mebibytes() - before > 4096
