"""Parts of the segmenter by themselves: networks, loss and metrics, label pictures, the frame, the distortion."""

import colorsys
import math
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.data.examples import Unreadable
from fovea_trainers.errors import FlagError
from fovea_trainers.recipes import segmenter
from fovea_trainers.runtime.classification import CONFUSION
from fovea_trainers.runtime.evaluation import Evaluator
from fovea_trainers.vision import letterbox, placing, segmentation
from fovea_trainers.vision.masks import MARGIN, VOID, Rule
from fovea_trainers.vision.placing import Placing
from PIL import Image
from sklearn import metrics as reference

SIZE = 32
RANDOM = np.random.default_rng(3)


def weights_of(*layers: tuple[int, int, int]) -> int:
    """Parameters of convolutions (side of the kernel, channels in, channels out), each with a bias."""
    return sum(side * side * before * after + after for side, before, after in layers)


MINI = weights_of(
    *((3, 3, 32), (3, 32, 32), (3, 32, 64), (3, 64, 64), (3, 64, 128), (3, 128, 128)),
    *((3, 128 + 64, 64), (3, 64, 64), (3, 64 + 32, 32), (3, 32, 32), (1, 32, 21)),
)


def test_unet_mini_has_the_layers_of_the_article():
    model = segmenter.unet_mini(21, 224)
    shapes = [layer.output.shape[1:] for layer in model.layers if type(layer).__name__ in ("Conv2D", "Concatenate")]
    assert shapes == [
        *[(224, 224, 32)] * 2,
        *[(112, 112, 64)] * 2,
        *[(56, 56, 128)] * 2,
        *[(112, 112, 192), (112, 112, 64), (112, 112, 64)],
        *[(224, 224, 96), (224, 224, 32), (224, 224, 32)],
        (224, 224, 21),
    ]
    assert model.count_params() == MINI == 472_213
    assert [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"] == [0.2] * 5
    assert model.layers[-1].activation.__name__ == "linear"


ENCODER = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), *[(512, 512)] * 5]
"""Channels before and after each of MobileNet's pairs of a depthwise and a pointwise convolution that are used."""


def test_mobilenet_unet_has_the_layers_of_the_article():
    model = segmenter.mobilenet_unet(21, 224)
    features = {n: model.get_layer(f"conv_pw_{n}_relu").output.shape[1:] for n in (1, 3, 5, 11)}
    assert features == {1: (112, 112, 64), 3: (56, 56, 128), 5: (28, 28, 256), 11: (14, 14, 512)}
    decoder = [layer.output.shape[1:] for layer in model.layers if layer.name.startswith(("conv2d", "concatenate"))]
    assert decoder == [
        (14, 14, 512),
        *[(28, 28, 768), (28, 28, 256)],
        *[(56, 56, 384), (56, 56, 128)],
        *[(112, 112, 192), (112, 112, 128)],
        *[(224, 224, 64), (224, 224, 21)],
    ]
    first = 9 * 3 * 32 + 4 * 32
    encoder = first + sum(9 * before + 4 * before + before * after + 4 * after for before, after in ENCODER)
    convolutions = [(512, 512), (512 + 256, 256), (256 + 128, 128), (128 + 64, 128), (128, 64)]
    decoder_size = sum(9 * before * after + after + 4 * after for before, after in convolutions)
    assert model.count_params() == encoder + decoder_size + weights_of((3, 64, 21)) == 6_511_445


@pytest.mark.parametrize("name", segmenter.NETWORKS)
@pytest.mark.parametrize("size", [32, 96])
def test_networks_give_every_pixel_of_a_multiple_of_32_its_logits(name, size):
    model = segmenter.NETWORKS[name](3, size)
    assert model(np.zeros((2, size, size, 3), np.float32)).shape == (2, size, size, 3)


def batch(classes: int = 3):
    """Labels with void pixels, and logits; a class that no pixel has."""
    labels = RANDOM.integers(0, classes, (4, 9, 7)).astype(np.uint8)
    labels[RANDOM.random(labels.shape) < 0.1] = VOID
    logits = RANDOM.normal(0, 2, (4, 9, 7, classes + 1)).astype(np.float32)
    logits[..., classes] -= 20
    return labels, logits


def test_the_loss_is_the_weighted_cross_entropy_of_the_softmax_over_the_pixels_that_count():
    labels, logits = batch()
    weights = [0.5, 2.0, 1.5, 1.0]
    classes, counts = segmentation.counted(tf.constant(labels))
    losses, pixels = segmenter.cross_entropy(classes, tf.constant(logits), counts, weights)
    wide = logits.astype(np.float64)
    probabilities = np.exp(wide) / np.exp(wide).sum(axis=-1, keepdims=True)
    expected = [
        -math.log(probabilities[place][label]) * weights[label]
        for place, label in np.ndenumerate(labels)
        if label != VOID
    ]
    assert float(tf.reduce_sum(pixels)) == len(expected)
    assert float(tf.reduce_sum(losses * pixels)) / len(expected) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_metrics_over_batches_are_scikit_learns_over_all_pixels(beta):
    batches = [batch(), batch()]
    signature = (tf.TensorSpec([None, None, None, 4], tf.float32), tf.TensorSpec([None, None, None], tf.uint8))

    def evaluate(logits, labels):
        classes, counts = segmentation.counted(labels)
        return {
            "loss": (tf.constant(0.0), tf.constant(1.0)),
            CONFUSION: segmentation.confusion(classes, logits, counts),
            segmentation.PROBABLE: segmentation.probable(classes, logits, counts),
        }

    found = Evaluator(evaluate, signature, segmenter.metrics(beta))(
        (tf.constant(logits), tf.constant(labels)) for labels, logits in batches
    )
    labels = np.concatenate([labels[labels != VOID] for labels, _ in batches])
    logits = np.concatenate([logits[labels != VOID] for labels, logits in batches])
    taken = logits.argmax(axis=-1)
    wide = np.exp(logits.astype(np.float64))
    above = wide / wide.sum(axis=-1, keepdims=True) > 0.5
    scores = [reference.fbeta_score(labels == n, above[:, n], beta=beta) for n in range(3)]
    assert found.metrics == {
        "loss": 0,
        "accuracy": pytest.approx(reference.accuracy_score(labels, taken)),
        "iou": pytest.approx(((taken == labels) & (labels > 0)).sum() / ((taken > 0) | (labels > 0)).sum()),
        "mean_iou": pytest.approx(reference.jaccard_score(labels, taken, average="macro")),
        "f_score": pytest.approx(np.mean([*scores, 1.0]), abs=1e-6),  # a class that is nowhere: smooth / smooth
    }
    report = segmentation.report(found, ["a", "b", "c", "d"])
    assert report["images"] == 8
    ious = reference.jaccard_score(labels, taken, average=None)
    assert [report["perClass"][name]["iou"] for name in "abc"] == [pytest.approx(iou) for iou in ious]
    assert report["perClass"]["d"]["iou"] is None
    assert np.array_equal(
        np.array(report["confusionMatrix"]["counts"])[:3, :3], reference.confusion_matrix(labels, taken)
    )


def test_the_training_s_accuracy_and_iou_are_those_of_an_evaluation():
    labels, logits = batch()
    classes, counts = segmentation.counted(tf.constant(labels))
    ratios = [int(right) / int(all_) for right, all_ in segmentation.hits(classes, tf.constant(logits), counts)]
    matrix = segmentation.confusion(classes, tf.constant(logits), counts)[0].numpy()
    found = segmentation.metrics(matrix, np.ones((2, 4)), 1.0)
    assert ratios == [pytest.approx(found["accuracy"]), pytest.approx(found["iou"])]


SHAPES = [(20, 20), (64, 64), (40, 20), (7, 200), (1, 300), (31, 33)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_picture_lies_whole_and_in_the_middle_of_its_frame(shape):
    top, left, height, width = letterbox.box(tf.constant(shape), SIZE).numpy()
    assert max(height, width) == SIZE
    assert min(height, width) == max(1, min(shape) * SIZE // max(shape))
    assert (top, left) == ((SIZE - height) // 2, (SIZE - width) // 2)
    frame = letterbox.fit(tf.zeros([*shape, 3], tf.uint8), SIZE).numpy()
    assert (frame[top : top + height, left : left + width] == 0).all()
    assert (frame == letterbox.GREY).sum() == 3 * (SIZE * SIZE - height * width)
    classes = letterbox.fit_classes(tf.ones(shape, tf.uint8), SIZE, margin=MARGIN).numpy()
    assert (classes == 1).sum() == height * width
    assert (classes == MARGIN).sum() == SIZE * SIZE - height * width
    assert placing.extents(classes[np.newaxis]).tolist() == [[height, width]]


@pytest.mark.parametrize("shape", [(32, 32), (32, 13), (1, 32), (16, 16), (8, 4), (64, 96), (96, 96)], ids=str)
def test_the_way_back_from_the_frame_is_exact_where_a_pixel_is_whole_pixels_of_the_other(shape):
    blocks = max(1, max(shape) // SIZE)  # as many pixels as the frame shrinks to one
    coarse = RANDOM.integers(0, 3, (shape[0] // blocks, shape[1] // blocks)).astype(np.uint8)
    classes = np.kron(coarse, np.ones((blocks, blocks), np.uint8))
    frame = letterbox.fit_classes(tf.constant(classes), SIZE, margin=MARGIN)
    assert np.array_equal(letterbox.restore(frame, tf.constant(classes.shape)).numpy(), classes)


def png(pixels: np.ndarray, depth: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of pixel numbers, of which several share a byte where the depth is less than 8."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape
    bits = (pixels[..., np.newaxis] >> np.arange(depth)[::-1] & 1).reshape(height, -1).astype(np.uint8)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    content = b"".join(chunk(*one) for one in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + content
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["grey", "palette"])
def test_class_numbers_are_the_pixels_of_a_grey_png_and_the_indices_of_one_with_a_palette(kind, depth):
    numbers = RANDOM.integers(0, min(2**depth, 21), (6, 11)).astype(np.uint8)
    palette = RANDOM.integers(0, 256, 3 * 2**depth).astype(np.uint8).tobytes()
    chunks = [(b"gAMA", struct.pack(">I", 45455)), (b"PLTE", palette), (b"tRNS", b"\0\x80")]
    file = png(numbers, depth, 3, *chunks) if kind == "palette" else png(numbers, depth, 0)
    assert np.array_equal(Rule(21, numbered=True, void=255).read(file), numbers)


def test_the_number_of_void_pixels_counts_nothing_and_class_numbers_come_in_other_formats_too(tmp_path):
    numbers = np.array([[0, 1, 2], [9, 9, 1]], np.uint8)
    expected = np.where(numbers == 9, VOID, numbers)
    for kind in ("BMP", "PNG", "TIFF"):
        Image.fromarray(np.repeat(numbers[..., np.newaxis], 3, axis=2)).save(tmp_path / "label", format=kind)
        content = (tmp_path / "label").read_bytes()
        if kind == "TIFF":
            with pytest.raises(Unreadable):
                Rule(3, numbered=True, void=9).read(content)
        else:
            assert np.array_equal(Rule(3, numbered=True, void=9).read(content), expected)


UNUSABLE = {
    "it has a pixel of class 7, and the last class is 2": png(np.array([[0, 7, 1]]), 8, 0),
    "it has 16 bits for each pixel": png(np.array([[0, 300]]), 16, 0),
    "its pixels are colours, not class numbers": tf.io.encode_png(np.uint8([[[1, 2, 3]]])).numpy(),
    "Unknown image file format": b"no picture",
    "": png(np.zeros((40, 40), np.uint8), 8, 3, (b"PLTE", bytes(768)))[:-30],
}


@pytest.mark.parametrize(("words", "content"), UNUSABLE.items())
def test_a_label_picture_that_is_none_is_said_to_be(words, content):
    with pytest.raises(Unreadable) as caught:
        Rule(3, numbered=True, void=255).read(content)
    assert words in str(caught.value)


def test_two_classes_are_told_by_brightness_and_a_drawn_mask_is_a_label_picture_itself():
    grey = np.uint8([[0, 127, 128, 255]])
    rule = Rule(2, numbered=False, void=255)
    classes = rule.read(tf.io.encode_png(grey[..., np.newaxis]).numpy())
    assert classes.tolist() == [[1, 1, 0, 0]]
    for each in (rule, Rule(2, numbered=True, void=255)):
        drawn = tf.io.encode_png(each.drawn(tf.constant(classes))[..., tf.newaxis]).numpy()
        assert each.read(drawn).tolist() == classes.tolist()
    assert rule.drawn(tf.constant(classes)).numpy().tolist() == [[0, 0, 255, 255]]


STRONG = Placing(jitter=0.3, scales=(0.25, 2.0), flip=True, hue=0.1, saturation=1.5, brightness=1.5)
STILL = Placing(jitter=0.0, scales=(1.0, 1.0), flip=False, hue=0.0, saturation=1.0, brightness=1.0)


def framed(*shapes):
    """Pictures white where class 1 is, else black, in frames of 64."""
    frames, labels = [], []
    for height, width in shapes:
        rows, columns = np.mgrid[0:height, 0:width]
        inside = ((rows // (height // 3) + columns // (width // 2)) % 2).astype(np.uint8)
        frames.append(letterbox.fit(tf.constant(255 * np.repeat(inside[..., np.newaxis], 3, axis=2)), 64).numpy())
        labels.append(letterbox.fit_classes(tf.constant(inside), 64, margin=MARGIN).numpy())
    return np.stack(frames).astype(np.uint8), np.stack(labels)


def test_a_distortion_of_nothing_changes_no_pixel():
    frames, labels = framed((48, 64), (64, 50), (64, 64))
    middle = np.full((3, placing.DRAWS), 0.5, np.float32)  # what does not fill its frame is placed by chance, too
    pictures, classes = STILL(frames, labels, middle)
    assert np.array_equal(classes.numpy(), labels)
    assert np.abs(pictures.numpy() - frames).max() < 0.01


def test_picture_and_label_are_distorted_alike():
    count = 60
    frames, labels = framed(*[(48, 64), (64, 50), (64, 64)] * (count // 3))
    plain = Placing(STRONG.jitter, STRONG.scales, True, 0.0, 1.0, 1.0)
    pictures, classes = (each.numpy() for each in plain(frames, labels, placing.draws(count, seed=1, epoch=4)))
    grey = pictures[..., 0]
    assert (classes == MARGIN).mean() > 0.2
    # Where the resampled picture is pure, its label is the same; only pixels on an edge are neither.
    assert (classes[grey > 250] == 1).mean() > 0.999
    assert (classes[grey < 5] == 0).mean() > 0.999
    assert ((grey > 250) | (grey < 5) | (classes == MARGIN)).mean() > 0.8
    sizes = (classes != MARGIN).sum(axis=(1, 2))
    assert sizes.min() < 64 * 64 / 8
    assert sizes.max() == 64 * 64


def test_a_mirrored_picture_is_its_own_mirror_image():
    frames, labels = framed((48, 64), (64, 50))
    draws = np.full((2, placing.DRAWS), 0.5, np.float32)
    draws[:, 3] = 0.0  # below one half: mirrored
    pictures, classes = Placing(0.0, (1.0, 1.0), True, 0.0, 1.0, 1.0)(frames, labels, draws)
    assert np.array_equal(classes.numpy(), labels[:, :, ::-1])
    assert np.abs(pictures.numpy() - frames[:, :, ::-1]).max() < 0.01


def test_distortions_follow_from_seed_epoch_and_picture():
    frames, labels = framed((64, 64), (48, 64))
    one, again, other = (
        [each.numpy() for each in STRONG(frames, labels, placing.draws(2, seed=1, epoch=epoch))] for epoch in (3, 3, 4)
    )
    assert all(np.array_equal(*pair) for pair in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])
    # The second picture alone, as in a batch of its own.
    alone = STRONG(frames[1:], labels[1:], placing.draws(2, seed=1, epoch=3)[1:])
    assert np.array_equal(alone[0].numpy()[0], one[0][1])


def test_colours_are_changed_as_hue_saturation_and_value():
    image = RANDOM.uniform(0, 255, (1, 4, 4, 3)).astype(np.float32)
    found = placing.coloured(tf.constant(image), tf.constant([[0.1, 1.2, 0.7]])).numpy()
    for place in np.ndindex(4, 4):
        h, s, v = colorsys.rgb_to_hsv(*image[0][place] / 255)
        expected = colorsys.hsv_to_rgb((h + 0.1) % 1, min(s * 1.2, 1), min(v * 0.7, 1))
        assert found[0][place] == pytest.approx(np.array(expected) * 255, abs=0.05)
    drawn = STRONG.colours(placing.draws(1000, seed=2, epoch=0))
    assert np.abs(drawn[:, 0]).max() <= 0.1
    for factors in drawn[:, 1:].T:
        assert 1 / 1.5 <= factors.min() < 0.72
        assert 1.4 < factors.max() <= 1.5
        assert 0.4 < (factors > 1).mean() < 0.6


FLAGS = {
    "a size": ({"image_size": 100}, "--image-size=100 must be a multiple of 32, such as 96 or 128"),
    "weights": ({"class_weights": "1,2,3"}, "must be balanced, or 2 numbers from 0 on"),
    "names": ({"class_names": "cell"}, "must be 2 different names"),
    "classes": ({"classes": 3}, "--classes=3: labels that are dark or light have 2 classes"),
    "scales": ({"min_scale": 3.0}, "--min-scale=3.0 is above --max-scale=2.0"),
}


@pytest.mark.parametrize(("given", "words"), FLAGS.values(), ids=FLAGS.keys())
def test_flags_that_do_not_go_together_are_refused_before_anything_is_read(given, words):
    with pytest.raises(FlagError) as caught:
        segmenter.run(segmenter.Config(**given), session=None)
    assert words in str(caught.value)


@pytest.mark.parametrize("size", [64, segmentation.TOGETHER + 32])
def test_an_exported_network_answers_the_same_for_frames_together_and_one_by_one(size):
    model = segmenter.unet_mini(3, size)
    signature = segmentation.exported(model, Rule(3, numbered=True, void=255), size, exif_orientation=True)["pixels"]
    pictures = RANDOM.uniform(0, 255, (3, size, size, 3)).round().astype(np.float32)
    answer = tf.function(signature.function)(tf.constant(pictures))
    scores = tf.nn.softmax(model(pictures, training=False)).numpy()
    assert np.allclose(answer["score_map"], scores, atol=1e-5)
    assert (answer["class_map"].numpy() == scores.argmax(axis=-1)).mean() > 0.999
    assert answer["box"].numpy().tolist() == [[0, 0, size, size]] * 3
