"""What the program printed: got from the operator when the program has ended, and put into the store.

A sidecar cannot read the kubelet's files, and the pod's account has no rights. The operator hands out the log of the pod whose
token asks for it, and of no other (ADR 212).
"""

import hashlib
import io
import time
from pathlib import Path

import urllib3
from fovea_api.contract.report import LOG_PATH, REPORT_TOKEN_FILE

from fovea_agent import log
from fovea_agent.errors import AgentError
from fovea_agent.store import Store

MOST_BYTES = 8 * 1024 * 1024
"""Of a longer log its end is published: there stands why a program failed."""
MOST_SECONDS = 20.0
"""For all of it: the next attempt of a member waits for the end of its pod."""
_PAUSE = 1.0
_PIECE = 64 * 1024
_TIMEOUT = urllib3.Timeout(connect=3, read=10)
_AGAIN = frozenset({429, 500, 502, 503, 504})


class ProgramLog:
    """The log of this pod's program."""

    def __init__(self, report_url: str, token_directory: Path) -> None:
        self._url = report_url.rstrip("/") + LOG_PATH
        self._token = token_directory / REPORT_TOKEN_FILE
        self._http = urllib3.PoolManager(retries=False)

    def publish(self, store: Store, key: str) -> None:
        """Put it under a key of the store, unless the program printed nothing or no operator has it. Raises AgentError."""
        until = time.monotonic() + MOST_SECONDS
        left = store.patience.left()
        if left is not None:
            until = min(until, time.monotonic() + left)
        text = self._read(until)
        if not text:
            return
        store.patience.end_at(until)  # nothing comes after it
        digest = hashlib.md5(text, usedforsecurity=False).digest()
        store.put(key, lambda: io.BytesIO(text), len(text), digest)
        log.info("published the program's log", key=key, bytes=len(text))

    def publish_last(self, store: Store, key: str) -> None:
        """Publish it when all else is done: whatever fails here costs nothing that the job has done."""
        try:
            self.publish(store, key)
        except (AgentError, OSError) as error:
            log.warning("the program's log is not published", error=str(error))
        except Exception:  # noqa: BLE001 - a defect, said with its traceback: what the job has done holds
            log.error("the program's log is not published", with_traceback=True)

    def _read(self, until: float) -> bytes:
        while time.monotonic() < until:
            try:
                status, text = self._request(until)
            except (OSError, urllib3.exceptions.HTTPError) as error:
                status, text = 503, str(error).encode()
            if status == 200:
                return text
            said = text[:200].decode(errors="replace").strip()
            if status not in _AGAIN or time.monotonic() + _PAUSE >= until:
                log.warning("the program's log is not published", status=status, error=said)
                return b""
            time.sleep(_PAUSE)
        return b""

    def _request(self, until: float) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
        # No redirect is followed: the token is for this address alone.
        answer = self._http.request(
            "GET", self._url, headers=headers, redirect=False, timeout=_TIMEOUT, preload_content=False
        )
        try:
            text = bytearray()
            for piece in answer.stream(_PIECE):
                text += piece
                if time.monotonic() >= until:
                    raise TimeoutError("the log comes too slowly")
                if len(text) > 2 * MOST_BYTES:
                    del text[:-MOST_BYTES]
            return answer.status, _end_of(bytes(text))
        finally:
            answer.close()


def _end_of(text: bytes) -> bytes:
    """The last whole lines, MOST_BYTES at most; the end of a single longer line."""
    if len(text) <= MOST_BYTES:
        return text
    kept = text[-MOST_BYTES:]
    return kept.partition(b"\n")[2] or kept
