"""Sharded data sets: TFRecord files `train-00000-of-00010.tfrecord`, and beside each of them an index of its records.

An index, `train-00000-of-00010.tfrecord.index`, has the offset of every record and then the size of the shard, as
little-endian int64. With it any record can be read without those before it. A shard without an index is read through
once instead.
"""

import re
import struct
from collections.abc import Callable

INDEX_SUFFIX = ".index"
LABELS_SUFFIX = ".labels"
"""`train-00000-of-00010.tfrecord.labels`: class number of every record, little-endian int32; of pictures with classes."""
NAMES_SUFFIX = ".names"
"""`train-00000-of-00010.tfrecord.names`: name of every record, a line each, UTF-8; where a split goes by names."""
CLASSES_FILE = "classes.txt"
"""Names of the classes, one a line, in the order of the class numbers."""

GZIP, ZLIB = "GZIP", "ZLIB"
HEAD = 12
"""Bytes of a file that tell whether it is compressed: the length of the first record, and the checksum of that."""

_TFRECORD = re.compile(r"\.tfrecords?(?=$|[-_.])", re.IGNORECASE)


def is_tfrecord(name: str) -> bool:
    """Whether a file's name is that of a TFRecord file: `a.tfrecord`, `a.tfrecords`, `a.tfrecord-00000-of-00010`."""
    return _TFRECORD.search(name) is not None and not is_beside(name)


def is_beside(name: str) -> bool:
    """Whether a file's name is that of an index, of labels or of names."""
    return name.endswith((INDEX_SUFFIX, LABELS_SUFFIX, NAMES_SUFFIX))


def masked(crc: int) -> int:
    """The checksum of a record or its length from its CRC-32C: turned and shifted, so that a record may hold checksums."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def compression(head: bytes, crc32c: Callable[[bytes], int]) -> str:
    """GZIP or ZLIB, in TensorFlow's words, of a TFRecord file whose first HEAD bytes are `head`; empty for any other file.

    The content decides, not the name. Records of a compressed file cannot be read by number.
    """
    if len(head) == HEAD and struct.unpack_from("<I", head, 8)[0] == masked(crc32c(head[:8])):
        return ""  # of a record whose length looks so
    if head.startswith(b"\x1f\x8b\x08"):
        return GZIP
    return ZLIB if head[:1] == b"\x78" and int.from_bytes(head[:2]) % 31 == 0 and len(head) > 1 else ""


def uncompressing(path: object, kind: str) -> str:
    """What is wrong with a compressed file where records are read by number, and what to do about it."""
    program = {GZIP: "gzip -dc", ZLIB: "pigz -dc"}[kind]
    return (
        f"{path} is compressed ({kind}), and records of a compressed TFRecord file cannot be read by number: uncompress it "
        f"({program} < FILE > NEW), or write it without compression, as fovea data convert does"
    )


def name(prefix: str, number: int, count: int) -> str:
    """Of shard `number`, from 0 on, of `count`."""
    return f"{prefix}-{number:05d}-of-{count:05d}.tfrecord"
