"""The command line of `tensorflow_model_server`, as this server reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fovea_serving.server import config_files, flags
from fovea_serving.server.flags import UsageError

BASE = "--model_base_path=/models/digits"


def parse(*arguments: str, environ: dict[str, str] | None = None) -> flags.Settings:
    return flags.parse([BASE, *arguments], environ or {})[0]


def test_values_follow_an_equals_sign_or_a_space_and_booleans_stand_alone() -> None:
    settings = parse(
        "--port=9000", "--rest_api_port", "9001", "--model_name", "digits",
        "--allow_version_labels_for_unavailable_models",
        "--enable_batching=false", "--rest_api_enable_cors_support", "true", "--per_process_gpu_memory_fraction=0.5",
    )  # fmt: skip
    assert settings == flags.Settings(
        port=9000, rest_api_port=9001, model_name="digits", model_base_path="/models/digits", enable_batching=False,
        allow_version_labels_for_unavailable_models=True, rest_api_enable_cors_support=True,
        per_process_gpu_memory_fraction=0.5,
    )  # fmt: skip


def test_a_flag_of_the_other_server_without_effect_here_is_accepted_and_said() -> None:
    settings, notes = flags.parse([BASE, "--enable_profiler=false", "--grpc_max_threads", "8"], {})
    assert settings == parse()
    assert notes == [
        "--enable_profiler=false has no effect here: no profiler is served",
        "--grpc_max_threads=8 has no effect here: one event loop serves all connections",
    ]


@pytest.mark.parametrize(
    ("argument", "bounds"),
    [
        ("--port=65536", "0 to 65535"),
        ("--rest_api_port=-1", "0 to 65535"),
        ("--max_num_load_retries=-1", "0 to 2147483647"),
        ("--file_system_poll_wait_seconds=-1", "0 to 2147483647"),
        ("--model_config_file_poll_wait_seconds=-1", "0 to 2147483647"),
        ("--num_load_threads=-1", "0 to 2147483647"),
        ("--tensorflow_session_parallelism=-2", "0 to 2147483647"),
        ("--per_process_gpu_memory_fraction=1.5", "0 to 1"),
        ("--per_process_gpu_memory_fraction=nan", "0 to 1"),
        ("--rest_api_max_body_bytes=0", "1 to 2147483647"),
        ("--rest_api_max_body_values=0", "1 to 2147483647"),
        ("--drain_seconds=-1", "0 to 86400"),
        ("--linger_seconds=inf", "0 to 86400"),
    ],
)
def test_a_number_out_of_its_range_is_refused(argument: str, bounds: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argument)
    assert str(caught.value) == f"{argument}: must be from {bounds}"


def test_a_number_of_the_environment_out_of_its_range_names_the_variable() -> None:
    with pytest.raises(UsageError, match="FOVEA_MODEL_SERVER_DRAIN_SECONDS=-1: must be from 0 to 86400"):
        parse(environ={"FOVEA_MODEL_SERVER_DRAIN_SECONDS": "-1"})


def test_numbers_that_mean_something_below_zero_are_kept() -> None:
    settings = parse("--load_retry_interval_micros=-1", "--rest_api_timeout_in_ms=0",
                     "--num_request_iterations_for_warmup=0", "--tensorflow_inter_op_parallelism=-1")  # fmt: skip
    assert (settings.load_retry_interval_micros, settings.rest_api_timeout_in_ms) == (-1, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("server_key: 'k' server_cert: 'c' client_verify: true",
         "custom_ca must be given as PEM (client_verify checks clients' certificates against custom_ca)"),
        ("custom_ca: 'c'", "server_key and server_cert must be given as PEM"),
    ],
)  # fmt: skip
def test_tls_without_what_it_needs_is_refused(content: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "ssl.config"
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        config_files.read_tls(str(file))
    assert str(caught.value) == f"--ssl_config_file={file}: {text}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--modle_name=x"], "unknown flag --modle_name; did you mean --model_name?"),
        (["--rest-api-port=1"], "unknown flag --rest-api-port; did you mean --rest_api_port?"),
        (["--qqq=1"], "unknown flag --qqq; --help lists all flags"),
        (["models"], "unexpected argument 'models': every argument is a flag (--name=value)"),
        (["--port=http"], "--port=http: expected an integer"),
        (["--enable_batching=maybe"], "--enable_batching=maybe: expected true or false"),
        (["--model_name"], "flag --model_name needs a value: --model_name=..."),
        (["--rest_api_port=8500"], "--rest_api_port=8500 is the port of gRPC too: choose another"),
        (["--port=0"], "--port=0 needs --grpc_socket_path, else no one could call"),
        (["--grpc_channel_arguments=a"], "--grpc_channel_arguments: 'a' is not name=value"),
        (["--enable_batching=false", "--batching_parameters_file=/b"],
         "--batching_parameters_file was given without --enable_batching"),
        (["--tensorflow_session_parallelism=2", "--tensorflow_intra_op_parallelism=2"],
         "--tensorflow_session_parallelism excludes --tensorflow_intra_op_parallelism and _inter_op_"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_refused_in_words(arguments: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*arguments)
    assert str(caught.value) == text


def test_a_model_is_required() -> None:
    with pytest.raises(UsageError, match="--model_base_path or --model_config_file is required"):
        flags.parse(["--port=1"], {})


def test_drain_time_comes_from_the_environment_unless_the_flag_is_given() -> None:
    environ = {"FOVEA_MODEL_SERVER_DRAIN_SECONDS": "12.5"}
    assert parse(environ=environ).drain_seconds == 12.5
    assert parse("--drain_seconds=3", environ=environ).drain_seconds == 3


def test_channel_arguments_are_numbers_where_they_can_be() -> None:
    text = "grpc.max_connection_age_ms=20000,grpc.primary_user_agent=x,grpc.max_receive_message_length=-1"
    assert flags.channel_arguments(text) == [
        ("grpc.max_connection_age_ms", 20000),
        ("grpc.primary_user_agent", "x"),
        ("grpc.max_receive_message_length", -1),
    ]


def test_help_names_every_flag() -> None:
    text = flags.usage()
    assert all(f"--{name}" in text for name in [*flags.Settings.__dataclass_fields__, *flags.NO_EFFECT])


def test_a_wrong_flag_ends_the_program_before_tensorflow_is_imported() -> None:
    code = (
        "import sys; from fovea_serving.server.main import main; code = main(['--prot=1']);"
        "print(code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["2", "False"]
    assert "unknown flag --prot; did you mean --port?" in done.stderr


def test_as_many_runs_go_at_once_as_the_given_cores_can_do() -> None:
    from fovea_serving.server.process import batching_settings

    for given, runners in (("16", 8), ("1", 2)):
        for more in ([], ["--enable_batching=false"]):
            assert batching_settings(parse(f"--tensorflow_session_parallelism={given}", *more)).runners == runners
