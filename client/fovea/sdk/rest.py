"""Predictions over TensorFlow Serving's REST API."""

import base64
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from fovea_api.contract import names, signatures

from . import endpoints, rollout
from .cluster import Cluster
from .errors import PredictionError, UnreachableError
from .images import Image, Prediction, from_outputs, load

IN_FLIGHT = 8


def classify(
    model: str,
    images: Iterable[Image],
    *,
    endpoint: str | None = None,
    host: str = "",
    gateway: str = "",
    version: int | None = None,
    cluster: Cluster | None = None,
    signature: str = "",
    input_name: str = signatures.IMAGE_INPUT,
    timeout: float = 30.0,
    rollout_timeout: float = rollout.SECONDS,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Prediction]:
    """As `Predictor.classify`, over HTTP. `endpoint` is host:port or a URL such as https://models.example.com; `host` and `gateway` as there."""
    if endpoint:
        found = endpoints.Endpoint(endpoint, "--endpoint")
    else:
        found = endpoints.resolve(
            cluster or Cluster(),
            model,
            protocol="rest",
            version=version,
            gateway=gateway,
            rollout_timeout=rollout_timeout,
            notice=notice,
        )
    root = found.address if "://" in found.address else f"http://{found.address}"
    path = f"/v1/models/{model}" + (f"/versions/{version}" if version is not None else "")
    url = f"{root.rstrip('/')}{path}:predict"
    host = host or found.host
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    if version is not None:
        headers[names.VERSION_HEADER] = str(version)

    def post(body: bytes) -> list[object]:
        return _post(url, body, headers, timeout)

    try:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return list(pool.map(lambda image: _classify(post, image, signature, input_name, version), images))
    finally:
        found.close()


def _classify(
    post: Callable[[bytes], list[object]], image: Image, signature: str, input_name: str, version: int | None
) -> Prediction:
    source, content = load(image)
    body: dict[str, object] = {"instances": [{input_name: {"b64": base64.b64encode(content).decode()}}]}
    if signature:
        body["signature_name"] = signature
    try:
        answer = post(json.dumps(body).encode())
    except PredictionError as error:
        return Prediction(source=source, error=str(error))
    first = answer[0] if answer else {}
    outputs = first if isinstance(first, dict) else {"output": first}
    return from_outputs(source, version or 0, {name: [value] for name, value in outputs.items()})


def _post(url: str, body: bytes, headers: dict[str, str], timeout: float) -> list[object]:
    import urllib3

    try:
        # Predict has no effects, so a connection that broke is tried again.
        retries = urllib3.Retry(
            total=3, allowed_methods=None, status_forcelist=(503,), backoff_factor=0.2, raise_on_status=False
        )
        response = urllib3.request("POST", url, body=body, headers=headers, timeout=timeout, retries=retries)
    except urllib3.exceptions.HTTPError as error:
        raise UnreachableError(f"{url} does not answer ({error}): --endpoint URL names another address") from error
    try:
        document = json.loads(response.data)
    except ValueError:
        document = {}
    if response.status != 200 or "predictions" not in document:
        text = document.get("error") or response.data[:200].decode(errors="replace")
        raise PredictionError(f"{url} answered HTTP {response.status}: {text}", str(response.status))
    return list(document["predictions"])
