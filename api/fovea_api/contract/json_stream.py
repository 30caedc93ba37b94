"""JSON that is read while it arrives: the elements of one long list are never in memory together."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_CUT_NUMBER = re.compile(r"[.eE][+-]?")
LONGEST_VALUE = 1 << 20
"""Characters of one value, or of one element of the long list. The longest entry of a manifest has 12,600: twice a key of
1024 bytes, each written as six characters.
"""


def members(chunks: Iterable[bytes], long: str) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object, in their order; of the list named `long`, each of its elements under that name.

    Raises ValueError where it is no JSON object.
    """
    reader = _Reader(chunks)
    reader.take("{")
    if reader.peek() == "}":
        reader.end("}")
        return
    while True:
        name = reader.value()
        reader.take(":")
        if name == long and reader.peek() == "[":
            for element in reader.elements():
                yield long, element
        else:
            yield str(name), reader.value()
        if reader.peek() != ",":
            reader.end("}")
            return
        reader.take(",")


class _Reader:
    """What has arrived and is not used up."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Pass over it; nothing else may come."""
        if self.peek() != character:
            raise ValueError(f"{character!r} is expected, and {self._text[self._at : self._at + 20]!r} comes")
        self._at += 1

    def end(self, character: str) -> None:
        """The same, and then nothing more."""
        self.take(character)
        if self.peek():
            raise ValueError(f"it goes on after its end with {self._text[self._at : self._at + 20]!r}")

    def elements(self) -> Iterator[Any]:
        """The elements of a list."""
        self.take("[")
        if self.peek() != "]":
            yield self.value()
            while self.peek() == ",":
                self.take(",")
                yield self.value()
        self.take("]")

    def value(self) -> Any:
        """The next value, whole; one that is longer than LONGEST_VALUE is none."""
        self.peek()
        while True:
            problem: ValueError | None = None
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                problem, found, end = error, None, len(self._text)
            except RecursionError as error:
                raise ValueError("a value is nested too deeply") from error
            if end - self._at > LONGEST_VALUE:
                # What is wrong need not be that it is cut off: without a bound the whole rest would be kept, and read
                # from here again with each piece of it.
                raise problem or ValueError(f"a value is longer than {LONGEST_VALUE} characters")
            if end < len(self._text) and not _CUT_NUMBER.fullmatch(self._text, end):
                self._at = end
                return found
            # It is cut off, or may be: a number at the end of what has arrived can have more digits, and its "." or "e"
            # may be there before the digits that belong to it.
            if not self._more():
                if problem is not None:
                    raise problem
                self._at = end
                return found

    def _more(self) -> bool:
        """Take in what arrives next; False when that is nothing."""
        for chunk in self._chunks:
            self._text, self._at = self._text[self._at :] + self._decoder.decode(chunk), 0
            return True
        self._decoder.decode(b"", final=True)
        return False
