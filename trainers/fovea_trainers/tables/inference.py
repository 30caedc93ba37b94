"""An exported model on the rows of files: predictions as a CSV file, one line for each row."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fovea_api.contract import environment, signatures

from fovea_trainers.data import order
from fovea_trainers.errors import DataError
from fovea_trainers.runtime.progress import say
from fovea_trainers.runtime.session import Session
from fovea_trainers.tables import columns, reading
from fovea_trainers.tables.flags import TableFlags
from fovea_trainers.tables.labels import Truths
from fovea_trainers.tables.reading import Files, Table
from fovea_trainers.tables.rows import FEATURES, IDS, VALUES
from fovea_trainers.tables.text_files import Asked

PREDICTIONS_FILE = "predictions.csv"
MODEL_INPUT = "model"


def run(flags: TableFlags, saved_model: str, batch_size: int, session: Session) -> None:
    """Write predictions.csv for all rows that --train-files names; raises DataError.

    Its columns: file, row (of the line or record, from 1 on), truth (the row's label, if it has one), then label and the
    score of each class, or the prediction. Rows that cannot be read are left out, named and counted.
    """
    folder = _folder(saved_model, session)
    model = tf.saved_model.load(str(folder))
    ask = model.signatures[signatures.SERVING_DEFAULT]
    inputs = dict(ask.structured_input_signature[1])
    if inputs.keys() not in ({FEATURES}, {IDS, VALUES}):
        raise DataError(f"model {folder} takes {', '.join(inputs)}: it is no model of tables")
    files = reading.find(session.workspace.data(flags.data), flags)
    width = int(inputs[FEATURES].shape[1]) if FEATURES in inputs else 0
    table = _read(files, flags, Asked(width, columns.read(folder)))
    names = [spec.name for spec in table.rows.signature]
    if inputs.keys() != set(names):
        raise DataError(
            f"model {folder} takes {', '.join(sorted(inputs))}, but the files in {files.root} ({files.format}) have "
            f"{', '.join(names)}: give files of the format that it was trained on"
        )
    say(f"asking model {folder} about {len(table.numbers)} rows of {len(files.train)} files ({files.format})")
    target = session.workspace.output / PREDICTIONS_FILE
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        owners = np.repeat(np.arange(len(table.ends)), np.diff(table.ends, prepend=0))
        for count, rows in enumerate(order.cut(np.arange(len(table.numbers)), batch_size)):
            session.interruption.check()
            answer = ask(**dict(zip(names, table.rows.take(rows), strict=True)))
            if not count:
                writer.writerow(["file", "row", "truth", *_heading(answer)])
            for row, values in zip(rows, _values(answer), strict=True):
                truth = table.classes[table.labels[row]]
                writer.writerow([files.train[owners[row]], int(table.numbers[row]), truth, *values])
    _conclude(session, table)
    say(f"done: {len(table.numbers)} predictions in {target}")


def _folder(given: str, session: Session) -> Path:
    """The exported model: the one that is named, else the input named model, else what this workspace has trained."""
    inputs = session.workspace.inputs / MODEL_INPUT
    folder = Path(given) if given else inputs if inputs.exists() else session.workspace.model
    if not (folder / "saved_model.pb").is_file():
        raise DataError(
            f"{folder} holds no saved_model.pb: name the folder of an exported model by --saved-model, or give the job an "
            "input named model (model://NAME)"
        )
    return folder


def _read(files: Files, flags: TableFlags, asked: Asked) -> Table:
    # All that is found is asked about; how large indices are does not matter, since the model has weights already.
    all_files = Files(files.root, [*files.train, *files.validation], [], files.format)
    unlimited = dataclasses.replace(flags, feature_size=flags.feature_size or 1)
    return reading.read(all_files, unlimited, Truths(), standardize=False, asked=asked)


def _heading(answer: dict[str, Any]) -> list[str]:
    if signatures.CLASSES_OUTPUT not in answer:
        return ["prediction"]
    classes = [name.decode() for name in answer[signatures.CLASSES_OUTPUT].numpy()[0]]
    return ["label", *(f"score {name}" for name in classes)]


def _values(answer: dict[str, Any]) -> Iterator[list[str]]:
    if signatures.CLASSES_OUTPUT not in answer:
        for number in answer[signatures.PREDICTIONS_OUTPUT].numpy():
            yield [str(number)]
        return
    labels, scores = answer[signatures.LABEL_OUTPUT].numpy(), answer[signatures.SCORES_OUTPUT].numpy()
    for label, row in zip(labels, scores, strict=True):
        yield [label.decode(), *map(str, row)]


def _conclude(session: Session, table: Table) -> None:
    """Say what was done, and that all of it is there."""
    document = {"recipe": session.recipe, "metrics": {}, "rows": len(table.numbers), "badLines": table.bad}
    output = session.workspace.output
    (output / environment.EVALUATION_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (output / environment.SUCCESS_MARKER).touch()
