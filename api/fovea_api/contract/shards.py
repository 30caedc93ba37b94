"""Sharded data sets: TFRecord files `train-00000-of-00010.tfrecord`, and beside each of them an index of its records.

An index, `train-00000-of-00010.tfrecord.index`, has the offset of every record and then the size of the shard, as
little-endian int64. With it any record can be read without those before it. A shard without an index is read through
once instead.
"""

import re

INDEX_SUFFIX = ".index"
LABELS_SUFFIX = ".labels"
"""`train-00000-of-00010.tfrecord.labels`: class number of every record, little-endian int32; of pictures with classes."""
CLASSES_FILE = "classes.txt"
"""Names of the classes, one a line, in the order of the class numbers."""

_TFRECORD = re.compile(r"\.tfrecords?(?=$|[-_.])", re.IGNORECASE)


def is_tfrecord(name: str) -> bool:
    """Whether a file's name is that of a TFRecord file: `a.tfrecord`, `a.tfrecords`, `a.tfrecord-00000-of-00010`."""
    return _TFRECORD.search(name) is not None and not is_beside(name)


def is_beside(name: str) -> bool:
    """Whether a file's name is that of an index or of labels."""
    return name.endswith((INDEX_SUFFIX, LABELS_SUFFIX))


def masked(crc: int) -> int:
    """The checksum of a record or its length from its CRC-32C: turned and shifted, so that a record may hold checksums."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def name(prefix: str, number: int, count: int) -> str:
    """Of shard `number`, from 0 on, of `count`."""
    return f"{prefix}-{number:05d}-of-{count:05d}.tfrecord"
