"""What a client tells a gateway: which model it asks for, and which version."""

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fovea.sdk import Client, Predictor, predict
from fovea.sdk.cluster import Cluster
from fovea.sdk.endpoints import resolve
from fovea.sdk.rest import classify
from support.command_line import fovea
from support.one_deployment import OneDeployment
from support.prediction_server import PredictionServer, classifier
from support.rest_recorder import rest_recorder


@pytest.fixture
def server() -> Iterator[PredictionServer]:
    made = PredictionServer()
    made.start()
    yield made
    made.stop()


def test_a_call_names_the_model_s_host_and_a_version_that_was_asked_for(server: PredictionServer) -> None:
    heard: list[tuple[str, str | None]] = []

    def predict(request: Any, context: Any) -> Any:
        host = context._rpc_event.call_details.host.decode()
        heard.append((host, dict(context.invocation_metadata()).get("x-fovea-version")))
        return classifier(request, context)

    server.predict = predict
    for asked in ({}, {"host": "pets.vision.svc"}, {"host": "pets.vision.svc", "version": 3}):
        with Predictor("pets", endpoint=server.address, **asked) as predictor:
            predictor.classify([b"a picture"])
    assert heard == [(server.address, None), ("pets.vision.svc", None), ("pets.vision.svc", "3")]


def test_over_rest_too() -> None:
    with rest_recorder() as server:
        classify("pets", [b"a picture"], endpoint=server.address, host="pets.vision.svc", version=3)
    [asked] = server.asked
    assert (asked.headers["Host"], asked.headers["x-fovea-version"]) == ("pets.vision.svc", "3")


def test_a_host_without_an_address_is_refused_with_what_it_is_for() -> None:
    ran = fovea("predict", "--model", "m", "--host", "m.vision.svc", __file__)
    assert ran.code == 2
    assert "--host goes with --endpoint only: it is how the gateway there knows the model" in ran.err


@pytest.mark.parametrize(
    ("gateway", "protocol", "address"),
    [
        ("203.0.113.5", "grpc", "203.0.113.5:8500"),
        ("203.0.113.5", "rest", "203.0.113.5:8501"),
        ("[2001:db8::5]", "grpc", "[2001:db8::5]:8500"),
        ("models.test:31000", "grpc", "models.test:31000"),
        ("grpcs://models.test", "grpc", "grpcs://models.test:8500"),
        ("https://models.test", "rest", "https://models.test"),
    ],
)
def test_at_the_gateway_of_all_models_a_client_asks_for_the_model_s_name(
    gateway: str, protocol: Any, address: str
) -> None:
    found = resolve(cast("Cluster", OneDeployment()), "pets", protocol=protocol, gateway=gateway)
    assert (found.address, found.host, found.how) == (address, "pets.vision.svc", "the gateway")


def test_the_variable_of_the_page_leads_the_command_through_the_gateway(
    server: PredictionServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def predict(request: Any, context: Any) -> Any:
        heard.append(context._rpc_event.call_details.host.decode())
        return classifier(request, context)

    server.predict = predict
    monkeypatch.setattr("fovea.cli.predict.client_of", lambda _: SimpleNamespace(cluster=OneDeployment()))
    picture = tmp_path / "7.png"
    picture.write_bytes(b"a picture")
    fovea("predict", "--model", "pets", str(picture), environment={"FOVEA_GATEWAY": server.address}).ok()
    assert heard == ["pets.vision.svc"]


@pytest.mark.parametrize("way", ["Client.predictor", "predict"])
def test_the_sdk_goes_through_the_gateway_that_it_is_given(
    server: PredictionServer, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    heard: list[str] = []

    def answer(request: Any, context: Any) -> Any:
        heard.append(context._rpc_event.call_details.host.decode())
        return classifier(request, context)

    server.predict = answer
    monkeypatch.setattr("fovea.sdk.client.Cluster", lambda **_: OneDeployment())
    monkeypatch.setattr("fovea.sdk.predictor.Cluster", lambda **_: OneDeployment())
    if way == "predict":
        found = predict("pets", b"a picture", gateway=server.address)
    else:
        with Client().predictor("pets", gateway=server.address) as predictor:
            found = predictor.classify([b"a picture"])
    assert ([each.label for each in found], heard) == (["cat"], ["pets.vision.svc"])


@pytest.mark.parametrize("tls", [True, False])
def test_outside_the_cluster_a_client_takes_the_gateway_over_tls_where_it_has_it(tls: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        plain = {"externalGrpc": where, "externalRest": f"http://{where}/v1/models/pets"}
        safe = {"externalGrpcTls": where, "externalRestTls": f"https://{where}/v1/models/pets"}
        cluster = cast("Cluster", OneDeployment(**plain, **(safe if tls else {})))
        found = [resolve(cluster, "pets", protocol=protocol) for protocol in ("grpc", "rest")]
    expected = [f"grpcs://{where}", f"https://{where}"] if tls else [where, where]
    assert [each.address for each in found] == expected
    assert {each.how for each in found} == {"the gateway, over TLS" if tls else "the gateway"}
