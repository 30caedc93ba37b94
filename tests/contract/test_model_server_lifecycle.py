"""A server's life: loading, warm-up, new and broken versions under load, reload, draining."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea_api.contract import environment
from support.model_server import (
    MODEL,
    START_SECONDS,
    Client,
    ModelServer,
    add_warm_up,
    model_server,
    png,
    predict_request,
    publish,
)
from support.polling import until

AVAILABLE, END = 30, 50
GIVE_UP_AT_ONCE = "--max_num_load_retries=0"


def flags(base: Path) -> list[str]:
    return [f"--model_name={MODEL}", f"--model_base_path={base}", GIVE_UP_AT_ONCE]


class Callers:
    """Clients that keep calling until `stop` is set; answers and failures by what they were."""

    def __init__(self, address: str, count: int = 4) -> None:
        self._stop = threading.Event()
        self._clients = [Client(address) for _ in range(count)]
        self.answers: list[float] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._call, args=[client]) for client in self._clients]

    def _call(self, client: Client) -> None:
        request = predict_request("half_plus_two", {"x": [2.0]})
        while not self._stop.is_set():
            try:
                self.answers.append(client.predict(request, timeout=30)["y"][0])
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()}: {error.details()}")

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            until(lambda: len(self.answers) > 20, seconds=60, what="answers")
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)


def test_versions_change_under_load_without_a_failed_request(
    tmp_path: Path, saved_model: Path, saved_model_2: Path
) -> None:
    base = tmp_path / "models"
    publish(saved_model, base, 1)
    with model_server(tmp_path, *flags(base)) as server:
        client = Client(server.address)
        callers = Callers(server.address)
        with callers.calling():
            publish(saved_model_2, base, 2)
            until(lambda: client.states().get(1) == (END, ""), seconds=90, what="version 1 unloaded")
            assert client.states() == {1: (END, ""), 2: (AVAILABLE, "")}
            seen = len(callers.answers)
            until(lambda: len(callers.answers) > seen + 20, seconds=60, what="answers of version 2")

            broken = publish(saved_model, base, 3)
            # In place, as a copy that did not come through would look; the server finds it with its next look.
            for part in (broken / "variables").iterdir():
                part.unlink()
            _, error = until(
                lambda: (found := client.states().get(3)) and found[0] == END and found, seconds=90, what="END of 3"
            )
            assert error
            assert client.states()[2] == (AVAILABLE, "")

            shutil.rmtree(broken)
            publish(saved_model, base, 4)
            until(lambda: client.states().get(2) == (END, ""), seconds=90, what="version 2 unloaded")
        assert callers.failures == []
        assert set(callers.answers) == {3.0, 103.0}
        assert (callers.answers[0], callers.answers[-1]) == (3.0, 3.0)
        with pytest.raises(grpc.RpcError) as caught:
            client.predict(predict_request("half_plus_two", {"x": [2.0]}, version=2))
        assert caught.value.details() == "Servable not found for request: Specific(tiny, 2)"


def test_ports_open_only_after_the_first_version_came_and_was_warmed_up(tmp_path: Path, saved_model: Path) -> None:
    import socket

    base = tmp_path / "models"
    with model_server(tmp_path, *flags(base), wait=False) as server:
        until(lambda: "No versions of servable tiny found" in server.log, seconds=START_SECONDS, what="waiting server")
        for port in (server.port, server.rest_port):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)) != 0
        ready = tmp_path / "ready"
        shutil.copytree(saved_model, ready)
        add_warm_up(ready, predict_request("", {"image": [png(1)]}), predict_request("half_plus_two", {"x": [1.0]}))
        publish(ready, base, 1)
        server.wait_until_open()
        assert "Ran 2 warmup records" in server.log
        page = server.rest("GET", "/monitoring/prometheus/metrics")[1]
        assert f':tensorflow:serving:model_warmup_records_read{{model_path="{base / "1"}"}} 2' in page
        assert f':tensorflow:serving:model_warmup_latency_count{{model_path="{base / "1"}",status="OK"}} 1' in page


def test_a_server_may_start_before_its_model_which_is_looked_for_until_it_comes(
    tmp_path: Path, saved_model: Path
) -> None:
    base, waits = tmp_path / "models", {environment.MODEL_SERVER_WAITS: "true"}
    with model_server(tmp_path, *flags(base), "--file_system_poll_wait_seconds=0", env=waits, wait=False) as server:
        until(
            lambda: f"Waiting for a version of tiny below {base}" in server.log, seconds=START_SECONDS, what="it waits"
        )
        (base / "not a version").mkdir(parents=True)
        publish(saved_model, base, 7)
        server.wait_until_open()
        assert server.rest("GET", "/v1/models/tiny/versions/7/metadata")[0] == 200


def config(base: Path, *, versions: str = "", labels: dict[str, int] | None = None, name: str = "many") -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = "".join(f'version_labels {{ key: "{label}" value: {number} }}' for label, number in (labels or {}).items())
    return text_format.Parse(
        f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" '
        f"model_version_policy {{ {versions} }} {text} }} }}",
        model_server_config_pb2.ModelServerConfig(),
    )


def reload(client: Client, wanted: Any) -> tuple[grpc.StatusCode, str]:
    from tensorflow_serving.apis import model_management_pb2

    try:
        client.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(config=wanted), timeout=90)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def test_a_config_file_its_labels_and_its_reload(tmp_path: Path, saved_model: Path, saved_model_2: Path) -> None:
    base = tmp_path / "models"
    publish(saved_model, base, 1)
    publish(saved_model_2, base, 2)
    file = tmp_path / "models.config"
    file.write_text(str(config(base, versions="specific { versions: 1 }")))
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 4 } num_batch_threads { value: 1 } thread_pool_name { value: 'own' }")
    arguments = [f"--model_config_file={file}", f"--batching_parameters_file={batching}", "--enable_batching"]
    with model_server(tmp_path, *arguments, GIVE_UP_AT_ONCE, "--enable_serialization_as_tensor_content") as server:
        client = Client(server.address)

        def ask(**which: Any) -> float:
            request = predict_request("half_plus_two", {"x": [2.0]}, model="many", **which)
            return float(client.predict(request)["y"][0])

        assert client.states("many") == {1: (AVAILABLE, "")}
        both = "specific { versions: 1 versions: 2 }"
        too_early = reload(client, config(base, versions=both, labels={"canary": 2}))
        assert too_early == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "Request to assign label to version 2 of model many, which is not currently available for inference",
        )
        assert reload(client, config(base, versions=both)) == (grpc.StatusCode.OK, "")
        loaded = {1: (AVAILABLE, ""), 2: (AVAILABLE, "")}
        until(lambda: client.states("many") == loaded, seconds=90, what="both versions: only new models are waited for")
        assert reload(client, config(base, versions=both, labels={"stable": 1, "canary": 2}))[0] is grpc.StatusCode.OK
        assert [ask(), ask(version=1), ask(label="stable"), ask(label="canary")] == [103.0, 3.0, 3.0, 103.0]
        status = server.rest("POST", "/v1/models/many/labels/canary:predict",
                             {"signature_name": "half_plus_two", "instances": [2.0]})  # fmt: skip
        assert status[:2] == (200, {"predictions": [103.0]})

        code, text = reload(client, config(tmp_path / "nowhere", name="more"))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert f"No versions of servable more found under base path {tmp_path / 'nowhere'}" in text
        from tensorflow_serving.config import model_server_config_pb2

        assert reload(client, model_server_config_pb2.ModelServerConfig()) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )
        assert reload(client, config(base, name="renamed"))[0] is grpc.StatusCode.OK
        assert client.states("renamed") == {2: (AVAILABLE, "")}
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert caught.value.details() == "Servable not found for request: Latest(many)"
        assert 'thread_pool_name="own"' in server.rest("GET", "/monitoring/prometheus/metrics")[1]


def test_sigterm_drains_and_ends_with_zero(tmp_path: Path, saved_model: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    base = tmp_path / "models"
    publish(saved_model, base, 1)
    socket_path = tmp_path / "grpc.sock"
    environ = {"FOVEA_MODEL_SERVER_DRAIN_SECONDS": "30", "FOVEA_MODEL_SERVER_LINGER_SECONDS": "1"}
    arguments = [f"--grpc_socket_path={socket_path}", "--grpc_channel_arguments=grpc.max_connection_age_ms=60000"]
    with model_server(tmp_path, *flags(base), *arguments, env=environ) as server:
        client, other = Client(server.address), Client(f"unix:{socket_path}")
        health = health_pb2_grpc.HealthStub(client.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        call = client.prediction.Predict.future(predict_request("slow", {"seconds": [4.0]}), timeout=60)
        rest: list[Any] = []
        body = {"signature_name": "slow", "instances": [4.0]}
        thread = threading.Thread(
            target=lambda: rest.append(server.rest("POST", f"/v1/models/{MODEL}:predict", body)[:2])
        )
        thread.start()
        until(lambda: _busy(server) == 2, seconds=30, what="two requests under way")
        os.kill(server.process.pid, signal.SIGTERM)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        # It lingers: callers that have not heard of it yet are still answered.
        assert other.states() == {1: (AVAILABLE, "")}
        until(lambda: _refused(server), seconds=30, what="closed port")
        assert not call.done()
        assert call.result(60).outputs["slept"].float_val[0] == 4.0
        thread.join(60)
        assert rest == [(200, {"predictions": [4.0]})]
        assert server.process.wait(60) == 0
        assert "Drained" in server.log


def _busy(server: ModelServer) -> int:
    """Connections from clients that sent a request: both calls take seconds, so an open one is under way."""
    page = server.rest("GET", "/monitoring/prometheus/metrics")[1]
    lines = [line for line in page.splitlines() if line.startswith(":fovea:serving:requests_in_flight")]
    return int(lines[0].split()[-1]) if lines else 0


def _refused(server: ModelServer) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_a_server_that_cannot_serve_ends_and_says_why(
    tmp_path: Path, saved_model: Path, tiny_server: ModelServer
) -> None:
    """Four servers at once, for most of their time is the import of TensorFlow."""
    good, bad, nothing = tmp_path / "good", tmp_path / "bad", tmp_path / "nothing"
    publish(saved_model, good, 1)
    warmed = tmp_path / "warmed"
    shutil.copytree(saved_model, warmed)
    add_warm_up(warmed, predict_request("", {"image": [png(1)]}), predict_request("", {"image": [b"no picture"]}))
    publish(warmed, bad, 1)
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> ModelServer:
            return stack.enter_context(model_server(tmp_path, *arguments, wait=False))

        failing_warm_up = start(*flags(bad))
        missing_for_good = start(*flags(nothing), "--file_system_poll_wait_seconds=0")
        taken_port = start(*flags(good), f"--port={tiny_server.port}")
        waiting = start(*flags(nothing))

        assert failing_warm_up.process.wait(START_SECONDS) == 1
        for text in ("Some models did not become available", "Warmup record 2 of", "Unknown image file format"):
            assert text in failing_warm_up.log
        assert missing_for_good.process.wait(START_SECONDS) == 1
        assert f"No versions of servable tiny found under base path {nothing}" in missing_for_good.log
        assert taken_port.process.wait(START_SECONDS) == 1
        assert f"gRPC cannot listen on port {tiny_server.port}" in taken_port.log

        until(lambda: "No versions of servable" in waiting.log, seconds=START_SECONDS, what="waiting server")
        started = time.monotonic()
        os.kill(waiting.process.pid, signal.SIGTERM)
        assert waiting.process.wait(30) == 0
        assert time.monotonic() - started < 15


def test_what_is_frozen_for_the_collector_is_there_before_the_first_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a model brings must be found by the collector once it is unloaded."""
    from fovea_serving.protocol.errors import ServingError, failed_precondition
    from fovea_serving.server import process
    from fovea_serving.server.flags import parse

    frozen: list[int] = []

    async def configure(*_: Any, **__: Any) -> None:
        frozen.append(gc.get_freeze_count())
        raise failed_precondition("no further")

    monkeypatch.setattr(process.Models, "configure", configure)
    gc.unfreeze()
    try:
        with pytest.raises(ServingError, match="no further"):
            asyncio.run(process._serve(parse(flags(tmp_path), {})[0]))
    finally:
        gc.unfreeze()
    assert frozen[0] > 100_000, "what TensorFlow made of objects is left out of the collector's walks"
