"""tabular: classes from tables: logistic regression, a dense network, or both together (wide and deep).

    fovea-train tabular --data=a8a --model=wide-and-deep --hidden=128,32,8 --epochs=10 --test-ratio=0.2

reads every file of the folder a8a/ as libsvm (`+1 3:1 11:1 14:1`), and keeps 20 % of the rows for validation and as many
for the test. Files whose names end in .csv are CSV: numbers, and a column with the label. One process holds all rows in
memory: 4 bytes for each number of a CSV file, 8 for each index:value.

The exported model takes `features` float32 [n, columns], in the order of the CSV file's columns without the label; for
libsvm `ids` int64 and `values` float32 [n, k], where rows with fewer than k entries are filled up with the value 0.
It answers with `label`, `classes` and `scores`, as every classifier of Fovea.

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

    from fovea_trainers.runtime.evaluation import Sums
    from fovea_trainers.runtime.optimizers import Optimizer
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.strategy import Update
    from fovea_trainers.runtime.totals import Total
    from fovea_trainers.tables.sets import Sets

NAME = "tabular"
HELP = "Train a linear model, a dense network, or both together, on tables in CSV or libsvm files."
METRICS = {
    "loss": "Mean cross-entropy.",
    "accuracy": "Share of rows whose most probable class is the right one.",
    "auc": "With two classes: share of pairs of rows, one of each class, in which the row of the second class has the higher score.",
}
LINEAR, DENSE, BOTH = "lr", "dnn", "wide-and-deep"
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
    model: str = flag(
        BOTH,
        "lr: logistic regression; dnn: dense layers; wide-and-deep: the sum of both.",
        choices=(LINEAR, DENSE, BOTH),
    )
    hidden: str = flag("128,32,8", "Units of each dense layer of dnn and wide-and-deep, from the first to the last.")
    batch_norm: bool = flag(False, "Normalize what each dense layer gives over the batch.")
    dropout: float = flag(0.0, "Share of each dense layer's units left out at random.", minimum=0, maximum=0.9)
    standardize: bool = flag(True, "CSV: give every column mean 0 and deviation 1 in the model.")


def network(config: Config, sets: Sets) -> keras.Model:
    """The tensors of a batch -> logits [n, classes]; loss and exported signature add the softmax."""
    from keras import Model, layers

    inputs, linear = sets.table.rows.inputs(sets.train)
    classes = len(sets.classes)
    if config.model == LINEAR:
        return Model(inputs, linear(classes))
    deep = None
    for units in hidden(config):
        deep = linear(units) if deep is None else layers.Dense(units)(deep)
        if config.batch_norm:
            deep = layers.BatchNormalization(epsilon=EPSILON)(deep)
        deep = layers.Activation("relu")(deep)
        if config.dropout:
            deep = layers.Dropout(config.dropout)(deep)
    logits = layers.Dense(classes)(deep)
    return Model(inputs, logits if config.model == DENSE else layers.Add()([linear(classes), logits]))


def learning(model: keras.Model, optimizer: Optimizer) -> Update:
    """One update by the cross-entropy of a batch: features, class numbers [n], weights [n], number of the step."""
    import tensorflow as tf

    from fovea_trainers.runtime.classification import hits
    from fovea_trainers.runtime.totals import mean, total

    def update(*batch: tf.Tensor) -> dict[str, Total]:
        *features, labels, weights, step = batch
        with tf.GradientTape() as tape:
            logits = model(features, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = mean(losses, weights)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), step)
        return {"loss": total(losses, weights), "accuracy": total(hits(labels, logits), weights)}

    return update


def evaluation(model: keras.Model) -> Callable[..., dict[str, Total]]:
    """The same loss and hits without an update, which classes were taken for which, and how two are ranked."""
    import tensorflow as tf

    from fovea_trainers.runtime.classification import CONFUSION, RANKING, confusion, hits, ranking
    from fovea_trainers.runtime.totals import total

    def evaluate(*batch: tf.Tensor) -> dict[str, Total]:
        *features, labels = batch
        logits = model(features, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        totals = {"loss": total(losses), "accuracy": total(hits(labels, logits)), CONFUSION: confusion(labels, logits)}
        return totals | ({RANKING: ranking(labels, logits)} if logits.shape[1] == 2 else {})

    return evaluate


def metrics(totals: Sums) -> Mapping[str, float]:
    """Loss and accuracy; with two classes also the AUC, of which the second class is the positive one."""
    from fovea_trainers.runtime.classification import RANKING, auc

    ranked = totals.sums.get(RANKING)
    return totals.ratios() | ({} if ranked is None else {"auc": auc(ranked)})


def run(config: Config, session: Session) -> None:
    """Read, train, evaluate, export, in this order. Raises TrainerError."""
    import tensorflow as tf

    from fovea_trainers.runtime import export, loop, optimizers, results
    from fovea_trainers.runtime.classification import report
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.tables import sets as tables

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
        update=learning(model, optimizer),
        totals={"loss": tf.float32, "accuracy": tf.int64},
        evaluate=evaluation(model),
        metrics=metrics,
        dataset=sets.training(config.batch_size, seed=config.seed),
        steps_per_epoch=steps,
        sets=sets.evaluated(config.batch_size),
        identity=tables.identity(config, sets),
        shape=shape(config, sets),
        unit="rows",
        unvalidated=tables.unvalidated(config),
    )
    trained = loop.train(training, config, session)

    export.write(session.workspace.model, sets.exported(model), tracked=variables_of(model))
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
        sets={name: report(each, sets.classes, unit="rows") for name, each in trained.evaluations.items()},
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
        "standardize": bool(sets.table.columns) and config.standardize,
    }
