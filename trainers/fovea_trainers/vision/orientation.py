"""The orientation that a camera writes into a JPEG (EXIF tag 0x0112), read and applied inside a TensorFlow graph.

TensorFlow's decoders ignore it, so that a portrait lies on its side. Only operations of stock TensorFlow are used: an
exported model turns its pictures by itself in any server. A file that is no JPEG, has no EXIF, or has damaged EXIF keeps
the orientation of its pixels.

JPEG: FF D8, then segments FF <marker> <length, 2 bytes, big-endian, with itself> <content>, up to FF DA (the pixels).
EXIF: the content of a segment FF E1: "Exif", two zeros, then a TIFF header: byte order "II" or "MM", the number 42, the
offset of a table; the table: number of entries (2 bytes), entries of 12 bytes: tag, type, count, value.
"""

import tensorflow as tf

HEAD = 1 << 20
"""Bytes of a file that are searched: EXIF stands before the pixels, as a rule in the first kilobytes."""
STEPS = 64
"""Steps after which the search is given up: each looks at a segment, or passes fill bytes. What stands in a picture is
its sender's to say, and a step costs tens of operations of the graph."""
FILL = 256
"""Fill bytes that are passed in one step."""
_TAG, _SHORT = 0x0112, 3


def of(file: tf.Tensor) -> tf.Tensor:
    """int32 scalar 1 to 8 of an encoded file (string scalar); 1 where the file has none that is usable."""
    head = tf.io.decode_raw(tf.strings.substr(file, 0, HEAD), tf.uint8)
    is_jpeg = tf.logical_and(tf.size(head) > 4, _equal(head, 0, b"\xff\xd8"))
    return tf.cond(is_jpeg, lambda: _of_jpeg(head), lambda: tf.constant(1))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """[h, w, c] as it is to be seen: mirrored and turned by the orientation (int32 scalar, 1 to 8)."""

    def turned() -> tf.Tensor:
        swapped = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        mirrored = tf.cond(_among(orientation, 2, 3, 6, 7), lambda: tf.reverse(swapped, [1]), lambda: swapped)
        return tf.cond(_among(orientation, 3, 4, 7, 8), lambda: tf.reverse(mirrored, [0]), lambda: mirrored)

    return tf.cond(orientation > 1, turned, lambda: image)


def _of_jpeg(head: tf.Tensor) -> tf.Tensor:
    size = tf.size(head)

    def more(at: tf.Tensor, steps: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
        begins = tf.logical_and(tf.logical_and(tiff < 0, steps < STEPS), at + 4 <= size)
        return tf.logical_and(begins, tf.logical_and(_byte(head, at) == 0xFF, _byte(head, at + 1) != 0xDA))

    def following(at: tf.Tensor, steps: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        exif = tf.logical_and(_byte(head, at + 1) == 0xE1, _equal(head, at + 4, b"Exif\0\0"))
        length = tf.maximum(_number(head, at + 2, 2, big=tf.constant(True)), 2)
        fill = _fill_bytes(head, at)
        step = tf.where(fill > 0, fill, 2 + length)
        return at + step, steps + 1, tf.where(exif, at + 10, -1)

    start = (tf.constant(2), tf.constant(0), tf.constant(-1))
    end, _, tiff = tf.while_loop(more, following, start, parallel_iterations=1)
    return tf.cond(tiff >= 0, lambda: _of_tiff(head[tiff:end]), lambda: tf.constant(1))


def _fill_bytes(head: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """How many of the FF from here on only fill: any number of them may stand before the one that begins a marker."""
    following = tf.cast(head[at + 1 : at + 1 + FILL] == 0xFF, tf.int32)
    return tf.reduce_sum(tf.math.cumprod(following))


def _of_tiff(tiff: tf.Tensor) -> tf.Tensor:
    big = _equal(tiff, 0, b"MM\0\x2a")
    known = tf.logical_or(big, _equal(tiff, 0, b"II\x2a\0"))
    table = _number(tiff, 4, 4, big=big)
    inside = tf.logical_and(table >= 8, table <= tf.size(tiff) - 2)
    return tf.cond(tf.logical_and(known, inside), lambda: _of_table(tiff, table, big), lambda: tf.constant(1))


def _of_table(tiff: tf.Tensor, table: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
    whole = (tf.size(tiff) - table - 2) // 12  # a file that is cut off has fewer entries than it says
    count = tf.minimum(_number(tiff, table, 2, big=big), whole)
    entries = tf.cast(tf.reshape(tiff[table + 2 : table + 2 + 12 * count], [-1, 12]), tf.int32)

    def column(at: int) -> tf.Tensor:
        high, low = entries[:, at], entries[:, at + 1]
        return tf.where(big, 256 * high + low, 256 * low + high)

    matching = tf.logical_and(column(0) == _TAG, column(2) == _SHORT)
    values = tf.boolean_mask(column(8), matching)
    first = tf.concat([values, [1]], axis=0)[0]
    return tf.where(tf.logical_and(first >= 1, first <= 8), first, 1)


def _byte(data: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """The byte there; 0 beyond the end, since a graph looks at both sides of an "and"."""
    return tf.reduce_sum(tf.cast(data[at : at + 1], tf.int32))


def _equal(data: tf.Tensor, at: tf.Tensor | int, expected: bytes) -> tf.Tensor:
    """Whether these bytes stand there; False beyond the end."""
    found = tf.io.decode_raw(tf.constant(expected), tf.uint8)
    piece = data[at : at + len(expected)]
    return tf.cond(tf.size(piece) == len(expected), lambda: tf.reduce_all(piece == found), lambda: tf.constant(False))


def _number(data: tf.Tensor, at: tf.Tensor | int, width: int, *, big: tf.Tensor) -> tf.Tensor:
    """Unsigned number of 2 or 4 bytes as int32; what lies beyond the end or beyond int32 is the greatest int32."""
    piece = tf.cast(data[at : at + width], tf.int64)
    powers = tf.constant([256**i for i in range(width)], tf.int64)

    def read() -> tf.Tensor:
        value = tf.reduce_sum(piece * tf.where(big, powers[::-1], powers))
        return tf.cast(tf.minimum(value, tf.int32.max), tf.int32)

    return tf.cond(tf.size(piece) == width, read, lambda: tf.constant(tf.int32.max))


def _among(value: tf.Tensor, *numbers: int) -> tf.Tensor:
    return tf.reduce_any(value == tf.constant(numbers))
