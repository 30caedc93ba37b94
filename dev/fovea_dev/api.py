"""A small client of the API server for the steps of `up`: read, apply, wait. No dependency but the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fovea_dev.progress import StepFailed

FIELD_MANAGER = "fovea-dev"
Object = dict[str, Any]


class ApiError(StepFailed):
    """An answer of the API server that is no success."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """Talks to one API server with a client certificate."""

    def __init__(self, host: str, port: int, *, authority: Path, certificate: Path, key: Path) -> None:
        self._address = (host, port)
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(str(certificate), str(key))

    def is_ready(self) -> bool:
        """Whether /readyz says yes; False as well while no server listens."""
        try:
            return self._send("GET", "/readyz", None, "")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> Object:
        """Read an object or a list. Raises ApiError (its `code` says which)."""
        return self.request("GET", path)

    def text(self, path: str) -> str:
        """Read what is no JSON, such as a log. Raises ApiError."""
        status, text = self._send("GET", path, None, "")
        _demand_success("GET", path, status, text)
        return text

    def lines(self, path: str) -> Iterator[str]:
        """Lines of an answer that goes on for a while, such as that of a watch. Raises ApiError."""
        with self._connection() as connection:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                _demand_success("GET", path, answer.status, answer.read().decode(errors="replace"))
            while line := answer.readline():
                yield line.decode()

    def exists(self, path: str) -> bool:
        """Whether an object is there."""
        try:
            self.get(path)
        except ApiError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def apply(self, path: str, body: Object) -> Object:
        """Server-side apply an object at its own path."""
        query = f"?fieldManager={FIELD_MANAGER}&force=true"
        return self.request("PATCH", path + query, body, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        """Delete an object; not being there is fine."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.code != http.HTTPStatus.NOT_FOUND:
                raise

    def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        """One request; the answer as an object. Raises ApiError with the server's message."""
        status, text = self._send(method, path, body, content_type)
        _demand_success(method, path, status, text)
        answer = json.loads(text)
        if not isinstance(answer, dict):
            raise ApiError(f"{method} {path}: no JSON object in the answer", status)
        return answer

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPSConnection]:
        connection = http.client.HTTPSConnection(*self._address, context=self._context, timeout=30)
        try:
            yield connection
        finally:
            connection.close()

    def _send(self, method: str, path: str, body: Object | None, content_type: str) -> tuple[int, str]:
        headers = {"Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = content_type
        with self._connection() as connection:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")


def _demand_success(method: str, path: str, status: int, text: str) -> None:
    if status >= http.HTTPStatus.BAD_REQUEST:
        raise ApiError(f"{method} {path}: {status}: {_message(text)}", status)


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:500]
