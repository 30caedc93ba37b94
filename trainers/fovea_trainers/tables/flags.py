"""Flags of recipes that train on tables. No TensorFlow here."""

from dataclasses import dataclass

from fovea_trainers.flags import flag

AUTO, CSV, LIBSVM, TFRECORD = "auto", "csv", "libsvm", "tfrecord"


CLASSIFICATION, REGRESSION = "classification", "regression"


@dataclass(frozen=True)
class TableFlags:
    """Which files are read, what their lines are, and how the rows are split into sets (`sets.read`)."""

    data: str = flag("", "Folder of tables, or one file; empty: the input named data, or the only input.")
    task: str = flag(
        CLASSIFICATION,
        "classification: the label is one of some classes; regression: it is a number to be predicted.",
        choices=(CLASSIFICATION, REGRESSION),
    )
    format: str = flag(
        AUTO,
        "What the files are; auto: CSV if their names end in .csv, TFRecord if they have .tfrecord, else libsvm.",
        choices=(AUTO, CSV, LIBSVM, TFRECORD),
    )
    train_files: str = flag(
        "", 'Files to train on below the folder, such as "train*.csv"; empty: all that --validation-files leaves.'
    )
    validation_files: str = flag("", "Files to validate on below the folder; empty: --validation-ratio of the rows.")
    validation_ratio: float = flag(
        0.2,
        "Share of the rows (of each class) kept for validation, unless --validation-files are given.",
        minimum=0,
        maximum=0.9,
    )
    test_ratio: float = flag(0.0, "Share of the rows (of each class) kept for the final test.", minimum=0, maximum=0.9)
    label_column: str = flag("", "CSV: name or number (from 1) of the column with the label; empty: the last one.")
    heading: str = flag(
        AUTO,
        "CSV: whether the first line of each file names the columns; auto: if no cell of it is a number.",
        choices=(AUTO, "yes", "no"),
    )
    feature_size: int | None = flag(
        None,
        "libsvm, and TFRecord with ids: indices are below this, larger ones are not used; none: 1 more than the largest in the training files.",
        minimum=1,
        maximum=10_000_000,
    )
    max_bad_ratio: float = flag(
        0.01, "Greatest share of lines or records that cannot be read; above it the run ends.", minimum=0, maximum=1
    )
