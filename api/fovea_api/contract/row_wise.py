"""Which outputs of an exported model are row-wise: row i of the output depends on row i of the inputs and nothing else.

The trainers' export writes this mark beside the warm-up records; Fovea's model server reads it and lets callers share a
run of the model only where it knows that their rows stay apart. TensorFlow Serving reads nothing there but the warm-up
records, so a marked model is served by it as any other.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

MARK_FILE = "assets.extra/fovea_row_wise.json"
"""The mark within a SavedModel's folder: `{"format": 1, "outputs": {"serving_default": ["scores"]}}`."""

FORMAT = 1


def write(model: Path, outputs: Mapping[str, Sequence[str]]) -> None:
    """Mark outputs, by signature, of the SavedModel in this folder."""
    path = model / MARK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "outputs": {signature: sorted(names) for signature, names in outputs.items()}}
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read(model: Path) -> dict[str, frozenset[str]]:
    """Marked outputs by signature; none where there is no mark. Raises ValueError for one that cannot be read."""
    path = model / MARK_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"{path} has format {document['format']!r}, this version reads format {FORMAT}")
        return {str(name): frozenset(map(str, outputs)) for name, outputs in document["outputs"].items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no mark of row-wise outputs: {type(error).__name__}: {error}") from error
