"""face-verifier: whether two pictures are of the same person, by a threshold on the cosine of two embeddings.

    fovea-train make-dataset identities people --count=220
    fovea-train face-verifier --data=people --image-size=32 --epochs=12 --pairs-per-person=6 --learning-rate=0.002 --no-augment

learns from drawn people to tell others apart: 84 % of the pairs of people that it has not seen are right, after half a
minute of training on two busy cores. `--loss=softmax` and `--loss=center` need more pictures of each person, or distorted
ones: with these 8 as they are, softmax learns the pictures by heart. After 12 epochs it names every training picture and has
61 % of the pairs right. With --augment, which is the default, it has 78 to 80 % after 20 to 24 epochs (three seeds), and 80 to
82 % where center follows in the second half of them. With 24
pictures of each person (make-dataset --pictures=24), 8 epochs of softmax as they are have 91 %, as they do
with three times as many people. Raw pixels have less than 65 %. With published weights, nothing needs to be learnt:

    fovea-train face-verifier --data=lfw --pairs=pairs.txt --embedding=vggface --weights=vggface.h5 --loss=none

`--embedding=face-descriptor` takes the converted weights of face-api. With them all of 78 pairs of 14 people on its sample
photographs are right; there, other pictures of a person were made of the one that there is.

The data has a folder for each person, as LFW: anna/anna_0001.jpg. The people, not the pictures, are divided into training,
validation and test set. The threshold is the one with the fewest errors on the pairs of the validation set, and decides
those of the test set. Embeddings have length 1 and come with the digest of the weights that made them, so that they can be
kept and searched.

The article that this follows is put right in four points. It names no threshold and measures where that was chosen. Its
negative pairs may be of one person. It divides pixels by 255, where the published weights want blue first and the mean of
each channel subtracted. And it has no alignment, no fine-tuning and no test of attacks, which are here.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea_trainers.common_flags import EarlyStoppingFlags, OptimizerFlags, TrainingFlags, WeightsFlags
from fovea_trainers.errors import FlagError
from fovea_trainers.flags import flag
from fovea_trainers.vision.faces.flags import FaceFlags
from fovea_trainers.vision.flags import AugmentationFlags

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import tensorflow as tf

    from fovea_trainers.runtime.optimizers import Optimizer
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.strategy import Update
    from fovea_trainers.runtime.totals import Total
    from fovea_trainers.runtime.training import Trained
    from fovea_trainers.vision.faces.sets import Sets

NAME = "face-verifier"
HELP = "Tell whether two pictures are of the same person: pictures in a folder for each person (anna/anna_0001.jpg)."
METRICS = {
    "loss": "1 - AUC: how often a pair of two people is more similar than a pair of one. While training, that of `--loss`.",
    "auc": "Area under the ROC curve.",
    "tar_at_far_0.1": "Share of pairs of one person that is accepted where at most 10 % of those of two people are.",
    "tar_at_far_0.01": "The same where at most 1 % are. Left out with fewer than 100 pairs of two people.",
    "tar_at_far_0.001": "The same where at most 0.1 % are. Left out with fewer than 1,000 pairs of two people.",
    "accuracy": "Share of pairs that the threshold decides rightly.",
    "precision": "Of the pairs that are taken for one person, the share that is.",
    "recall": "Of the pairs of one person, the share that is taken for one.",
    "f1": "Harmonic mean of precision and recall.",
}
SMALL, VGGFACE, DESCRIPTOR = "small", "vggface", "face-descriptor"
SIZES = {SMALL: 64, VGGFACE: 224, DESCRIPTOR: 150}
"""Pixels that each network was made for."""
NONE, SOFTMAX, CENTER, TRIPLET = "none", "softmax", "center", "triplet"
SCALE = 16.0
"""Length of the vector whose products with the people's weights are the logits: of unit vectors these would be too alike."""


@dataclass(frozen=True)
class Config(FaceFlags, AugmentationFlags, TrainingFlags, OptimizerFlags, EarlyStoppingFlags, WeightsFlags):
    """Every knob."""

    epochs: int = 30
    optimizer: str = "adam"
    learning_rate: float = 0.001
    decay: float | None = 0.0
    patience: int = 5
    image_size: int = flag(
        0, "Width and height that faces are scaled to, in pixels; 0: 64 for small, 224 for vggface, 150 for face-descriptor.",
        minimum=0, maximum=1024,
    )  # fmt: skip
    embedding: str = flag(
        SMALL,
        "Network: small, four convolutions for small data; vggface, VGG16 up to its last pooling; face-descriptor, a residual "
        "network with 128 numbers a face.",
        choices=(SMALL, VGGFACE, DESCRIPTOR),
    )
    loss: str = flag(
        TRIPLET,
        "none: measure and export the weights that are given; softmax: name the training people; center: also draw the "
        "pictures of each together; triplet: keep other people farther away than another picture of the same.",
        choices=(NONE, SOFTMAX, CENTER, TRIPLET),
    )
    softmax_epochs: int = flag(
        0, "Epochs of softmax alone, before those of center or triplet begin; they count as epochs.", minimum=0
    )
    pictures_per_person: int = flag(
        4, "triplet: most pictures of one person in a group; a batch has as many groups as fit into it.", minimum=2
    )
    margin: float = flag(
        0.3, "triplet: by how much another person's squared distance is to be greater.", minimum=0, maximum=4
    )
    center_weight: float = flag(0.5, "center: weight of the center loss beside that of softmax.", minimum=0)
    center_rate: float = flag(0.5, "center: how far a center moves to the mean of its pictures.", minimum=0, maximum=1)
    threshold: float | None = flag(
        None,
        "Similarity from which pictures are of one person; none: chosen on validation pairs.",
        minimum=-1,
        maximum=1,
    )
    fgsm: str = flag(
        "1,2,4,8",
        "Robustness report: by how much each pixel of one picture is changed against the verifier, of 255; empty: no report.",
    )
    fgsm_pairs: int = flag(500, "Most pairs in the robustness report.", minimum=1)


def network(embedding: str, size: int) -> keras.Model:
    """float32 [n, size, size, 3] in 0..255 -> unit vectors [n, d]; each network prepares its pixels itself."""
    from keras import Model, layers

    from fovea_trainers.vision.faces import descriptor, vggface

    if embedding == VGGFACE:
        base = vggface.convolutions(size)
        return Model(base.input, layers.UnitNormalization(dtype="float32")(layers.Flatten()(base.output)))
    pictures = layers.Input((size, size, 3))
    if embedding == DESCRIPTOR:
        prepared = layers.Rescaling(1 / 255, offset=[-mean / 255 for mean in descriptor.MEAN])(pictures)
        return Model(pictures, layers.UnitNormalization(dtype="float32")(descriptor.face_descriptor()(prepared)))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(pictures)
    for channels in (16, 32, 64, 128):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(64, dtype="float32")(layers.Flatten()(x))
    return Model(pictures, layers.UnitNormalization(dtype="float32")(x))


@dataclass(frozen=True)
class Learner:
    """What training has beside the embedding: who is who."""

    people: keras.Model
    """Embeddings -> logits of the training people."""
    centers: keras.Variable | None
    """[people, d]; of the center loss alone."""


def learner(config: Config, people: int, dimensions: int) -> Learner:
    """For `people` persons to train on, and embeddings of `dimensions` numbers."""
    import keras

    embedding = keras.layers.Input((dimensions,))
    head = keras.Model(embedding, keras.layers.Dense(people, dtype="float32")(embedding))
    zeros = keras.initializers.Zeros()
    centers = keras.Variable(zeros, (people, dimensions), trainable=True, name="centers")
    return Learner(head, centers if config.loss == CENTER else None)


def learning(
    config: Config,
    model: keras.Model,
    who: Learner,
    steps_per_epoch: int,
    optimizer: Optimizer,
    moving: Optimizer | None,
) -> Update:
    """One update: images [n, h, w, 3], numbers of training people [n], weights [n]; first by softmax, then by --loss."""
    import tensorflow as tf

    from fovea_trainers.runtime.all_gather import all_gather
    from fovea_trainers.runtime.totals import mean, total
    from fovea_trainers.vision.faces.losses import away_from, semi_hard, to_centers

    trained = [*model.trainable_variables, *who.people.trainable_variables]
    first = config.softmax_epochs * steps_per_epoch

    def update(images: tf.Tensor, people: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> dict[str, Total]:
        later = step > first
        with tf.GradientTape() as tape:
            embeddings = model(images, training=True)
            logits = who.people(SCALE * embeddings, training=True)
            losses, counted = tf.nn.sparse_softmax_cross_entropy_with_logits(people, logits), weights
            loss = mean(losses, counted)
            if config.loss == TRIPLET:
                (seen, whose, counting), own = all_gather(config.batch_size, (embeddings, people, weights))
                triplets, pairs = semi_hard(seen, whose, counting, config.margin)
                loss = tf.where(later, tf.math.divide_no_nan(*total(triplets, pairs)), loss)
            elif who.centers is not None:
                distances = to_centers(embeddings, people, who.centers.value)
                losses += tf.where(later, config.center_weight * distances, 0.0)
                loss = mean(losses, counted)
        optimizer.apply(tape.gradient(loss, trained), step)
        if who.centers is not None and moving is not None:
            moving.apply([away_from(embeddings, people, weights, who.centers.value)], step)
        sums = total(losses, counted)
        if config.loss == TRIPLET:
            mine = total(triplets, own[:, tf.newaxis] * pairs)
            sums = tuple(tf.where(later, *both) for both in zip(mine, sums, strict=True))
        return {"loss": sums}

    return update


def evaluation(model: keras.Model) -> Callable[..., dict[str, Total]]:
    """How similar the pictures of each pair are: rows 2i and 2i + 1 of a batch."""
    from fovea_trainers.vision.faces.verification import SIMILARITIES, cosine, counted

    def evaluate(images: tf.Tensor, people: tf.Tensor) -> dict[str, Total]:
        embeddings = model(images, training=False)
        return {SIMILARITIES: counted(cosine(embeddings[0::2], embeddings[1::2]), people[0::2] == people[1::2])}

    return evaluate


def run(config: Config, session: Session) -> None:
    """Read, load, train, evaluate, attack, export, in this order. Raises TrainerError."""
    from fovea_trainers.runtime import export, pretrained, results
    from fovea_trainers.runtime.training import variables_of
    from fovea_trainers.vision.faces import fgsm, mistakes, serving, sets, verification
    from fovea_trainers.vision.faces.pairs import spread

    config = dataclasses.replace(config, image_size=config.image_size or SIZES[config.embedding])
    epsilons = fgsm.epsilons(config.fgsm)  # what is wrong with the flags is said before anything is read
    weights = session.workspace.weights(config.weights)
    require_flags(config, weights)
    faces = sets.read(
        config, config.seed, session, learning=config.loss != NONE, threshold=config.threshold is not None
    )
    with session.strategy.scope():
        model = network(config.embedding, config.image_size)
    loaded = pretrained.load(model, weights, frozen=config.loss == NONE)

    if config.loss == NONE:
        trained = measured(model, faces, config, session)
    else:
        trained = fitted(model, faces, loaded.digest, config, session)
    threshold = chosen_threshold(config, trained)
    judged = {name: verification.judged(each, threshold) for name, each in trained.evaluations.items()}
    *_, (last, pairs) = faces.pairs.items()
    sample = faces.of_pairs(spread(pairs, config.fgsm_pairs), config.batch_size)
    attacked = fgsm.attack(model, sample, threshold, epsilons, session.interruption.check)

    aligned = bool(config.landmarks)
    digest = serving.digest(variables_of(model), network=config.embedding, size=config.image_size, aligned=aligned)
    signatures = serving.exported(
        model, config.image_size, threshold, digest, exif_orientation=config.exif_orientation, aligned=aligned
    )
    export.write(session.workspace.model, signatures, tracked=variables_of(model))
    worst = mistakes.sheet(model, faces.of_pairs(pairs, config.batch_size), threshold, f"Mistakes in the {last} set")
    results.publish(
        session,
        config,
        dataclasses.replace(trained, evaluations=judged),
        about={
            **faces.sizes(),
            "embedding": {"digest": digest, "dimensions": model.output_shape[-1], "parameters": model.count_params()},
            "threshold": threshold,
            "weights": loaded.about(),
            "robustness": {"set": last, **fgsm.report(attacked)} if epsilons else None,
        },
        sets={name: verification.report(each, threshold) for name, each in judged.items()},
        pictures={
            "roc": verification.roc(judged, threshold),
            "confusion": verification.confusion(judged[last], threshold),
            **({"mistakes": worst} if worst else {}),
            **({"robustness": fgsm.curve(attacked)} if epsilons else {}),
        },
    )


def measured(model: keras.Model, faces: Sets, config: Config, session: Session) -> Trained:
    """No training: the weights as they are."""
    from fovea_trainers.runtime import loop
    from fovea_trainers.vision.faces import sets, verification

    return loop.measure(
        session,
        signature=sets.BATCH,
        evaluate=evaluation(model),
        metrics=verification.metrics,
        sets=faces.compared(config.batch_size),
    )


def fitted(model: keras.Model, faces: Sets, weights: str, config: Config, session: Session) -> Trained:
    """Training by --loss; `weights` is the digest of the file that the network began with."""
    import tensorflow as tf

    from fovea_trainers.runtime import loop, optimizers
    from fovea_trainers.runtime.training import Training, variables_of
    from fovea_trainers.vision import augmentation
    from fovea_trainers.vision.faces import sets, verification

    distortion = augmentation.of(config)
    if config.loss == TRIPLET:
        dataset, steps = faces.grouped(config.batch_size, config.pictures_per_person, distortion, seed=config.seed)
    else:
        dataset, steps = faces.plain(config.batch_size, distortion, seed=config.seed)
    with session.strategy.scope():
        who = learner(config, len(faces.learners), model.output_shape[-1])
        optimizer = optimizers.build(
            config, config.epochs, [*model.trainable_variables, *who.people.trainable_variables]
        )
        moving = (
            optimizers.make("sgd", [who.centers], optimizers.inverse_time(config.center_rate, 0.0))
            if who.centers is not None
            else None
        )
    training = Training(
        weights=[*variables_of(model, who.people), *([who.centers.value] if who.centers is not None else [])],
        optimizers=[optimizer, *([moving] if moving is not None else [])],
        signature=sets.BATCH,
        update=learning(config, model, who, steps, optimizer, moving),
        totals={"loss": tf.float32},
        evaluate=evaluation(model),
        metrics=verification.metrics,
        dataset=dataset,
        steps_per_epoch=steps,
        sets=faces.compared(config.batch_size),
        identity=sets.identity(config, faces)
        | {"weights": weights, "loss": config.loss, "pictures_per_person": config.pictures_per_person},
        shape={
            "embedding": config.embedding,
            "image_size": config.image_size,
            "people": f"{len(faces.learners)}, {hashlib.sha256(repr(faces.learners).encode()).hexdigest()[:12]}",
            "centers": moving is not None,
        },
        unreadable=faces.images.unreadable,
        unit="img",
        unvalidated=f"nobody is kept for validation (--validation-ratio={config.validation_ratio} of the people, rounded)",
    )
    return loop.train(training, config, session)


def chosen_threshold(config: Config, trained: Trained) -> float:
    """The threshold: the flag's, else the best one on the validation pairs."""
    from fovea_trainers.vision.faces import verification

    if config.threshold is not None:
        return verification.on_a_step(config.threshold)
    return verification.threshold(trained.evaluations["val"].totals.sums[verification.SIMILARITIES])


def require_flags(config: Config, weights: Path | None) -> None:
    """Raises FlagError for flags that do not go together."""
    if config.loss == NONE and weights is None:
        raise FlagError("--loss=none trains nothing, so it needs trained weights: give --weights=FILE")
    if config.embedding == DESCRIPTOR and config.image_size != SIZES[DESCRIPTOR]:
        raise FlagError(f"--embedding={DESCRIPTOR} takes pictures of 150 pixels: drop --image-size={config.image_size}")
    if config.loss in (CENTER, TRIPLET) and config.softmax_epochs >= config.epochs:
        raise FlagError(
            f"--softmax-epochs={config.softmax_epochs} leaves none of the --epochs={config.epochs} to --loss={config.loss}: "
            "lower it, or raise --epochs"
        )
