"""Between the two containers of a batch prediction's pod: `fovea-agent batch` (the store) and `fovea-batch` (the model).

Both share the working volume. The agent brings shards, the program answers them, the agent publishes the answers. Each folder
and each marker appears whole, by rename.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .skew import known

IMAGES, JSONL, TFRECORD, CSV, KAGGLE = "images", "jsonl", "tfrecord", "csv", "kaggle"
INPUT_FORMATS = (IMAGES, JSONL, TFRECORD, CSV)
OUTPUT_FORMATS = (JSONL, TFRECORD, CSV, KAGGLE)

SHARDS = "shards"
"""`<work>/shards/<number>/`: a shard that is to be answered: SHARD_FILE, and its files below RECORDS. The program removes it once
its answer is there."""
SHARD_FILE = "shard.json"
"""JSON of `Shard`."""
RECORDS = "records"
"""Folder of the shard's files: pictures, by number, or one file with the records of a byte range (of CSV with the names of the
columns in front)."""
ANSWERS = "answers"
"""`<work>/answers/<number>/`: what the program answered: PREDICTIONS, ERRORS (absent without errors) and SUMMARY_FILE. The agent
removes it once it is published."""
PREDICTIONS = "predictions"
"""In the output's format, one entry for each record that was answered, in the order of the records. Empty where none was. Of
KAGGLE lines `id,label` without a heading."""
ERRORS = "errors.jsonl"
"""A line `{"record": …, "error": …}` for each record that could not be answered."""
SUMMARY_FILE = "summary.json"
"""JSON of `Summary`."""
DONE = "done"
"""`<work>/done`: all is published that this pod was to publish. The program ends with exit code 0."""
STOPPED = "stopped"
"""`<work>/stopped`: the agent cannot go on; JSON of `report.Termination`, with `exit_code` beside. The program ends with that code."""

GRACE_SECONDS = 120
"""From the deletion of a pod to SIGKILL: the program ends at once, and then the agent publishes what it has answered."""

KAGGLE_COLUMNS = ("id", "label")
"""Of `submission.csv`: the name of a picture without its suffix; of two classes the probability of the second, else the class."""
SUBMISSION = "submission.csv"
"""The output's only file in the format KAGGLE, beside ERRORS."""

INDEX = "JOB_COMPLETION_INDEX"
"""Environment variable of a pod of an Indexed Job: its number, from 0. Of `workers` pods, number i answers the shards i, i + workers, …"""


@dataclass(frozen=True)
class Shard:
    """A part of the input that one worker answers in one piece."""

    number: int
    of: int
    """Number of all shards."""
    files: tuple[str, ...]
    """Paths below RECORDS, in the order of the input."""
    names: tuple[str, ...] = ()
    """Of IMAGES: the name of each record, its path below the input. Of others empty: a record is `<object>:<byte offset>`."""
    object: str = ""
    """Of others: path of the object below the input."""
    start: int = 0
    """Of others: byte in the object at which the first record begins."""
    header: int = 0
    """Of CSV: bytes at the beginning of the file that name the columns, before the first record."""

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        document = _object(text)
        try:
            return cls(**_fields(cls, document))
        except TypeError as error:
            raise ValueError(f"a shard is malformed: {error}") from error


@dataclass(frozen=True)
class Summary:
    """What an answered shard contains."""

    records: int
    """Number of records, answered or not."""
    errors: int = 0
    """Number of those that could not be answered."""
    first_errors: tuple[str, ...] = field(default=())
    """A few of the reasons, for people."""

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read; raises ValueError naming what is wrong."""
        document = _object(text)
        try:
            return cls(**_fields(cls, document))
        except TypeError as error:
            raise ValueError(f"a summary is malformed: {error}") from error


def part(number: int, count: int, output_format: str) -> str:
    """Name of a file of the output: the answers to shard `number` of `count`."""
    return f"part-{number:05d}-of-{count:05d}.{output_format}"


def _fields(kind: type, document: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in known(kind, document).items()}


def _object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"not a JSON object but a {type(document).__name__}")
    return document
