"""What the model server answers: tensors, examples, metadata, metrics, over gRPC and REST."""

from __future__ import annotations

import base64
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.model_server import MODEL, Client, ModelServer, model_server, png, predict_request, publish
from support.polling import until


def test_pictures_are_classified_over_grpc(tiny_client: Client) -> None:
    answer = tiny_client.predict(predict_request("", {"image": [png(10), png(200)]}))
    assert answer == {"label": [b"dark", b"bright"], "brightness": [10.0, 200.0], "raw_bytes": [png(10), png(200)]}


def test_the_answer_names_the_model_version_and_signature_and_keeps_to_the_filter(tiny_client: Client) -> None:
    response = tiny_client.prediction.Predict(predict_request("", {"image": [png(9)]}, outputs=["label"]), timeout=30)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (MODEL, 1, "serving_default")
    assert list(response.outputs) == ["label"]


def test_numbers_are_read_from_values_and_from_raw_bytes(tiny_client: Client) -> None:
    from tensorflow.core.framework import tensor_pb2

    shape = {"dim": [{"size": 3}]}
    as_values = tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, float_val=[0, 2, 4])
    as_bytes = tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, tensor_content=bytes(8) + b"\0\0\x80\x40")
    last_repeated = tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, float_val=[2, 6])
    ask = [predict_request("half_plus_two", {"x": tensor}) for tensor in (as_values, as_bytes, last_repeated)]
    assert [tiny_client.predict(request)["y"] for request in ask] == [[2, 3, 4], [2, 2, 4], [3, 5, 5]]


def test_strings_are_read_from_packed_tensor_content(tiny_client: Client) -> None:
    from tensorflow.core.framework import tensor_pb2

    picture = png(77)
    packed = tensor_pb2.TensorProto(
        dtype=7, tensor_shape={"dim": [{"size": 1}]}, tensor_content=bytes([len(picture)]) + picture
    )
    assert tiny_client.predict(predict_request("", {"image": packed}))["brightness"] == [77.0]


def test_a_signature_without_a_batch_dimension_works(tiny_client: Client) -> None:
    assert tiny_client.predict(predict_request("scalar", {"x": 1.5})) == {"y": 2.5}


def test_a_scalar_string_is_an_output(tiny_client: Client, tiny_server: ModelServer) -> None:
    assert tiny_client.predict(predict_request("greet", {"name": b"you"})) == {"greeting": b"hello you"}
    body = {"signature_name": "greet", "inputs": "you"}
    assert tiny_server.rest("POST", f"/v1/models/{MODEL}:predict", body)[:2] == (200, {"outputs": "hello you"})


def _examples(*values: float, context: bool = False) -> Any:
    from tensorflow.core.example import example_pb2
    from tensorflow_serving.apis import input_pb2

    source = input_pb2.Input()
    if context:
        source.example_list_with_context.context.features.feature["x"].float_list.value.append(0.125)
        source.example_list_with_context.examples.extend(example_pb2.Example() for _ in values)
        return source
    for value in values:
        source.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return source


def test_classify_regress_and_multi_inference(tiny_client: Client) -> None:
    from tensorflow_serving.apis import classification_pb2, inference_pb2, model_pb2, regression_pb2

    classify = model_pb2.ModelSpec(name=MODEL, signature_name="classify")
    regress = model_pb2.ModelSpec(name=MODEL, signature_name="regress")
    source = _examples(0.25, 1.0)
    classes = tiny_client.prediction.Classify(
        classification_pb2.ClassificationRequest(model_spec=classify, input=source), timeout=30
    )
    rows = [[(one.label, one.score) for one in row.classes] for row in classes.result.classifications]
    assert rows == [[("no", 0.75), ("yes", 0.25)], [("no", 0.0), ("yes", 1.0)]]
    assert (classes.model_spec.version.value, classes.model_spec.signature_name) == (1, "classify")

    values = tiny_client.prediction.Regress(
        regression_pb2.RegressionRequest(model_spec=regress, input=_examples(1, 2, context=True)), timeout=30
    )
    assert [one.value for one in values.result.regressions] == [1.25, 1.25]

    both = inference_pb2.MultiInferenceRequest(input=source)
    both.tasks.add(model_spec=classify, method_name="tensorflow/serving/classify")
    both.tasks.add(model_spec=regress, method_name="tensorflow/serving/regress")
    results = tiny_client.prediction.MultiInference(both, timeout=30).results
    assert results[0].classification_result == classes.result
    assert [one.value for one in results[1].regression_result.regressions] == [2.5, 10.0]
    assert [one.model_spec.signature_name for one in results] == ["classify", "regress"]


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ([("tiny", "classify", "tensorflow/serving/predict")],
         "Unsupported signature method_name: tensorflow/serving/predict"),
        ([("tiny", "classify", "tensorflow/serving/classify")] * 2, "Duplicate evaluation of signature: classify"),
        ([("tiny", "q", "tensorflow/serving/classify")], "Requested signature not found in model graph: q"),
        ([("tiny", "classify", "tensorflow/serving/classify"), ("m", "regress", "tensorflow/serving/regress")],
         "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ([("", "classify", "tensorflow/serving/classify")], "Found ModelSpec with an empty model name."),
    ],
)  # fmt: skip
def test_multi_inference_refuses(tasks: list[tuple[str, str, str]], text: str, tiny_client: Client) -> None:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest(input=_examples(1))
    for model, signature, method in tasks:
        request.tasks.add(model_spec={"name": model, "signature_name": signature}, method_name=method)
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.prediction.MultiInference(request, timeout=30)
    assert caught.value.details() == text


def test_classify_without_examples_is_refused(tiny_client: Client) -> None:
    from tensorflow_serving.apis import classification_pb2

    request = classification_pb2.ClassificationRequest(model_spec={"name": MODEL, "signature_name": "classify"})
    with pytest.raises(grpc.RpcError) as caught:
        tiny_client.prediction.Classify(request, timeout=30)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "Input is empty.")


def test_metadata_is_the_models_signatures(tiny_client: Client, tiny_server: ModelServer) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    response = tiny_client.prediction.GetModelMetadata(request, timeout=30)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert response.model_spec.version.value == 1
    assert sorted(found.signature_def["pair"].inputs) == ["a", "b"]

    status, document, _ = tiny_server.rest("GET", f"/v1/models/{MODEL}/metadata")
    assert status == 200
    assert document["model_spec"] == {"name": MODEL, "signature_name": "", "version": "1"}
    inputs = document["metadata"]["signature_def"]["signature_def"]["pair"]["inputs"]
    assert (inputs["b"]["dtype"], inputs["b"]["tensor_shape"]["dim"][0]["size"]) == ("DT_INT64", "-1")


def test_status_over_grpc_and_rest(tiny_client: Client, tiny_server: ModelServer) -> None:
    assert tiny_client.states() == {1: (30, "")}
    expected = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in (f"/v1/models/{MODEL}", f"/V1/Models/{MODEL}/versions/1"):
        assert tiny_server.rest("GET", path)[:2] == (200, {"model_version_status": [expected]})


def _b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def test_rest_rows_and_columns(tiny_server: ModelServer) -> None:
    def ask(body: dict[str, Any], path: str = f"/v1/models/{MODEL}:predict") -> Any:
        status, answer, _ = tiny_server.rest("POST", path, body)
        assert status == 200, answer
        return answer

    dark, bright = png(10), png(200)
    picture = {"label": "dark", "brightness": 10.0, "raw_bytes": _b64(dark)}
    assert ask({"instances": [_b64(dark)]}) == {"predictions": [picture]}
    assert ask({"instances": [{"image": _b64(dark)}]}, f"/v1/models/{MODEL}/versions/1:predict") == {
        "predictions": [picture]
    }
    assert ask({"inputs": [_b64(dark), _b64(bright)]})["outputs"]["label"] == ["dark", "bright"]
    half = {"signature_name": "half_plus_two"}
    assert ask({**half, "instances": [1, 2.4, 5e1]}) == {"predictions": [2.5, 3.2, 27.0]}
    assert ask({**half, "inputs": {"x": [0.4]}}) == {"outputs": [2.2]}
    pair = {"signature_name": "pair"}
    assert ask({**pair, "instances": [{"a": [1, 2], "b": 7}]}) == {"predictions": [{"sum": [8.0, 9.0], "b": 7}]}
    assert ask({**pair, "inputs": {"a": [[1, 2]], "b": [7]}}) == {"outputs": {"sum": [[8.0, 9.0]], "b": [7]}}
    assert ask({"signature_name": "scalar", "inputs": 1}) == {"outputs": 2.0}


def test_rest_classify_and_regress(tiny_server: ModelServer) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 0.2}, {"x": [1.0]}]}
    assert tiny_server.rest("POST", f"/v1/models/{MODEL}:classify", body)[:2] == (
        200, {"results": [[["no", 0.8], ["yes", 0.2]], [["no", 0.0], ["yes", 1.0]]]},
    )  # fmt: skip
    body = {"signature_name": "regress", "context": {"x": 0.5}, "examples": [{}, {"x": 1.0}]}
    assert tiny_server.rest("POST", f"/v1/models/{MODEL}:regress", body)[:2] == (200, {"results": [5.0, 10.0]})


def test_rest_keeps_a_connection_and_sends_cors_headers_when_asked_to(tiny_server: ModelServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", tiny_server.rest_port, timeout=30)
    body = json.dumps({"signature_name": "half_plus_two", "instances": [2]})
    sockets = set()
    for _ in range(3):
        connection.request("POST", f"/v1/models/{MODEL}:predict", body)
        reply = connection.getresponse()
        assert reply.read() == b'{"predictions":[3.0]}\n'
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        sockets.add(connection.sock.getsockname())
    connection.close()
    assert len(sockets) == 1


RUNS = ":tensorflow:serving:batching_session:wrapped_run_count{}"
IN_FLIGHT = ":fovea:serving:requests_in_flight{}"


def test_answers_belong_to_their_requests_and_a_bad_picture_fails_alone(
    tiny_client: Client, tiny_server: ModelServer
) -> None:
    """Forty callers whose requests share runs: some send rubbish, some floats of another signature, most two pictures."""

    def ask(number: int) -> bool:
        if number % 10 == 0:
            with pytest.raises(grpc.RpcError) as caught:
                tiny_client.predict(predict_request("", {"image": [b"no picture"]}))
            return caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        if number % 10 == 1:
            return tiny_client.predict(predict_request("half_plus_two", {"x": [float(number)]}))["y"] == [
                number / 2 + 2
            ]
        one, two = png(number), png(255 - number)
        answer = tiny_client.predict(predict_request("", {"image": [one, two]}))
        return answer["brightness"] == [number, 255 - number] and answer["raw_bytes"] == [one, two]

    before = _metric(tiny_server, RUNS)
    with ThreadPoolExecutor(40) as pool:
        # This server has one runner: while it is busy, everything else has to wait.
        busy = tiny_client.prediction.Predict.future(predict_request("slow", {"seconds": [6.0]}), timeout=60)
        until(lambda: _metric(tiny_server, IN_FLIGHT) == 1, seconds=30, what="a busy runner")
        waiting = [pool.submit(ask, number) for number in range(40)]
        until(lambda: _metric(tiny_server, IN_FLIGHT) == 41, seconds=6, what="forty waiting requests", every=0.05)
        assert busy.result()
        assert all(one.result() for one in waiting)
        assert _metric(tiny_server, RUNS) - before <= 1 + 3 + 1, "the slow one, 72 rows of pictures, four floats"
        assert all(pool.map(ask, range(200)))


def test_a_signature_that_mixes_its_rows_is_not_batched(tiny_client: Client) -> None:
    def mean(value: float) -> float:
        return tiny_client.predict(predict_request("whole_batch", {"x": [float(value), value + 2.0]}))["mean"][0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(mean, range(32))) == [value + 1 for value in range(32)]


def test_a_deadline_ends_a_call_and_the_run_it_was_in(tiny_client: Client) -> None:
    for _ in range(4):
        with pytest.raises(grpc.RpcError) as caught:
            tiny_client.prediction.Predict(predict_request("slow", {"seconds": [600.0]}), timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert tiny_client.predict(predict_request("half_plus_two", {"x": [2.0]}), timeout=20) == {"y": [3.0]}


def test_a_rest_call_says_whether_its_time_went_by_waiting_or_running(tmp_path: Path, saved_model: Path) -> None:
    publish(saved_model, tmp_path / "models", 1)
    batching = tmp_path / "batching.config"
    batching.write_text("num_batch_threads { value: 1 }")
    flags = [f"--model_name={MODEL}", f"--model_base_path={tmp_path / 'models'}", "--rest_api_timeout_in_ms=1000",
             f"--batching_parameters_file={batching}"]  # fmt: skip
    body = {"signature_name": "slow", "instances": [600.0]}
    with model_server(tmp_path, *flags) as server:
        assert server.rest("POST", f"/v1/models/{MODEL}:predict", body)[0] == 504
        call = Client(server.address).prediction.Predict.future(predict_request("slow", {"seconds": [600.0]}))
        until(lambda: _metric(server, IN_FLIGHT) == 1, seconds=30, what="a busy runner")
        assert server.rest("POST", f"/v1/models/{MODEL}:predict", body)[:2] == (
            429, {"error": "Run() timeout exceeded while waiting in batching queue"},
        )  # fmt: skip
        call.cancel()


def _metric(server: ModelServer, name: str) -> float:
    page = server.rest("GET", "/monitoring/prometheus/metrics")[1]
    values = [line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(name)]
    return float(values[0][1]) if values else 0.0


def test_metrics_have_tensorflow_servings_names_and_a_bounded_number_of_labels(
    tiny_client: Client, tiny_server: ModelServer
) -> None:
    tiny_client.predict(predict_request("half_plus_two", {"x": [2.0]}))
    for number in range(3):
        with pytest.raises(grpc.RpcError):
            tiny_client.predict(predict_request(model=f"nobody-{number}"))
    test_rest_classify_and_regress(tiny_server)
    page = tiny_server.rest("GET", "/monitoring/prometheus/metrics")[1]
    for beginning in (
        "# TYPE :tensorflow:serving:request_count counter",
        '\n:tensorflow:serving:request_count{model_name="tiny",status="OK"} ',
        '\n:tensorflow:serving:request_count{model_name="(unknown)",status="NOT_FOUND"} ',
        "# TYPE :tensorflow:serving:request_latency histogram",
        '\n:tensorflow:serving:request_latency_bucket{model_name="tiny",API="Predict",entrypoint="GRPC",le="10"} ',
        '\n:tensorflow:serving:request_latency_bucket{model_name="tiny",API="Classify",entrypoint="REST",le="+Inf"} ',
        '\n:tensorflow:serving:request_latency_sum{model_name="tiny",API="Predict",entrypoint="GRPC"} ',
        '\n:tensorflow:serving:runtime_latency_count{model_name="tiny",API="Predict",runtime="TF1"} ',
        '\n:tensorflow:serving:request_example_count_total{model="tiny"} ',
        '\n:tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name="model_server_batch_threads"} ',
        "\n:tensorflow:core:graph_runs{} ",
        "\n:tensorflow:cc:saved_model:load_attempt_count{model_path=",
    ):
        assert beginning in "\n" + page
    assert "nobody" not in page


def test_health_checks_answer(tiny_client: Client) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(tiny_client.channel)
    for name in ("", "PredictionService", "tensorflow.serving.PredictionService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30).status == 1
