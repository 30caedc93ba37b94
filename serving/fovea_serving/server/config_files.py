"""The text protos the command line may name: models, batching, monitoring, TLS."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from fovea_serving.protocol.errors import invalid_argument
from fovea_serving.protocol.metrics import PATH
from fovea_serving.server.batching import BatchingSettings
from fovea_serving.server.flags import UsageError
from fovea_serving.server.lifecycle import ModelSettings
from fovea_serving.server.paths import base_path
from fovea_serving.server.versions import Every, Latest, Policy, Specific

log = logging.getLogger(__name__)

PLATFORM: Final = "tensorflow"

_Field = descriptor_pb2.FieldDescriptorProto
# Messages whose generated code the published API does not have; only the names matter to a text proto.
_MESSAGES: Final[dict[str, list[tuple[str, str, bool]]]] = {
    "PrometheusConfig": [("enable", "bool", False), ("path", "string", False)],
    "MonitoringConfig": [("prometheus_config", "PrometheusConfig", False)],
    "SSLConfig": [
        ("server_key", "string", False),
        ("server_cert", "string", False),
        ("custom_ca", "string", False),
        ("client_verify", "bool", False),
    ],
    "BatchingParameters": [
        ("max_batch_size", ".google.protobuf.Int64Value", False),
        ("batch_timeout_micros", ".google.protobuf.Int64Value", False),
        ("max_enqueued_batches", ".google.protobuf.Int64Value", False),
        ("num_batch_threads", ".google.protobuf.Int64Value", False),
        ("thread_pool_name", ".google.protobuf.StringValue", False),
        ("allowed_batch_sizes", "int64", True),
        ("pad_variable_length_inputs", "bool", False),
        ("enable_large_batch_splitting", ".google.protobuf.BoolValue", False),
        ("max_execution_batch_size", ".google.protobuf.Int64Value", False),
        # What the runtime's own batching knows beside these, under its names.
        ("low_priority_max_batch_size", ".google.protobuf.Int64Value", False),
        ("low_priority_batch_timeout_micros", ".google.protobuf.Int64Value", False),
        ("low_priority_max_enqueued_batches", ".google.protobuf.Int64Value", False),
        ("low_priority_allowed_batch_sizes", "int64", True),
        ("mixed_priority_policy", ".google.protobuf.StringValue", False),
        ("batch_padding_policy", ".google.protobuf.StringValue", False),
    ],
}
_UNUSED: Final[dict[str, str]] = {
    "allowed_batch_sizes": "a batch has the rows that are waiting",
    "pad_variable_length_inputs": "only rows of one shape run together",
    "low_priority_max_batch_size": "requests have no priorities",
    "low_priority_batch_timeout_micros": "requests have no priorities",
    "low_priority_max_enqueued_batches": "requests have no priorities",
    "low_priority_allowed_batch_sizes": "requests have no priorities",
    "mixed_priority_policy": "requests have no priorities",
    "batch_padding_policy": "a batch has the rows that are waiting",
}
"""Fields of BatchingParameters that are accepted, and why they do nothing here."""

_PRIMITIVES: Final = {"bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64}


@cache
def _message(name: str) -> Any:
    package = "fovea.serving.config"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="fovea/serving/config.proto", package=package, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (field, kind, repeated) in enumerate(fields, start=1):
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, label=label)
            if kind in _PRIMITIVES:
                added.type = _PRIMITIVES[kind]
            else:
                added.type = _Field.TYPE_MESSAGE
                added.type_name = kind if kind.startswith(".") else f".{package}.{kind}"
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _read(flag: str, path: str, message: Any) -> Any:
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--{flag}={path}: {error}") from error
    except text_format.ParseError as error:
        raise UsageError(f"--{flag}={path}: Invalid protobuf file: {error}") from error


@cache
def _say(text: str) -> None:
    """Log once: a file that is followed is read again and again."""
    log.info("%s", text)


def models_of(config: Any) -> list[ModelSettings]:
    """Models of a ModelServerConfig; raises ServingError naming the entry that cannot be served."""
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    found: dict[str, ModelSettings] = {}
    for entry in config.model_config_list.config:
        if entry.name in found:
            raise invalid_argument(f"Illegal to list model {entry.name} multiple times in config list")
        try:
            folder = base_path(entry.name, entry.base_path)
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        if not folder.is_absolute():
            raise invalid_argument(
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
            )
        if entry.model_platform not in ("", PLATFORM):
            raise invalid_argument(f"Model {entry.name} has platform {entry.model_platform}: only {PLATFORM} is served")
        if entry.HasField("logging_config"):
            _say(f"Model {entry.name}: logging_config has no effect here: requests are not logged")
        labels = tuple(sorted(entry.version_labels.items()))
        found[entry.name] = ModelSettings(entry.name, folder, _policy(entry), labels)
    return list(found.values())


def _policy(entry: Any) -> Policy:
    policy = entry.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return Every()
    if choice == "specific":
        if not policy.specific.versions:
            raise invalid_argument(f"Model {entry.name}: the policy specific must list at least one version")
        return Specific(frozenset(policy.specific.versions))
    return Latest(policy.latest.num_versions or 1)


def read_models(path: str) -> list[ModelSettings]:
    """Models of --model_config_file; raises UsageError or ServingError."""
    return models_of(_read("model_config_file", path, model_server_config_pb2.ModelServerConfig()))


def read_batching(path: str, default: BatchingSettings) -> BatchingSettings:
    """--batching_parameters_file on top of the defaults."""
    if not path:
        return default
    message = _read("batching_parameters_file", path, _message("BatchingParameters")())

    def number(field: str, otherwise: int) -> int:
        value = int(getattr(message, field).value) if message.HasField(field) else otherwise
        if value < (0 if field == "batch_timeout_micros" else 1):
            raise UsageError(f"--batching_parameters_file={path}: {field} is {value}, too small")
        return value

    for field, _ in message.ListFields():
        if field.name in _UNUSED:
            _say(f"--batching_parameters_file={path}: {field.name} has no effect here: {_UNUSED[field.name]}")
    # Where a request may be split, max_batch_size bounds a request; here a larger one always runs, alone.
    split = message.enable_large_batch_splitting.value and message.HasField("max_execution_batch_size")
    rows = number("max_execution_batch_size" if split else "max_batch_size", default.most_rows)
    batches = number("max_enqueued_batches", 1) if message.HasField("max_enqueued_batches") else None
    return replace(
        default,
        most_rows=rows,
        runners=number("num_batch_threads", default.runners),
        most_waiting_rows=None if batches is None else rows * batches,
        wait_seconds=number("batch_timeout_micros", 0) / 1e6,
        pool_name=message.thread_pool_name.value or default.pool_name,
    )


def read_metrics_path(path: str) -> str | None:
    """Where metrics are served: the usual path, the path of --monitoring_config_file, or None when it says no."""
    if not path:
        return PATH
    config = _read("monitoring_config_file", path, _message("MonitoringConfig")()).prometheus_config
    return (config.path or PATH) if config.enable else None


def read_tls(path: str) -> Any:
    """SSLConfig of --ssl_config_file (server_key, server_cert, custom_ca, client_verify), or None."""
    if not path:
        return None
    config = _read("ssl_config_file", path, _message("SSLConfig")())
    needed = ("server_key", "server_cert", *(("custom_ca",) if config.client_verify else ()))
    if missing := [name for name in needed if not getattr(config, name)]:
        why = " (client_verify checks clients' certificates against custom_ca)" if "custom_ca" in missing else ""
        raise UsageError(f"--ssl_config_file={path}: {' and '.join(missing)} must be given as PEM{why}")
    return config
