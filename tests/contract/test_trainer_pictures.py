"""What is seen of a picture: its orientation, in training and serving alike, and what its file is called."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.vision import images, orientation
from PIL import Image
from support import training

SIDE = 24


def exif(value: int, *, big: bool = False, kind: int = 3, before: int = 2) -> bytes:
    """An EXIF segment's content with the orientation after some other entries."""
    order = ">" if big else "<"
    entries = b"".join(struct.pack(order + "HHI4s", 0x0100 + i, 3, 1, b"\1\0\0\0") for i in range(before))
    entries += struct.pack(order + "HHIHH", 0x0112, kind, 1, value, 0)
    header = (b"MM\0\x2a" if big else b"II\x2a\0") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + header + struct.pack(order + "H", before + 1) + entries + b"\0\0\0\0"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    pixels = np.zeros((SIDE, SIDE + 8, 3), np.uint8)
    pixels[: SIDE // 2, : SIDE // 2] = (255, 0, 0)
    pixels[SIDE // 2 :, : SIDE // 2] = (0, 255, 0)
    pixels[: SIDE // 2, SIDE // 2 :] = (0, 0, 255)
    plain = tf.io.encode_jpeg(pixels, quality=100, chroma_downsampling=False).numpy()
    return plain[:2] + b"".join(segments) + plain[2:]


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def upright(file):
    return images.decode(file, exif_orientation=True)


orientation_of = tf.function(orientation.of, input_signature=[tf.TensorSpec([], tf.string)])

PILLOW = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("big", [False, True], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize(("value", "turn"), PILLOW.items())
def test_every_orientation_is_turned_upright(value, turn, big):
    file = jpeg(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), segment(0xE1, exif(value, big=big)))
    as_stored = tf.io.decode_image(file, channels=3, expand_animations=False).numpy()
    expected = Image.fromarray(as_stored) if turn is None else Image.fromarray(as_stored).transpose(turn)
    assert np.array_equal(upright(tf.constant(file)).numpy(), np.asarray(expected))


UNUSABLE = {
    "no EXIF": jpeg(),
    "another use of the segment": jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")),
    "0, which is none": jpeg(segment(0xE1, exif(0))),
    "9, which is none": jpeg(segment(0xE1, exif(9))),
    "of a type that orientation has not": jpeg(segment(0xE1, exif(6, kind=2))),
    "the table begins beyond the end": jpeg(segment(0xE1, b"Exif\0\0II\x2a\0\xff\xff\xff\xff")),
    "neither byte order": jpeg(segment(0xE1, exif(6).replace(b"II\x2a", b"XX\x2a"))),
    "nothing after the name": jpeg(segment(0xE1, b"Exif\0\0")),
    "an empty segment": jpeg(segment(0xE1, b"")),
}


@pytest.mark.parametrize("file", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_pixels_stay_as_they_are_where_no_orientation_is_said(file):
    as_stored = tf.io.decode_image(file, channels=3, expand_animations=False).numpy()
    assert np.array_equal(upright(tf.constant(file)).numpy(), as_stored)


def test_an_orientation_is_found_behind_other_segments_and_in_a_table_that_is_cut_off():
    behind = jpeg(segment(0xE2, b"ICC" + bytes(5000)), segment(0xE1, b"http://x\0"), b"\xff", segment(0xE1, exif(6)))
    assert int(orientation.of(tf.constant(behind))) == 6
    cut = exif(6)[:-6]
    assert int(orientation.of(tf.constant(jpeg(segment(0xE1, cut))))) == 1


def test_no_file_however_cut_off_breaks_the_search():
    file = jpeg(segment(0xE1, exif(6, before=1)))
    answers = {int(orientation_of(tf.constant(file[:length]))) for length in range(80)}
    assert answers == {1, 6}
    noise = np.random.default_rng(11)
    for _ in range(200):
        changed = bytearray(file[:120])
        changed[int(noise.integers(2, 120))] = int(noise.integers(256))
        assert 1 <= int(orientation_of(tf.constant(bytes(changed)))) <= 8


NOTE = segment(0xE1, exif(6))
SEARCHED = {
    "no fill byte": (NOTE, 6),
    "fill bytes as an encoder writes them": (b"\xff" * 3 + segment(0xE0, b"JFIF\0") + b"\xff" * 1000 + NOTE, 6),
    "as many fill bytes as are passed": (b"\xff" * (orientation.STEPS - 1) * orientation.FILL + NOTE, 6),
    "more fill bytes than are passed": (b"\xff" * orientation.STEPS * orientation.FILL + NOTE, 1),
    "a file of fill bytes": (b"\xff" * orientation.HEAD, 1),
    "a fill byte before each of many segments": ((b"\xff" + segment(0xFE, b"")) * orientation.STEPS + NOTE, 1),
    "more segments than are searched": (segment(0xFE, b"") * orientation.STEPS + NOTE, 1),
    "segments that say that they have no length": (b"\xff\xfe\0\0" * orientation.STEPS + NOTE, 1),
    "a segment longer than the file": (b"\xff\xe0\xff\xff" + NOTE, 1),
}


@pytest.mark.parametrize(("head", "found"), SEARCHED.values(), ids=SEARCHED.keys())
def test_the_search_takes_so_many_steps_and_no_more_whatever_the_bytes(head, found):
    assert int(orientation_of(tf.constant(b"\xff\xd8" + head + b"\xff\xda"))) == found


def test_a_turned_picture_is_served_as_it_was_trained(tmp_path):
    """The exported graph and the training's decoder see the same pixels; without the flag both see the stored ones."""
    data = training.write_pictures(tmp_path / "data", per_class=4)
    file = jpeg(segment(0xE1, exif(6)))
    for turned, flag in ((True, "--exif-orientation"), (False, "--no-exif-orientation")):
        assert training.train(tmp_path / flag, data, "--max-steps=1", "--no-augment", flag) == 0
        model = tf.saved_model.load(str(training.model_folder(tmp_path / flag)))
        trained = images.decoder(16, exif_orientation=turned)(tf.constant([file]))[0]
        served = model.signatures["serving_default"](image=tf.constant([file]))["scores"]
        by_pixels = model.signatures["pixels"](pixels=tf.cast(trained, tf.float32)[tf.newaxis])["scores"]
        assert np.array_equal(served.numpy(), by_pixels.numpy())
    unturned = images.decoder(16, exif_orientation=False)(tf.constant([file]))[0]
    upright_pixels = images.decoder(16, exif_orientation=True)(tf.constant([file]))[0]
    assert not np.array_equal(unturned.numpy(), upright_pixels.numpy())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_of_a_picture_with_transparency_the_stored_colours_are_seen(kind):
    pixels = np.full((6, 6, 4), (200, 100, 50, 255), np.uint8)
    pixels[3:, :, 3] = 0
    picture = Image.fromarray(pixels, "RGBA")
    file = io.BytesIO()
    picture.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    seen = tf.function(lambda content: images.decode(content, exif_orientation=True))(tf.constant(file.getvalue()))
    assert np.array_equal(seen.numpy(), pixels[..., :3])


@pytest.mark.parametrize("content", [b"", b"BM", b"RIFF....WEBP"])
def test_a_beginning_alone_is_no_picture(content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        images.decode(tf.constant(content), exif_orientation=True)


def test_classes_of_every_format_that_tensorflow_decodes_are_trained_on(tmp_path):
    """Also in capital letters, without a suffix, or with another format's."""
    colours = {"a": ("jfif", "JPEG"), "b": ("webp", "WEBP"), "c": ("", "PNG"), "d": ("JPG", "GIF"), "e": ("dat", "BMP")}
    for shade, (name, (suffix, kind)) in enumerate(colours.items()):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            file = tmp_path / "data" / name / f"{number}{'.' if suffix else ''}{suffix}"
            Image.new("RGB", (20, 20), (40 * shade, 10 * number, 0)).save(file, format=kind)
    assert training.train(tmp_path, tmp_path / "data", "--max-steps=1", "--no-augment") == 0
    document = training.evaluation(tmp_path)
    assert document["classes"] == list("abcde")
    assert (document["images"]["train"], document["images"]["val"], document["unreadable"]) == (20, 5, 0)
