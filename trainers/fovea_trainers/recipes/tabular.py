"""tabular: classes or numbers from tables: a linear model, a dense network, or both together (wide and deep).

    fovea-train tabular --data=a8a --model=wide-and-deep --hidden=128,32,8 --epochs=10 --test-ratio=0.2

reads every file of the folder a8a/ as libsvm (`+1 3:1 11:1 14:1`), and keeps 20 % of the rows for validation and as many
for the test. Files whose names end in .csv are CSV: numbers, and a column with the label. Files with .tfrecord in their
names hold Examples with `label` and `features`, or `label`, `ids` and `values`. One process holds all rows in memory:
4 bytes for each number of a dense row, 8 for each index:value.

The exported model takes `features` float32 [n, columns], in the order of the CSV file's columns without the label; for
libsvm `ids` int64 and `values` float32 [n, k], where rows with fewer than k entries are filled up with the value 0.
It answers with `label`, `classes` and `scores`, as every classifier of Fovea, or with `predictions`.

    fovea-train tabular --data=line.csv --task=regression --model=lr --no-standardize --optimizer=sgd --momentum=0 \
        --learning-rate=0.01 --batch-size=1

is linear regression: on 100 points of y = 2x + 10 with noise it finds 2 and 10. --mode=inference writes predictions of an
exported model for files; --mode=export evaluates and exports a checkpoint without training.

The names and values are those of the classic TensorFlow template for such tables: 128, 32 and 8 units, adagrad, batch
normalization with an epsilon of 0.001. Its learning rate of 0.01 with batches of 1,024 needs far more than its 10 epochs
on small tables; the defaults here are 0.05 and 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_trainers.common_flags import EarlyStoppingFlags, EpochDecayFlags, OptimizerFlags, TrainingFlags
from fovea_trainers.flags import flag, whole_numbers
from fovea_trainers.tables.flags import TableFlags

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    import tensorflow as tf

    from fovea_trainers.runtime.evaluation import Evaluation, Sums
    from fovea_trainers.runtime.optimizers import Optimizer
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.strategy import Update
    from fovea_trainers.runtime.totals import Total
    from fovea_trainers.tables.sets import Sets

NAME = "tabular"
HELP = "Train a linear model, a dense network, or both together, on tables in CSV, libsvm or TFRecord files."
METRICS = {
    "loss": "Mean cross-entropy; of numbers (--task=regression) the mean squared error.",
    "accuracy": "Share of rows whose most probable class is the right one.",
    "auc": "With two classes: share of pairs of rows, one of each class, in which the row of the second class has the higher score.",
    "mae": "Of numbers: mean absolute error.",
    "r2": "Of numbers: share of their variance that the predictions explain.",
}
LINEAR, DENSE, BOTH = "lr", "dnn", "wide-and-deep"
TRAIN, EXPORT, INFERENCE = "train", "export", "inference"
TARGET = "target"
EPSILON = 0.001
"""Of batch normalization."""


@dataclass(frozen=True)
class Config(TableFlags, TrainingFlags, OptimizerFlags, EpochDecayFlags, EarlyStoppingFlags):
    """Every knob."""

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adagrad"
    learning_rate: float = 0.05
    decay: float | None = 0.0
    early_stopping: bool = False
    mode: str = flag(
        TRAIN,
        "train: train, evaluate, export; export: evaluate and export the newest checkpoint, without training; inference: "
        "write what an exported model says of each row of the files into predictions.csv.",
        choices=(TRAIN, EXPORT, INFERENCE),
    )
    saved_model: str = flag(
        "", "inference: folder of the exported model; empty: the input named model, else the one that was trained here."
    )
    model: str = flag(
        BOTH,
        "lr: logistic or linear regression; dnn: dense layers; wide-and-deep: the sum of both.",
        choices=(LINEAR, DENSE, BOTH),
    )
    hidden: str = flag("128,32,8", "Units of each dense layer of dnn and wide-and-deep, from the first to the last.")
    batch_norm: bool = flag(False, "Normalize what each dense layer gives over the batch.")
    dropout: float = flag(0.0, "Share of each dense layer's units left out at random.", minimum=0, maximum=0.9)
    standardize: bool = flag(
        True, "Give every dense column, and the numbers that are to be predicted, mean 0 and deviation 1 in the model."
    )


def network(config: Config, sets: Sets) -> keras.Model:
    """The tensors of a batch -> logits [n, classes], to which loss and signature add the softmax; or numbers [n, 1]."""
    from keras import Model, layers

    from fovea_trainers.tables.layers import Restore

    inputs, linear = sets.table.rows.inputs(sets.train)
    outputs = deep = None
    width = len(sets.classes) or 1
    if config.model != DENSE:
        outputs = linear(width)
    for units in hidden(config) if config.model != LINEAR else ():
        deep = linear(units) if deep is None else layers.Dense(units)(deep)
        if config.batch_norm:
            deep = layers.BatchNormalization(epsilon=EPSILON)(deep)
        deep = layers.Activation("relu")(deep)
        if config.dropout:
            deep = layers.Dropout(config.dropout)(deep)
    if deep is not None:
        last = layers.Dense(width, dtype="float32")(deep)
        outputs = last if outputs is None else layers.Add(dtype="float32")([outputs, last])
    if not sets.classes:
        outputs = Restore(*(sets.scale if config.standardize else (0.0, 1.0)), name=TARGET)(outputs)
    return Model(inputs, outputs)


def measures(labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
    """Of every row [n]: its loss, cross-entropy or the squared error, and how right or wrong the answer is."""
    import tensorflow as tf

    from fovea_trainers.runtime.classification import hits

    if labels.dtype == tf.float32:
        away = outputs[:, 0] - labels
        return {"loss": tf.square(away), "mae": tf.abs(away)}
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
    return {"loss": losses, "accuracy": hits(labels, outputs)}


def learning(model: keras.Model, optimizer: Optimizer, sets: Sets) -> Update:
    """One update by the loss of a batch: features, labels [n], weights [n], number of the step."""
    import tensorflow as tf

    from fovea_trainers.runtime.totals import mean, total

    def update(*batch: tf.Tensor) -> dict[str, Total]:
        *features, labels, weights, step = batch
        with tf.GradientTape() as tape:
            values = measures(labels, model(features, training=True))
            loss = mean(values["loss"], weights)
            if not sets.classes:  # the learning rate means the same whatever unit the numbers have
                loss /= tf.square(model.get_layer(TARGET).deviation)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), step)
        return {name: total(each, weights) for name, each in values.items()}

    return update


def evaluation(model: keras.Model, sets: Sets) -> Callable[..., dict[str, Total]]:
    """The same without an update; which classes were taken for which, and how two are ranked; how far the labels spread."""
    from fovea_trainers.runtime.classification import CONFUSION, RANKING, confusion, ranking
    from fovea_trainers.runtime.regression import spread
    from fovea_trainers.runtime.totals import total

    def evaluate(*batch: tf.Tensor) -> dict[str, Total]:
        *features, labels = batch
        outputs = model(features, training=False)
        totals = {name: total(each) for name, each in measures(labels, outputs).items()}
        if not sets.classes:
            return totals | dict(spread(labels, sets.scale[0]))
        totals[CONFUSION] = confusion(labels, outputs)
        return totals | ({RANKING: ranking(labels, outputs)} if len(sets.classes) == 2 else {})

    return evaluate


def metrics(totals: Sums) -> Mapping[str, float]:
    """Loss and accuracy; with two classes also the AUC, of which the second class is the positive one. Or loss, mae and r2."""
    from fovea_trainers.runtime import regression
    from fovea_trainers.runtime.classification import RANKING, auc

    if regression.SPREAD in totals.sums:
        return regression.metrics(totals)
    ranked = totals.sums.get(RANKING)
    return totals.ratios() | ({} if ranked is None else {"auc": auc(ranked)})


def run(config: Config, session: Session) -> None:
    """Read, train, evaluate, export, in this order; or what --mode says. Raises TrainerError."""
    import tensorflow as tf

    from fovea_trainers.runtime import classification, export, loop, optimizers, regression, results
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.tables import columns, inference
    from fovea_trainers.tables import sets as tables

    if config.mode == INFERENCE:
        session.strategy.leave_to_chief()
        inference.run(config, config.saved_model, config.batch_size, session)
        return
    hidden(config)  # what is wrong with the flags is said before anything is read
    sets = tables.read(config, config.seed, session, standardize=config.standardize)
    steps = sets.steps(config.batch_size)
    with session.strategy.scope():
        model = network(config, sets)
        optimizer = optimizers.build(
            config, config.epochs, model.trainable_variables, factor=optimizers.by_epoch(config.epoch_decay, steps)
        )

    training = Training(
        weights=variables_of(model),
        optimizers=[optimizer],
        signature=sets.signature,
        update=learning(model, optimizer, sets),
        totals={"loss": tf.float32, "accuracy": tf.int64} if sets.classes else {"loss": tf.float32, "mae": tf.float32},
        evaluate=evaluation(model, sets),
        metrics=metrics,
        dataset=sets.training(config.batch_size, seed=config.seed),
        steps_per_epoch=steps,
        sets=sets.evaluated(config.batch_size),
        identity=tables.identity(config, sets),
        shape=shape(config, sets),
        unit="rows",
        unvalidated=tables.unvalidated(config),
    )
    trained = (loop.evaluated if config.mode == EXPORT else loop.train)(training, config, session)

    def report(evaluated: Evaluation) -> dict[str, object]:
        if sets.classes:
            return classification.report(evaluated, sets.classes, unit="rows")
        return regression.report(evaluated, unit="rows")

    export.write(
        session.workspace.model,
        sets.exported(model),
        tracked=variables_of(model),
        beside=lambda folder: columns.write(folder, sets.table.columns),
    )
    results.publish(
        session,
        config,
        trained,
        about={
            "classes": list(sets.classes),
            "features": list(sets.table.columns) or sets.table.rows.width,
            "rows": sets.sizes(),
            "badLines": sets.table.bad,
        },
        sets={name: report(each) for name, each in trained.evaluations.items()},
    )


def hidden(config: Config) -> list[int]:
    """--hidden as numbers. Raises FlagError."""
    return whole_numbers("hidden", config.hidden, example="128,32,8")


def shape(config: Config, sets: Sets) -> dict[str, object]:
    """What the weights were made for: a checkpoint of another shape does not fit."""
    deep = config.model != LINEAR
    return {
        "classes": list(sets.classes),
        "features": list(sets.table.columns) or sets.table.rows.width,
        "model": config.model,
        "hidden": hidden(config) if deep else [],
        "batch_norm": deep and config.batch_norm,
        "dropout": deep and config.dropout > 0,
        "standardize": (sets.table.rows.dense or not sets.classes) and config.standardize,
    }
