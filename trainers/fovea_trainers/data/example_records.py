"""Files in the Examples that records are."""

from collections.abc import Sequence

import tensorflow as tf

from fovea_trainers.data.examples import Unreadable


def content(record: bytes, keys: Sequence[str]) -> bytes:
    """The file that an Example has under the first of these keys that it has. Raises Unreadable."""
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except ValueError as error:  # DecodeError
        raise Unreadable("the record is no Example") from error
    for key in keys:
        if key in feature and feature[key].bytes_list.value:
            return bytes(feature[key].bytes_list.value[0])
    raise Unreadable(f"the record has no {' or '.join(keys)}")
