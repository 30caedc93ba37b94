"""Structured logs: one JSON object (or one line of text) per record, fields given by `extra`."""

import json
import logging
import sys
import threading
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, the fields of `extra`, and a traceback if there is one."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Text(logging.Formatter):
    """One line for people: time, level, message, fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """As JsonLines, for a terminal."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {name}={value!s}" for name, value in _fields(record).items())
        text = f"{time} {record.levelname:<7} {record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}


def _is_heard(record: logging.LogRecord) -> bool:
    """Kopf in a thread of its own is not: the code that started the thread reports how it ended."""
    return not record.name.startswith("kopf") or record.threadName == threading.main_thread().name


def configure(style: str, level: str) -> None:
    """Log to stderr. Kopf's own lines are logged from warning on: it logs every event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_heard)
    handler.setFormatter(Text() if style == "text" else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
