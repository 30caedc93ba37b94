"""What a run leaves in `$FOVEA_OUTPUT_DIR`; the marker `_SUCCESS` comes last and says that all of it is there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea_api.contract import environment


def write_evaluation(output: Path, document: Mapping[str, Any]) -> None:
    """Write evaluation.json; its `metrics` (name -> number) is what a ModelVersion records."""
    (output / environment.EVALUATION_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def mark_success(output: Path) -> None:
    """The run is finished: the last thing it does."""
    (output / environment.SUCCESS_MARKER).touch()
