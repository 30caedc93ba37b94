r"""caption-generator: says in words what a picture shows, by a Transformer that looks at features of InceptionV3.

    fovea-train caption-generator --data=flickr8k --weights=inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5

trains on the 8,000 pictures of Flickr8k, with five captions each. The folder holds the pictures and `Flickr8k.token.txt`.
The weights are those that Keras publishes; without any, `--backbone=small-cnn` trains a small network from scratch:

    fovea-train make-dataset captions shapes
    fovea-train caption-generator --data=shapes --backbone=small-cnn --image-size=48 --d-model=64 --layers=1 --heads=4 \
        --dff=128 --dropout=0 --warmup-steps=300 --learning-rate=0.5 --batch-size=32 --epochs=10 --longest=16

On these rendered shapes BLEU-4 of the test set is 0.91, after 3 minutes on two very busy cores; the most frequent caption has
0.15. Of the captions, 78 % are right about size, colour, form and place of both shapes.

The defaults are the sizes of the well-known article on Flickr8k: features 8×8×2048 of pictures of 299×299, encoder and decoder
of 4 layers with d_model 512, 8 heads, dff 2048, dropout 0.1, norms behind each layer; sines and cosines of rows and columns for
the picture, of positions for the words; Adam with 0.9, 0.98 and 1e-9, and a learning rate that rises for 4,000 steps; 30 epochs
of batches of 64. Captions are cleaned as there: small letters, no punctuation, no single characters, no words with digits; the
5,000 most frequent words are known. Where the article slips, this recipe does not:

- All captions of a picture are in one set. There they were split one by one, so that pictures were trained and tested on.
- BLEU-n weighs the orders 1 to n equally, and compares with all captions of a picture. There the weights of BLEU-3 add
  up to 0.9, and one caption counted.
- A caption never contains `<unk>`, `<start>` or `<pad>`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fovea_trainers.captions.flags import CaptionFlags
from fovea_trainers.common_flags import EarlyStoppingFlags, TrainingFlags, WeightsFlags
from fovea_trainers.errors import FlagError, WeightsError
from fovea_trainers.flags import flag
from fovea_trainers.vision import backbones

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import keras
    import tensorflow as tf

    from fovea_trainers.captions.decoding import Writer, Written
    from fovea_trainers.captions.drawing import Sample
    from fovea_trainers.captions.sets import Sets
    from fovea_trainers.captions.transformer import Decoder, Encoder
    from fovea_trainers.runtime.export import Signature
    from fovea_trainers.runtime.optimizers import Optimizer
    from fovea_trainers.runtime.session import Session
    from fovea_trainers.runtime.strategy import Update
    from fovea_trainers.runtime.totals import Total
    from fovea_trainers.runtime.training import Trained
    from fovea_trainers.vision.backbones import Backbone

NAME = "caption-generator"
HELP = "Train a Transformer that captions pictures, on pictures with captions in the layout of Flickr8k."
METRICS = {
    "bleu4": "BLEU of greedy captions: which share of their words, and of two, three and four words in a row, stands in a "
    "caption of the picture; 0 to 1. It stands for the model.",
    "bleu1": "The same for single words.",
    "bleu2": "The same for one and two words in a row.",
    "bleu3": "The same for one to three words in a row.",
    "beam_bleu4": "bleu4 of the captions that beam search finds.",
    "beam_bleu1": "bleu1 of these.",
    "beam_bleu2": "bleu2 of these.",
    "beam_bleu3": "bleu3 of these.",
    "loss": "Mean cross-entropy of the next word when the words before it are given, over all words of all captions.",
    "accuracy": "Share of these words that the model thinks most probable.",
}
SMALL = "small-cnn"
"""Instead of a backbone: convolutions that are trained with the Transformer."""
SHOWN, LOOKED_AT, LISTED = 12, 4, 100
"""Pictures on the sheet of captions, of those with the places that were looked at, and in evaluation.json."""


@dataclass(frozen=True)
class Config(CaptionFlags, WeightsFlags, TrainingFlags, EarlyStoppingFlags):
    """Every knob; the defaults are the article's."""

    epochs: int = 30
    batch_size: int = 64
    early_stopping: bool = False
    backbone: str = flag(
        "inceptionv3",
        "Network of keras.applications whose features are computed once, with the weights of --weights; small-cnn: four "
        "convolutions that are trained with the Transformer.",
        choices=(SMALL, *backbones.NAMES),
    )
    layers: int = flag(4, "Layers of the encoder, and of the decoder.", minimum=1, maximum=64)
    d_model: int = flag(512, "Channels between layers; an even multiple of --heads.", minimum=4, maximum=8192)
    heads: int = flag(8, "Heads of each attention.", minimum=1, maximum=64)
    dff: int = flag(2048, "Units of the feed-forward network in each layer.", minimum=1, maximum=65536)
    dropout: float = flag(0.1, "Share of units left out at random behind each part of a layer.", minimum=0, maximum=0.9)
    warmup_steps: int = flag(
        4000, "Steps in which the learning rate rises; then it falls with the root of the step.", minimum=1
    )
    learning_rate: float = flag(
        1.0,
        "Factor of the learning rate, which is 1/sqrt(d-model * warmup-steps) at its highest.",
        minimum=0,
        maximum=100,
    )
    beams: int = flag(3, "Captions that beam search follows at once, in the signature beam.", minimum=1, maximum=64)


@dataclass(frozen=True)
class Captioner:
    """The parts that are trained."""

    eye: keras.Model | None
    """The small network: pixels [n, size, size, 3] -> features; None: features are what it is asked with."""
    encoder: Encoder
    decoder: Decoder

    def memory(self, seen: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """What the decoder looks at, [n, places, d_model]."""
        features = seen if self.eye is None else self.eye(seen, training=training)
        return self.encoder(features, training=training)

    @property
    def parts(self) -> list[keras.Model]:
        """All that has weights."""
        return [model for model in (self.eye, self.encoder, self.decoder) if model is not None]


def small_cnn(size: int) -> keras.Model:
    """float32 [n, size, size, 3] in 0..255 -> features [n, size/8, size/8, 64]."""
    from keras import Sequential, layers

    eye = Sequential([layers.Input((size, size, 3)), layers.Rescaling(1 / 127.5, offset=-1)])
    for channels, stride in ((16, 2), (32, 2), (64, 2), (64, 1)):
        eye.add(layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False))
        eye.add(layers.BatchNormalization(momentum=0.9))
        eye.add(layers.Activation("relu"))
    return eye


def network(config: Config, seen: Sequence[int], words: int) -> Captioner:
    """For features of the shape `seen`, or pixels with the small network, and a vocabulary of `words`."""
    from fovea_trainers.captions.transformer import Decoder, Encoder, Sizes

    sizes = Sizes(config.d_model, config.heads, config.dff, config.dropout)
    eye = small_cnn(config.image_size) if config.backbone == SMALL else None
    features = seen if eye is None else eye.output_shape[1:]
    encoder = Encoder(sizes, config.layers, features)
    return Captioner(eye, encoder, Decoder(sizes, config.layers, words, config.longest))


def compared(logits: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of each word [n, t] behind <start>: its loss, 1 where it is the most probable one, 1 where it counts.

    `logits` [n, t, vocabulary], `words` [n, t + 1]. What fills a batch up does not count.
    """
    import tensorflow as tf

    from fovea_trainers.captions.words import PAD

    following = words[:, 1:]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(following, logits)
    hits = tf.cast(tf.equal(tf.argmax(logits, axis=2, output_type=tf.int32), following), tf.float32)
    return losses, hits, tf.cast(following != PAD, tf.float32)


def learning(model: Captioner, optimizer: Optimizer, trained: Sequence[Any]) -> Update:
    """One update by the cross-entropy of all words of a batch: what is seen [n, …], captions [n, t + 1], weights [n]."""
    import tensorflow as tf

    from fovea_trainers.runtime.totals import mean, total

    def update(seen: tf.Tensor, words: tf.Tensor, weights: tf.Tensor, step: tf.Tensor) -> dict[str, Total]:
        with tf.GradientTape() as tape:
            logits = model.decoder(words[:, :-1], model.memory(seen, training=True), training=True)
            losses, hits, counts = compared(logits, words)
            counted = weights[:, tf.newaxis] * counts
            loss = mean(losses, counted)
        optimizer.apply(tape.gradient(loss, trained), step)
        return {"loss": total(losses, counted), "accuracy": total(hits, counted)}

    return update


def evaluation(model: Captioner) -> Callable[..., dict[str, Total]]:
    """The same loss and hits without an update."""
    from fovea_trainers.runtime.totals import total

    def evaluate(seen: tf.Tensor, words: tf.Tensor) -> dict[str, Total]:
        losses, hits, counts = compared(model.decoder(words[:, :-1], model.memory(seen)), words)
        return {"loss": total(losses, counts), "accuracy": total(hits, counts)}

    return evaluate


def writing(model: Captioner, longest: int, beams: int) -> Writer:
    """What is seen [n, …] -> captions: greedy with one beam."""
    from fovea_trainers.captions import decoding

    def write(seen: tf.Tensor) -> Written:
        memory = model.memory(seen)
        return decoding.write(model.decoder, memory, grid=model.encoder.grid, longest=longest, beams=beams)

    return write


def run(config: Config, session: Session) -> None:
    """Read, train, evaluate, write captions, export, in this order. Raises TrainerError."""
    import tensorflow as tf

    from fovea_trainers.captions import sets as captions
    from fovea_trainers.runtime import export, loop, optimizers, pretrained
    from fovea_trainers.runtime.training import Training, variables_of

    require_sizes(config)
    weights = None if config.backbone == SMALL else weights_of(config, session)
    with session.strategy.scope():
        backbone = backbones.build(config.backbone, config.image_size) if weights else None
    loaded = pretrained.load(backbone.model, weights, frozen=True) if backbone else pretrained.Loaded()
    sets = captions.read(config, config.seed, session, backbone)
    with session.strategy.scope():
        model = network(config, sets.seen.shapes[0], len(sets.vocabulary))
        trainable = [weight for part in model.parts for weight in part.trainable_variables]
        rate = optimizers.warm_up(config.d_model, config.warmup_steps, config.learning_rate)
        optimizer = optimizers.make("adam", trainable, rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9)

    training = Training(
        weights=variables_of(*model.parts),
        optimizers=[optimizer],
        signature=sets.signature,
        update=learning(model, optimizer, trainable),
        totals={"loss": tf.float32, "accuracy": tf.int64},
        evaluate=evaluation(model),
        dataset=sets.training(config.batch_size, seed=config.seed),
        steps_per_epoch=sets.steps(config.batch_size),
        sets=sets.evaluated(config.batch_size),
        identity=captions.identity(config, sets) | {"weights": loaded.digest},
        shape=shape(config, sets),
        unreadable=sets.seen.unreadable,
        unit="captions",
        unvalidated=captions.unvalidated(config),
    )
    trained = loop.train(training, config, session)

    greedy, beam = (writing(model, config.longest, beams) for beams in (1, config.beams))
    served = exported(config, sets, backbone, greedy, beam)
    frozen = variables_of(backbone.model) if backbone else []
    export.write(session.workspace.model, served, tracked=[*variables_of(*model.parts), *frozen])
    publish(config, session, sets, trained, greedy, beam)


def exported(
    config: Config, sets: Sets, backbone: Backbone | None, greedy: Writer, beam: Writer
) -> Mapping[str, Signature]:
    """Encoded files to captions: greedy by default, by beam search under a name of its own."""
    import tensorflow as tf
    from fovea_api.contract import signatures

    from fovea_trainers.captions import serving

    see = backbone.features if backbone else tf.identity
    return {
        name: serving.signature(
            writer, see, sets.vocabulary, config.image_size, exif_orientation=config.exif_orientation
        )
        for name, writer in ((signatures.SERVING_DEFAULT, greedy), (signatures.BEAM, beam))
    }


def publish(config: Config, session: Session, sets: Sets, trained: Trained, greedy: Writer, beam: Writer) -> None:
    """Caption every picture that was not trained on, compare with its captions, and draw some."""
    from fovea_trainers.captions import drawing, pages
    from fovea_trainers.runtime import results

    check = session.interruption.check
    samples: Sequence[Sample] = []
    bleu, reports = {}, {}
    for name, pictures in sets.beside().items():
        page = pages.write(sets, pictures, greedy, config.batch_size, check, drawn=SHOWN)
        other = pages.write(sets, pictures, beam, config.batch_size, check)
        samples = page.samples(sets, SHOWN)
        bleu[name] = page.bleu(sets) | {f"beam_{metric}": value for metric, value in other.bleu(sets).items()}
        reports[name] = {
            "words": trained.evaluations[name].examples,
            "pictures": len(page.pictures),
            "captions": page.spoken(sets, LISTED),
            "mostFrequentCaption": pages.most_frequent(sets, page.pictures),
        }
    trained = trained.adding(bleu)
    drawn = {"captions": drawing.captions(samples), "attention": drawing.attention(samples[:LOOKED_AT])}
    results.publish(
        session,
        config,
        trained,
        main="bleu4",
        about={
            "vocabulary": len(sets.vocabulary),
            "pictures": sets.sizes(),
            "captions": len(sets.numbers),
            "badLines": sets.data.bad_lines,
            "withoutCaption": sets.data.without_caption,
            "unreadable": len(sets.seen.unreadable),
        },
        sets={name: report | dict(trained.evaluations[name].metrics) for name, report in reports.items()},
        pictures={name: png for name, png in drawn.items() if png is not None},
    )


def require_sizes(config: Config) -> None:
    """Raises FlagError for sizes that do not go together."""
    if config.d_model % config.heads or config.d_model % 2:
        raise FlagError(f"--d-model={config.d_model} must be even, and a multiple of --heads={config.heads}")
    if config.backbone == SMALL and config.weights:
        raise FlagError(
            f"--weights={config.weights}: --backbone={SMALL} begins with random weights; leave one of them out"
        )


def weights_of(config: Config, session: Session) -> Path:
    """The file of the backbone's weights. Raises WeightsError without one: random features tell little of a picture."""
    if (path := session.workspace.weights(config.weights)) is None:
        raise WeightsError(
            f"there are no weights for {config.backbone}: give --weights=FILE, or the job an input named weights; "
            f"--backbone={SMALL} is trained from scratch"
        )
    return path


def shape(config: Config, sets: Sets) -> dict[str, object]:
    """What the weights were made for: a checkpoint of another shape does not fit."""
    return {
        "vocabulary": hashlib.sha256("\n".join(sets.vocabulary.words).encode()).hexdigest(),
        "seen": list(sets.seen.shapes[0]),
        "backbone": config.backbone,
        "layers": config.layers,
        "d_model": config.d_model,
        "heads": config.heads,
        "dff": config.dff,
        "dropout": config.dropout > 0,
    }
