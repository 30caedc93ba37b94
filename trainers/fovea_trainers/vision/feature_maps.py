"""What a layer of a network makes of one picture: a map for each of its channels, as a sheet."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fovea_trainers.errors import FlagError
from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.pictures import Tile
from fovea_trainers.vision.backbones import Backbone
from fovea_trainers.vision.sets import Sets

Array = np.ndarray[Any, Any]
SHOWN = 63
"""Maps of a sheet, beside the picture: those of the first channels."""


def until(backbone: Backbone, layer: str) -> keras.Model:
    """The network up to a layer, which has maps [n, h, w, channels]. Raises FlagError, which names those that have."""
    names = [each.name for each in backbone.model.layers if len(each.output.shape) == 4]
    if layer not in names:
        raise FlagError(
            f"--feature-maps={layer}: network {backbone.name} has no such layer with maps; it has {', '.join(names)}"
        )
    return keras.Model(backbone.model.inputs, backbone.model.get_layer(layer).output)


def drawn(backbone: Backbone, layer: str, sets: Sets) -> dict[str, bytes | None]:
    """The PNG "feature-maps", of the first readable picture of test, validation or training set; none without a layer.

    Each map goes from its least value (black) to its greatest (white).
    """
    if not layer:
        return {"feature-maps": None}
    numbers = np.concatenate([sets.test, sets.validation, sets.train]).tolist()
    number, (pixels,) = next((n, found) for n in numbers if (found := sets.images.read(n)[0]) is not None)
    images = tf.cast(pixels[np.newaxis], tf.float32)
    maps = until(backbone, layer)([backbone.prepare(images)], training=False).numpy()[0]
    shown = [maps[..., channel] for channel in range(min(maps.shape[-1], SHOWN))]
    tiles = [Tile(pixels, sets.listing.name(number).rpartition("/")[2])]
    tiles += [Tile(_spread(each), str(channel)) for channel, each in enumerate(shown)]
    title = f"Layer {layer}: {len(shown)} of {maps.shape[-1]} maps of {maps.shape[0]} × {maps.shape[1]}"
    return {"feature-maps": pictures.sheet(tiles, columns=8, title=title)}


def _spread(values: Array) -> Array:
    above: Array = values - values.min()
    greatest: float = above.max()
    return above / greatest if greatest else above
