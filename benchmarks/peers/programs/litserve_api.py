"""LitServe's side: `python litserve_api.py PORT`, in LitServe's own environment.

Requests are forms with one file, which LitServe takes beside JSON (with `python-multipart`): JSON would make each number
a text.
"""

import os
import sys
from typing import Any

import litserve
import numpy as np
import tensorflow as tf

BATCH = 32
WAIT_SECONDS = 0.01


class Classifier(litserve.LitAPI):
    """One signature of the SavedModel in the folder MODEL_FOLDER."""

    signature, argument = "serving_default", "image"

    def setup(self, device: str) -> None:  # noqa: ARG002
        self.run = tf.saved_model.load(os.environ["MODEL_FOLDER"]).signatures[self.signature]

    def decode_request(self, request):
        return request["content"].file.read()

    def batch(self, inputs: list) -> Any:
        return tf.constant(inputs)

    def predict(self, x: Any) -> list[dict]:
        found = self.run(**{self.argument: x})
        pairs = zip(found["scores"].numpy().tolist(), found["label"].numpy(), strict=True)
        return [{"scores": scores, "label": label.decode()} for scores, label in pairs]

    def unbatch(self, output: list[dict]) -> list[dict]:
        return output

    def encode_response(self, output: dict) -> dict:
        return output


class PixelClassifier(Classifier):
    """The signature for floats."""

    signature, argument = "pixels", "pixels"

    def decode_request(self, request):
        return np.frombuffer(request["content"].file.read(), np.float32).reshape(224, 224, 3)

    def batch(self, inputs: list) -> Any:
        return tf.constant(np.stack(inputs))


if __name__ == "__main__":
    apis = [
        kind(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS, api_path=path)
        for path, kind in (("/jpeg", Classifier), ("/pixels", PixelClassifier))
    ]
    server = litserve.LitServer(apis, accelerator="cpu", fast_queue=True, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
