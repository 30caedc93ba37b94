"""Text protos and base paths: what TensorFlow Serving knows is known, and what cannot be served is said at once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fovea_serving.protocol.errors import ServingError
from fovea_serving.server import config_files, flags
from fovea_serving.server.flags import UsageError
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

EVERY_FIELD = """
max_batch_size { value: 64 } batch_timeout_micros { value: 5 } max_enqueued_batches { value: 3 }
num_batch_threads { value: 7 } thread_pool_name { value: "own" } allowed_batch_sizes: [8, 16]
pad_variable_length_inputs: true enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }
low_priority_max_batch_size { value: 1 } low_priority_batch_timeout_micros { value: 1 }
low_priority_max_enqueued_batches { value: 1 } low_priority_allowed_batch_sizes: 1
mixed_priority_policy { value: "priority_merge" } batch_padding_policy { value: "PAD_UP" }
"""


def batching(tmp_path: Path, text: str) -> config_files.BatchingSettings:
    file = tmp_path / "batching.config"
    file.write_text(text)
    return config_files.read_batching(str(file), config_files.BatchingSettings())


def test_every_field_of_the_batching_parameters_is_known_and_those_without_effect_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = batching(tmp_path, EVERY_FIELD)
    assert (found.most_rows, found.runners, found.pool_name) == (16, 7, "own")
    said = [record.getMessage().split(": ")[1].split()[0] for record in caplog.records]
    assert sorted(said) == [
        "allowed_batch_sizes", "batch_padding_policy", "low_priority_allowed_batch_sizes",
        "low_priority_batch_timeout_micros", "low_priority_max_batch_size", "low_priority_max_enqueued_batches",
        "mixed_priority_policy", "pad_variable_length_inputs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("max_batch_size { value: 64 } enable_large_batch_splitting { value: false }", 64),
        ("max_batch_size { value: 64 } enable_large_batch_splitting { value: true }", 64),
        ("max_batch_size { value: 64 } max_execution_batch_size { value: 16 }", 64),
        ("max_batch_size { value: 64 } enable_large_batch_splitting { value: true } "
         "max_execution_batch_size { value: 16 }", 16),
    ],
)  # fmt: skip
def test_where_requests_are_split_a_batch_has_the_rows_of_an_execution(tmp_path: Path, text: str, rows: int) -> None:
    assert batching(tmp_path, text).most_rows == rows


def test_an_unknown_field_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'batching.config: Invalid protobuf file: .* no field named "max_batchsize"'):
        batching(tmp_path, "max_batchsize { value: 4 }")


def models(text: str) -> list[config_files.ModelSettings]:
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return config_files.models_of(config)


def test_every_field_of_a_model_is_known_and_that_requests_are_not_logged_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = """model_config_list { config { name: "logged" base_path: "/m" model_type: TENSORFLOW model_platform: "tensorflow"
      model_version_policy { latest { num_versions: 2 } } version_labels { key: "stable" value: 1 }
      logging_config { sampling_config { sampling_rate: 0.1 } } } }"""
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            (model,) = models(text)
    assert (model.name, model.base_path, model.labels) == ("logged", Path("/m"), (("stable", 1),))
    assert [record.getMessage() for record in caplog.records] == [
        "Model logged: logging_config has no effect here: requests are not logged"
    ]


@pytest.mark.parametrize(
    "written", ["/models/模型", "file:///models/模型", "file://localhost/models/模型", "FILE:///models/模型"]
)
def test_a_base_path_may_be_a_file_address(written: str) -> None:
    assert models(f'model_config_list {{ config {{ name: "m" base_path: "{written}" }} }}')[0].base_path == Path(
        "/models/模型"
    )
    from fovea_serving.server.process import _model_settings

    settings, _ = flags.parse([f"--model_base_path={written}"], {})
    assert _model_settings(settings)[0].base_path == Path("/models/模型")


REMOTE = ["s3://bucket/models/m", "gs://bucket/m", "hdfs://name:9000/m", "https://host/m", "S3://bucket"]


@pytest.mark.parametrize("address", REMOTE)
def test_a_base_path_that_is_no_folder_is_refused_at_once_and_says_what_to_do(address: str) -> None:
    scheme = address.partition(":")[0]
    text = (
        f"Model m: base path {address} cannot be read: this server reads folders, no {scheme}:// addresses. Copy the "
        "model to a folder first (a ModelDeployment of Fovea does so) and give that folder's path"
    )
    with pytest.raises(ServingError) as caught:
        models(f'model_config_list {{ config {{ name: "m" base_path: "{address}" }} }}')
    assert caught.value.message == text
    with pytest.raises(UsageError) as refused:
        flags.parse(["--model_name=m", f"--model_base_path={address}"], {})
    assert str(refused.value) == f"--model_base_path={address}: {text}"


def test_a_file_address_of_another_machine_is_refused_with_the_likely_meaning() -> None:
    with pytest.raises(
        UsageError, match=r"names the host 'models', .* for the folder /models/m write file:///models/m"
    ):
        flags.parse(["--model_base_path=file://models/m"], {})
