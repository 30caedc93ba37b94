r"""Text that a user can cause (last words, names of metrics and files), in a form that the API server takes and keeps.

Python holds half a character (a lone surrogate: a file name that is no UTF-8, a cut `\ud83e` in JSON); UTF-8 does not.
The API server reads the body of a server-side apply as YAML, which is stricter than JSON: it refuses a pair of
`\ud83e\udd17` escapes, and characters that JSON takes as they are.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_HALF = re.compile("[\ud800-\udfff]")
_ONLY_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that YAML does not take as they are, or takes for a line break."""


def whole(text: str) -> str:
    """The text with U+FFFD for every half of a character."""
    return text if text.isascii() else _HALF.sub(REPLACEMENT, text)


def storable(document: Any) -> Any:
    """The JSON document with whole characters only. Of keys that become the same the first one stays."""
    if isinstance(document, str):
        return whole(document)
    if isinstance(document, Mapping):
        kept: dict[Any, Any] = {}
        for key, value in document.items():
            kept.setdefault(storable(key), storable(value))
        return kept
    if isinstance(document, (list, tuple)):
        return [storable(value) for value in document]
    return document


def to_json(document: Any) -> bytes:
    """A body that the API server reads the same as JSON and as YAML. Raises ValueError: a number that JSON does not have."""
    text = _dumps(document)
    if _HALF.search(text):
        text = _dumps(storable(document))
    return _ONLY_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _dumps(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def cut(text: str, most: int) -> str:
    """The text with whole characters only, shortened at its end to `most` bytes of UTF-8."""
    data = whole(text).encode()
    return data.decode() if len(data) <= most else f"{data[: most - 4].decode(errors='ignore')} …"
