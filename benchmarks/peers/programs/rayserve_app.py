"""Ray Serve's side: `python rayserve_app.py PORT`, in Ray's own environment. Requests are bytes, one picture in each."""

import os
import signal
import sys
import threading

import numpy as np
import ray
import tensorflow as tf
from ray import serve
from starlette.requests import Request

BATCH = 32
MOST_REQUESTS = 2 * BATCH
"""Twice a batch, so that the next one fills while one runs."""
STORE_BYTES = 100 * 2**20


@serve.deployment(max_ongoing_requests=MOST_REQUESTS)
class Classifier:
    """The SavedModel in the folder MODEL_FOLDER."""

    def __init__(self) -> None:
        signatures = tf.saved_model.load(os.environ["MODEL_FOLDER"]).signatures
        self.on_jpeg, self.on_pixels = signatures["serving_default"], signatures["pixels"]

    async def __call__(self, request: Request) -> dict:
        body = await request.body()
        return await (self.pixels(body) if request.url.path.endswith("/pixels") else self.jpeg(body))

    @serve.batch(max_batch_size=BATCH)
    async def jpeg(self, bodies: list[bytes]) -> list[dict]:
        return _rows(self.on_jpeg(image=tf.constant(bodies)))

    @serve.batch(max_batch_size=BATCH)
    async def pixels(self, bodies: list[bytes]) -> list[dict]:
        arrays = [np.frombuffer(body, np.float32).reshape(224, 224, 3) for body in bodies]
        return _rows(self.on_pixels(pixels=tf.constant(np.stack(arrays))))


def _rows(found: dict) -> list[dict]:
    pairs = zip(found["scores"].numpy().tolist(), found["label"].numpy(), strict=True)
    return [{"scores": scores, "label": label.decode()} for scores, label in pairs]


if __name__ == "__main__":
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    home = os.environ["HOME"]
    ray.init(address="local", include_dashboard=False, object_store_memory=STORE_BYTES, _temp_dir=home)
    quiet = {"enable_access_log": False}
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config=quiet)
    serve.run(Classifier.bind())
    told.wait()
    serve.shutdown()
    ray.shutdown()
