"""Which messages are taken for compressed ones."""

import gzip
import zlib

from fovea_serving.protocol import compression
from tensorflow_serving.apis import predict_pb2


def test_no_request_looks_as_if_it_were_compressed() -> None:
    from grpc_health.v1 import health_pb2
    from tensorflow_serving.apis import classification_pb2, get_model_status_pb2, inference_pb2, model_management_pb2

    for kind in (
        predict_pb2.PredictRequest, classification_pb2.ClassificationRequest, inference_pb2.MultiInferenceRequest,
        get_model_status_pb2.GetModelStatusRequest, model_management_pb2.ReloadConfigRequest,
        health_pb2.HealthCheckRequest,
    ):  # fmt: skip
        for field in kind.DESCRIPTOR.fields:
            first = field.number << 3 | (2 if field.type in (9, 11, 12) or field.is_repeated else 0)
            assert not compression.is_gzip(bytes([first, 139, 8]))
            assert first != 0x78, field.full_name
    assert compression.is_gzip(gzip.compress(b""))
    assert compression.is_zlib(zlib.compress(b""))
