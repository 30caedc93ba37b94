"""What TensorFlow says went wrong, without the names of its graph: for messages that people read."""

import re

import tensorflow as tf

_GRAPH = re.compile(r"\{\{[^{}]*\}\}|\[\[[^\[\]]*\]\]|\[Op:[^\]]*\]|\(defined at [^)]*\)")
_TRACE = re.compile(
    r"Detected at node|Stack trace for op definition|Original stack trace|Hint: If you want|Errors may have"
)
_HEADING = "Graph execution error:"
"""The first line of an error within a `tf.function`, whatever it is."""
_ROOT = re.compile(r"\(\d+\) [A-Z][A-Z ]*: ")
"""How an error that several operations saw is listed: `(0) INVALID_ARGUMENT: …`."""


def reason(error: tf.errors.OpError) -> str:
    """One line: the error's own words."""
    lines: list[str] = []
    for line in str(error.message).splitlines():
        if _TRACE.search(line):
            if lines:
                break
            continue
        text = _ROOT.sub("", " ".join(_GRAPH.sub(" ", line).split()))
        if text.startswith('File "') or text == _HEADING or text.endswith("root error(s) found."):
            continue
        if text:
            lines.append(text)
    return lines[0] if lines else type(error).__name__
