"""Structured logging: one JSON object per line on standard error."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("fovea.agent")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def configure(level: str = "INFO") -> None:
    """Send everything to standard error as JSON lines; the store's client keeps to warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(level)


def info(event: str, **fields: Any) -> None:
    """Something happened as it should."""
    _LOGGER.info(event, extra={"fields": fields})


def warning(event: str, **fields: Any) -> None:
    """Something happened that somebody may want to look at; work goes on."""
    _LOGGER.warning(event, extra={"fields": fields})


def error(event: str, *, with_traceback: bool = False, **fields: Any) -> None:
    """Work stops."""
    _LOGGER.error(event, extra={"fields": fields}, exc_info=with_traceback)
