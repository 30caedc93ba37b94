"""The server's life: load every model, open the ports, serve, and on SIGTERM drain and leave."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
import uvloop

from fovea_serving.protocol.errors import ServingError
from fovea_serving.protocol.examples import ExampleRules
from fovea_serving.server import config_files, connections, devices, flags, reloading, servable, warmup
from fovea_serving.server.batching import Batcher, BatchingSettings
from fovea_serving.server.flags import Settings
from fovea_serving.server.grpc_services import GrpcServer
from fovea_serving.server.inference import Inference
from fovea_serving.server.lifecycle import LoadSettings, ModelSettings
from fovea_serving.server.memory import RequestMemory
from fovea_serving.server.metrics import Metrics
from fovea_serving.server.models import Models
from fovea_serving.server.paths import base_path
from fovea_serving.server.rest import RestServer, RestSettings
from fovea_serving.server.servable import Servable, SessionSettings
from fovea_serving.server.versions import version_number

log = logging.getLogger(__name__)

FAILED = 1
_LOOK_SECONDS = 0.05
LOADS = 4
"""Versions that are loaded at once, for each core: loading waits for files, and a hanging one must not stop the rest."""


def versions_text() -> str:
    """Answer to --version."""
    own = importlib.metadata.version("fovea-serving")
    return f"TensorFlow ModelServer: {own} (Fovea)\nTensorFlow Library: {tf.__version__}"


def run(settings: Settings) -> int:
    """Serve until a signal; the exit code. Ends the process itself when a load is still under way."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_serve(settings))
    except (flags.UsageError, ServingError) as error:
        log.error("Failed to start server. Error: %s", error)  # noqa: TRY400 - an error of the user's, not of ours
        code = FAILED
    except OSError as error:
        log.error("Failed to open a port: %s", error)  # noqa: TRY400
        code = FAILED
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # A load or a run in a thread cannot be interrupted, and the interpreter would wait for it: leave at once.
    os._exit(code)


class _Loader:
    """Loads a version and warms it up, on a thread."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        both = settings.tensorflow_session_parallelism
        self._session = SessionSettings(
            intra_op_threads=settings.tensorflow_intra_op_parallelism or both,
            inter_op_threads=settings.tensorflow_inter_op_parallelism or both,
            tags=tuple(filter(None, settings.saved_model_tags.split(","))),
            gpu_memory_fraction=settings.per_process_gpu_memory_fraction,
            row_wise_signatures=tuple(filter(None, settings.row_wise_signatures.split(","))),
        )
        self._warm_up = settings.enable_model_warmup
        self._iterations = settings.num_request_iterations_for_warmup
        self._metrics = metrics

    def __call__(self, model: str, version: int, path: Path) -> Servable:
        started = time.monotonic()
        log.info("Loading servable version {name: %s version: %d} from %s", model, version, path)
        try:
            loaded = servable.load(path, self._session)
        except Exception:
            self._metrics.loaded(str(path), time.monotonic() - started, ok=False)
            raise
        self._metrics.loaded(str(path), time.monotonic() - started, ok=True)
        if self._warm_up:
            self._warm(loaded)
        return loaded

    def _warm(self, loaded: Servable) -> None:
        started = time.monotonic()
        path = str(loaded.path)
        try:
            records = warmup.warm_up(loaded, iterations=self._iterations)
        except ServingError as error:
            self._metrics.warmed_up(path, 0, time.monotonic() - started, status=error.code.name)
            loaded.close()
            raise
        if records:
            self._metrics.warmed_up(path, records, time.monotonic() - started, status="OK")


def _model_settings(settings: Settings) -> list[ModelSettings]:
    if settings.model_config_file:
        return config_files.read_models(settings.model_config_file)
    return [ModelSettings(settings.model_name, base_path(settings.model_name, settings.model_base_path).absolute())]


def batching_settings(settings: Settings) -> BatchingSettings:
    """Batching of the command line, on top of what fits the cores that may be used, or the GPUs."""
    # A container's CPU limit does not show in the affinity: where there is one, the flag says it.
    cores = settings.tensorflow_session_parallelism or len(os.sched_getaffinity(0))
    seen = devices.gpus()
    default = devices.default_batching(cores, seen)
    log.info(
        "TensorFlow sees %d GPUs and may use %d cores: at most %d rows in a run, %d runs at once",
        seen, cores, default.most_rows, default.runners,
    )  # fmt: skip
    if not settings.enable_batching:
        return replace(default, enabled=False)
    return config_files.read_batching(settings.batching_parameters_file, default)


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    metrics_path = config_files.read_metrics_path(settings.monitoring_config_file)
    tls = config_files.read_tls(settings.ssl_config_file)
    configured = _model_settings(settings)
    metrics = Metrics(known=lambda name: name in models)
    batcher = Batcher(batching_settings(settings), metrics)
    models = _models(settings, metrics, batcher)
    # What TensorFlow made of objects when it was imported stays: the collector need not walk through it while requests
    # wait. Models do not stay: frozen with it, the graphs of the first versions would never be given back.
    gc.collect()
    gc.freeze()
    loading = loop.create_task(_load(settings, models, configured))
    if not await _unless_stopped(loading, stop):
        log.info("Asked to stop before every model was loaded")
        return 0
    memory = RequestMemory(settings.max_waiting_bytes)
    metrics.waiting_bytes = lambda: memory.held
    inference = Inference(
        models=models,
        batcher=batcher,
        metrics=metrics,
        memory=memory,
        as_content=settings.enable_serialization_as_tensor_content,
        rules=ExampleRules(check_method_name=settings.enable_signature_method_name_check),
    )
    ports = sum(map(bool, (settings.port, settings.grpc_socket_path, settings.rest_api_port)))
    most = connections.most_connections(connections.raise_file_limit(), ports)
    rest = _rest(settings, metrics_path, most)
    rest_server = RestServer(inference, metrics, rest) if settings.rest_api_port else None
    grpc_server = _grpc(settings, inference, models, most)
    await _open(settings, grpc_server, rest_server, tls)
    following = loop.create_task(_follow_config_file(settings, models, configured))
    await stop.wait()
    following.cancel()
    await _drain(settings, grpc_server, rest_server)
    models.close()
    batcher.close()
    return 0


async def _load(settings: Settings, models: Models, configured: list[ModelSettings]) -> None:
    """Load what is there; where the first version may still be on its way, as soon as it has come."""
    if settings.wait_for_model:
        for model in configured:
            if not _has_version(model.base_path):
                log.info("Waiting for a version of %s below %s", model.name, model.base_path)
            while not _has_version(model.base_path):  # noqa: ASYNC110 - a folder on a volume has no event
                await asyncio.sleep(_LOOK_SECONDS)
    await models.configure(configured, wait_for_versions=True)


def _has_version(folder: Path) -> bool:
    return folder.is_dir() and any(version_number(entry.name) is not None for entry in folder.iterdir())


def _models(settings: Settings, metrics: Metrics, batcher: Batcher) -> Models:
    return Models(
        load=_Loader(settings, metrics),
        executor=ThreadPoolExecutor(
            settings.num_load_threads or LOADS * (os.cpu_count() or 1), thread_name_prefix="load"
        ),
        settings=LoadSettings(
            retries=settings.max_num_load_retries,
            retry_seconds=max(0, settings.load_retry_interval_micros) / 1e6,
            poll_seconds=settings.file_system_poll_wait_seconds,
        ),
        closed=batcher.forget,
        labels_may_wait=settings.allow_version_labels_for_unavailable_models,
    )


def _grpc(settings: Settings, inference: Inference, models: Models, most_connections: int) -> GrpcServer:
    return GrpcServer(
        inference,
        models,
        arguments=flags.channel_arguments(settings.grpc_channel_arguments),
        most_connections=most_connections,
        with_health=settings.enable_grpc_healthcheck_service,
        may_reload=bool(settings.model_config_file),
    )


async def _open(settings: Settings, grpc_server: GrpcServer, rest_server: RestServer | None, tls: Any) -> None:
    if rest_server is not None:
        await rest_server.start(settings.rest_api_port)
        log.info("Exporting HTTP/REST API at:localhost:%d ...", settings.rest_api_port)
    await grpc_server.start(port=settings.port, socket_path=settings.grpc_socket_path, tls=tls)
    log.info("Running ModelServer at [::]:%d (IPv4 and IPv6) ...", settings.port)


def _rest(settings: Settings, metrics_path: str | None, most_connections: int) -> RestSettings:
    return RestSettings(
        timeout=settings.rest_api_timeout_in_ms / 1000 if settings.rest_api_timeout_in_ms > 0 else None,
        max_body_bytes=settings.rest_api_max_body_bytes,
        max_body_values=settings.rest_api_max_body_values,
        cors=settings.rest_api_enable_cors_support,
        metrics_path=metrics_path,
        most_connections=most_connections,
    )


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        log.warning("Asked to stop a second time: leaving without waiting for requests")
        os._exit(FAILED)
    stop.set()


async def _unless_stopped(task: asyncio.Task[None], stop: asyncio.Event) -> bool:
    """Wait for the task; False when the server was asked to stop first."""
    stopping = asyncio.get_running_loop().create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        return False
    stopping.cancel()
    await task
    return True


async def _drain(settings: Settings, grpc_server: GrpcServer, rest_server: RestServer | None) -> None:
    """Say NOT_SERVING, take no new connections, let requests under way end."""
    log.info("Draining: at most %.0f s for requests under way", settings.drain_seconds)
    await grpc_server.say_not_serving()
    if settings.linger_seconds > 0:
        await asyncio.sleep(settings.linger_seconds)
    stops = [grpc_server.stop(settings.drain_seconds)]
    if rest_server is not None:
        stops.append(rest_server.stop(settings.drain_seconds))
    await asyncio.gather(*stops)
    log.info("Drained")


async def _follow_config_file(settings: Settings, models: Models, configured: list[ModelSettings]) -> None:
    """Follow changes of the model config file, when asked to."""
    seconds = settings.model_config_file_poll_wait_seconds
    if settings.model_config_file and seconds > 0:
        await reloading.follow_config(
            partial(_model_settings, settings), models.begin, configured, partial(asyncio.sleep, seconds)
        )
