"""The command line of `tensorflow_model_server`, read the way TensorFlow Serving reads it.

Settings        flags that do something here, with their defaults
NO_EFFECT       flags that are accepted because the other server has them, and why they do nothing here
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fovea_api.contract import environment, names

from fovea_serving.server.paths import base_path


class UsageError(ValueError):
    """A command line that cannot be followed; the text says which flag and what to do."""


_ANY: Final = (-math.inf, math.inf)
_PORTS: Final = (0, 65_535)
_FROM_0: Final = (0, 2**31 - 1)
_FROM_1: Final = (1, 2**31 - 1)
_SECONDS: Final = (0, 86_400)


def _flag(default: Any, text: str, environ: str = "", *, within: tuple[float, float] = _ANY) -> Any:
    return field(default=default, metadata={"help": text, "environ": environ, "within": within})


@dataclass(frozen=True, slots=True)
class Settings:
    """Values of the flags; a field's name is its flag's."""

    port: int = _flag(names.GRPC_PORT, "TCP port of the gRPC API; 0: only the UNIX socket", within=_PORTS)
    grpc_socket_path: str = _flag("", "UNIX socket on which the gRPC API listens as well")
    rest_api_port: int = _flag(0, "TCP port of the REST API; 0: none", within=_PORTS)
    model_name: str = _flag("default", "name of the model (not with --model_config_file)")
    model_base_path: str = _flag("", "folder of the model's versions, or file://FOLDER (not with --model_config_file)")
    model_config_file: str = _flag("", "text proto ModelServerConfig: several models, version policies, labels")
    model_config_file_poll_wait_seconds: int = _flag(
        0, "seconds between looks at the model config file; 0: once", within=_FROM_0
    )
    file_system_poll_wait_seconds: int = _flag(1, "seconds between looks for new versions; 0: once", within=_FROM_0)
    allow_version_labels_for_unavailable_models: bool = _flag(False, "new labels may name versions not loaded yet")
    max_num_load_retries: int = _flag(5, "how often a failed load is tried again", within=_FROM_0)
    load_retry_interval_micros: int = _flag(60_000_000, "microseconds between these tries; 0 or less: none")
    num_load_threads: int = _flag(0, "threads that load models; 0: four for each core", within=_FROM_0)
    enable_batching: bool = _flag(True, "run requests that wait at the same moment together")
    batching_parameters_file: str = _flag("", "text proto BatchingParameters")
    row_wise_signatures: str = _flag(
        "",
        "Fovea only: comma-separated signatures (*: all) whose requests may share a run though the server cannot prove "
        "it: row i of each output must depend on row i of the inputs only, else callers get each other's answers",
    )
    enable_model_warmup: bool = _flag(True, "replay the model's warm-up records before it answers")
    num_request_iterations_for_warmup: int = _flag(1, "how often each warm-up record is replayed; 0 or less: once")
    saved_model_tags: str = _flag("serve", "comma-separated tags of the graph to load")
    tensorflow_session_parallelism: int = _flag(
        0, "threads of a session, both kinds; 0: by the number of cores", within=_FROM_0
    )
    tensorflow_intra_op_parallelism: int = _flag(
        0, "threads within an operation; 0: by the number of cores", within=_FROM_0
    )
    tensorflow_inter_op_parallelism: int = _flag(
        0, "operations at once; 0: by the number of cores; less: on the thread that runs the session"
    )
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "share of the GPU's memory, taken at once; 0: as much as is needed", within=(0, 1)
    )
    rest_api_timeout_in_ms: int = _flag(30_000, "deadline of a REST request; 0 or less: none")
    rest_api_enable_cors_support: bool = _flag(False, "answer with CORS headers for any origin")
    rest_api_max_body_bytes: int = _flag(64 * 2**20, "Fovea only: longest body of a REST request", within=_FROM_1)
    rest_api_max_body_values: int = _flag(
        1_000_000, "Fovea only: most values (commas and brackets) in the body of a REST request", within=_FROM_1
    )
    max_waiting_bytes: int = _flag(
        512 * 2**20,
        "Fovea only: bytes of requests that wait or run, over both ports; more are answered UNAVAILABLE",
        within=_FROM_1,
    )
    monitoring_config_file: str = _flag("", "text proto MonitoringConfig; without it metrics are at the usual path")
    enable_grpc_healthcheck_service: bool = _flag(True, "serve grpc.health.v1")
    grpc_channel_arguments: str = _flag("", "comma-separated name=value arguments of the gRPC server")
    ssl_config_file: str = _flag("", "text proto SSLConfig: TLS for the gRPC API")
    enable_serialization_as_tensor_content: bool = _flag(False, "send numbers as raw bytes, not as repeated fields")
    enable_signature_method_name_check: bool = _flag(False, "Classify and Regress ask for the signature's method name")
    drain_seconds: float = _flag(
        30.0,
        "Fovea only: how long requests may take to end after SIGTERM",
        environment.MODEL_SERVER_DRAIN_SECONDS,
        within=_SECONDS,
    )
    linger_seconds: float = _flag(
        0.0,
        "Fovea only: how long new connections are still taken after SIGTERM",
        environment.MODEL_SERVER_LINGER_SECONDS,
        within=_SECONDS,
    )
    wait_for_model: bool = _flag(
        False,
        "Fovea only: start without a version, and look for one all the time until the first is there",
        environment.MODEL_SERVER_WAITS,
    )
    version: bool = _flag(False, "print versions and exit")
    help: bool = _flag(False, "print this and exit")


_LOOP: Final = "one event loop serves all connections"
_ONE_SESSION: Final = "sessions are made from the parallelism flags"

NO_EFFECT: Final[Mapping[str, tuple[type, str]]] = {
    "rest_api_num_threads": (int, _LOOP),
    "grpc_max_threads": (int, _LOOP),
    "num_unload_threads": (int, "loads never wait for unloads"),
    "flush_filesystem_caches": (bool, "the page cache is left to the kernel"),
    "enable_per_model_batching_parameters": (bool, "one set of batching parameters holds for all models"),
    "tensorflow_session_config_file": (str, _ONE_SESSION),
    "platform_config_file": (str, _ONE_SESSION),
    "enable_profiler": (bool, "no profiler is served"),
    "thread_pool_factory_config_file": (str, "the runtime's own thread pools are used"),
    "mixed_precision": (str, "the model's own types are used"),
    "xla_cpu_compilation_enabled": (bool, "XLA is not forced"),
    "xla_gpu_compilation_enabled": (bool, "XLA is not forced"),
    "prefer_tflite_model": (bool, "SavedModels only"),
    "num_tflite_interpreters_per_pool": (int, "SavedModels only"),
    "num_tflite_pools": (int, "SavedModels only"),
    "use_tflite_model": (bool, "SavedModels only"),
    "enable_tflite_model": (bool, "SavedModels only"),
    "use_alts_credentials": (bool, "TLS by --ssl_config_file or plain text"),
    "remove_unused_fields_from_bundle_metagraph": (bool, "nothing of the graph is dropped"),
    "skip_initialize_tpu": (bool, "no TPU"),
    "enable_cors_support": (bool, "use --rest_api_enable_cors_support"),
    "response_tensors_serialization_option": (str, "use --enable_serialization_as_tensor_content"),
}

_TRUE: Final = frozenset({"true", "1", "t", "y", "yes"})
_FALSE: Final = frozenset({"false", "0", "f", "n", "no"})


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Settings of a command line (without the program's name), and what to log about flags without effect.

    `--flag=value`, `--flag value` and, for booleans, `--flag` are understood; raises UsageError.
    """
    own = {one.name: one for one in dataclasses.fields(Settings)}
    known = {name: type(one.default) for name, one in own.items()} | {
        name: kind for name, (kind, _) in NO_EFFECT.items()
    }
    values: dict[str, Any] = {}
    notes: list[str] = []
    for one in own.values():
        variable = one.metadata["environ"]
        if variable and environ.get(variable):
            values[one.name] = _bounded(variable, one, environ[variable])
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, text = _split(argument, known)
        if text is None:
            text = _following(name, known[name], rest)
        if name in NO_EFFECT:
            _value(f"--{name}", known[name], text)
            notes.append(f"--{name}={text} has no effect here: {NO_EFFECT[name][1]}")
        else:
            values[name] = _bounded(f"--{name}", own[name], text)
    settings = Settings(**values)
    _check(settings)
    return settings, notes


def _split(argument: str, known: Mapping[str, type]) -> tuple[str, str | None]:
    if not argument.startswith("--"):
        raise UsageError(f"unexpected argument {argument!r}: every argument is a flag (--name=value)")
    name, equals, text = argument[2:].partition("=")
    if name not in known:
        near = difflib.get_close_matches(name.replace("-", "_"), known, n=1, cutoff=0.7)
        hint = f"; did you mean --{near[0]}?" if near else "; --help lists all flags"
        raise UsageError(f"unknown flag --{name}{hint}")
    return name, text if equals else None


def _following(name: str, kind: type, rest: list[str]) -> str:
    """Value of a flag written without `=`."""
    if kind is bool:
        return rest.pop(0) if rest and rest[0].lower() in _TRUE | _FALSE else "true"
    if not rest:
        raise UsageError(f"flag --{name} needs a value: --{name}=...")
    return rest.pop(0)


def _value(name: str, kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise UsageError(f"{name}={text}: expected true or false")
        return text.lower() in _TRUE
    if kind is str:
        return text
    try:
        return kind(text)
    except ValueError:
        wanted = "an integer" if kind is int else "a number"
        raise UsageError(f"{name}={text}: expected {wanted}") from None


def _bounded(name: str, one: dataclasses.Field[Any], text: str) -> Any:
    value, (least, most) = _value(name, type(one.default), text), one.metadata["within"]
    if type(value) in (int, float) and not least <= value <= most:
        raise UsageError(f"{name}={text}: must be from {least} to {most}")
    return value


def _check(settings: Settings) -> None:
    if settings.version or settings.help:
        return
    if not settings.model_base_path and not settings.model_config_file:
        raise UsageError("--model_base_path or --model_config_file is required")
    if settings.model_base_path:
        try:
            base_path(settings.model_name, settings.model_base_path)
        except ValueError as error:
            raise UsageError(f"--model_base_path={settings.model_base_path}: {error}") from error
    if settings.rest_api_port and settings.rest_api_port == settings.port:
        raise UsageError(f"--rest_api_port={settings.rest_api_port} is the port of gRPC too: choose another")
    if not settings.port and not settings.grpc_socket_path:
        raise UsageError("--port=0 needs --grpc_socket_path, else no one could call")
    if settings.batching_parameters_file and not settings.enable_batching:
        raise UsageError("--batching_parameters_file was given without --enable_batching")
    if settings.tensorflow_session_parallelism and (
        settings.tensorflow_intra_op_parallelism or settings.tensorflow_inter_op_parallelism
    ):
        raise UsageError("--tensorflow_session_parallelism excludes --tensorflow_intra_op_parallelism and _inter_op_")
    channel_arguments(settings.grpc_channel_arguments)


def channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Arguments for the gRPC server from `name=value,name=value`; whole numbers are passed as such."""
    found: list[tuple[str, int | str]] = []
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise UsageError(f"--grpc_channel_arguments: {item!r} is not name=value")
        number = value.removeprefix("-")
        found.append((name, int(value) if number.isascii() and number.isdigit() else value))
    return found


def usage() -> str:
    """Text of --help."""
    lines = ["usage: fovea-model-server --model_name=NAME --model_base_path=FOLDER [flags of tensorflow_model_server]"]
    for one in dataclasses.fields(Settings):
        default = str(one.default).lower() if isinstance(one.default, bool) else str(one.default)
        lines.append(f"  --{one.name}={default}\n        {one.metadata['help']}")
    lines.append("Accepted without effect:")
    lines.extend(f"  --{name}: {reason}" for name, (_, reason) in NO_EFFECT.items())
    return "\n".join(lines)
