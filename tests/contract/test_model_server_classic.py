"""The cases of TensorFlow Serving's own integration test, on models made like its test data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.model_server import Client, ModelServer, add_warm_up, model_server, predict_request, publish

MODELS = ("half_plus_two", "half_plus_three", "bare", "sparse", "ragged", "counter")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    from support import classic_models

    folder = tmp_path_factory.mktemp("classic")
    made = {name: folder / "made" / name for name in MODELS}
    classic_models.save_half_plus(made["half_plus_two"], 2.0)
    classic_models.save_half_plus(made["half_plus_three"], 3.0)
    classic_models.save_half_plus(made["bare"], 2.0, shapes=False)
    classic_models.save_half_plus(made["sparse"], 2.0, kind="sparse")
    classic_models.save_half_plus(made["ragged"], 2.0, kind="ragged")
    classic_models.save_counter(made["counter"])
    for name in ("half_plus_two", "bare"):
        # A request of a vector, where the graph declares a column: the other server replays and answers it.
        add_warm_up(made[name], predict_request("", {"x": [1.0, 2.0, 5.0]}, model=name))
    entries = []
    for name, source in made.items():
        publish(source, folder / "models" / name, 123)
        entries.append(f'config {{ name: "{name}" base_path: "{folder / "models" / name}" }}')
    config = folder / "models.config"
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    with model_server(folder, f"--model_config_file={config}", "--max_num_load_retries=0") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: ModelServer) -> Client:
    return Client(server.address)


def ask(server: ModelServer, model: str, verb: str, body: dict[str, Any]) -> Any:
    status, answer, _ = server.rest("POST", f"/v1/models/{model}:{verb}", body)
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("model", ["half_plus_two", "bare"])
def test_rows_that_are_numbers_where_the_graph_declares_columns_are_answered(server: ModelServer, model: str) -> None:
    assert ask(server, model, "predict", {"instances": [1.0, 2.0, 5.0]}) == {"predictions": [2.5, 3.0, 4.5]}
    assert ask(server, model, "predict", {"inputs": [2.0, 3.0, 4.0]}) == {"outputs": [3.0, 3.5, 4.0]}
    assert ask(server, model, "predict", {"inputs": 2.0}) == {"outputs": 3.0}
    assert ask(server, model, "predict", {"instances": [[1.0], [2.0]]}) == {"predictions": [[2.5], [3.0]]}
    assert ask(server, model, "predict", {"instances": [[[1.0, 2.0]]]}) == {"predictions": [[[2.5, 3.0]]]}
    assert ask(server, model, "predict", {"inputs": []}) == {"outputs": []}


@pytest.mark.parametrize(
    ("model", "expected"), [("half_plus_two", 3.0), ("half_plus_three", 4.0), ("bare", 3.0), ("sparse", 3.0)]
)
def test_a_vector_is_predicted_over_grpc_with_and_without_a_filter(client: Client, model: str, expected: float) -> None:
    for outputs in ([], ["y"]):
        request = predict_request("", {"x": [2.0]}, model=model, outputs=outputs)
        response = client.prediction.Predict(request, timeout=30)
        spec = response.model_spec
        assert list(response.outputs["y"].float_val) == [expected]
        assert (spec.name, spec.signature_name, spec.version.value) == (model, "serving_default", 123)


@pytest.mark.parametrize("model", ["half_plus_two", "bare", "sparse", "ragged"])
def test_examples_are_classified_and_regressed(server: ModelServer, model: str) -> None:
    examples = [{"x": 2.0}, {"x": 4.0}]
    classify = {"signature_name": "classify_x_to_y", "examples": examples}
    assert ask(server, model, "classify", classify) == {"results": [[["", 3.0]], [["", 4.0]]]}
    regress = {"signature_name": "regress_x_to_y", "examples": examples}
    assert ask(server, model, "regress", regress) == {"results": [3.0, 4.0]}


def test_several_tasks_share_their_examples(client: Client) -> None:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        request.tasks.add(
            model_spec={"name": "half_plus_two", "signature_name": signature},
            method_name=f"tensorflow/serving/{method}",
        )
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    regressed, classified = client.prediction.MultiInference(request, timeout=30).results
    assert regressed.regression_result.regressions[0].value == 3.0
    assert classified.classification_result.classifications[0].classes[0].score == 3.0


def test_a_model_that_keeps_something_between_requests_keeps_it(client: Client) -> None:
    def counter(signature: str, **inputs: Any) -> float:
        return client.predict(predict_request(signature, inputs, model="counter"))["output"]

    steps = [counter("incr_counter"), counter("incr_counter_by", delta=3.0), counter("get_counter")]
    assert [*steps, counter("reset_counter"), counter("get_counter")] == [1.0, 4.0, 4.0, 0.0, 0.0]


def test_whole_numbers_beyond_the_digits_of_a_float_are_read_and_written(server: ModelServer) -> None:
    half = ask(server, "half_plus_two", "predict", {"inputs": [1435774380]})["outputs"]
    assert half == [717887168.0]


def test_what_the_runtime_refuses_is_refused_in_its_words_and_code(server: ModelServer, client: Client) -> None:
    status, answer, _ = server.rest("POST", "/v1/models/sparse:regress", {"examples": [{"x": "word"}]})
    assert status == 400, answer
    assert client.states("bare") == {123: (30, "")}


@pytest.mark.parametrize(
    "sizes", [[1] * 300, [0, 2**62], [2**62, 0], [2**40, 2**40]], ids=["many", "wide", "long", "large"]
)
def test_a_tensor_of_a_shape_that_no_array_has_is_an_invalid_argument(
    client: Client, server: ModelServer, sizes: list[int]
) -> None:
    import grpc
    from tensorflow.core.framework import tensor_pb2

    shape = {"dim": [{"size": size} for size in sizes]}
    tensor = tensor_pb2.TensorProto(dtype=1, tensor_shape=shape, float_val=[1.0])
    with pytest.raises(grpc.RpcError) as caught:
        client.prediction.Predict(predict_request("", {"x": tensor}, model="half_plus_two"), timeout=30)
    assert (caught.value.code(), caught.value.details()[:23]) == (
        grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x",
    )  # fmt: skip
    assert "Traceback" not in server.log
