"""VGGFace: VGG16 under the names by which its published weights are loaded, conv1_1 to conv5_3 and fc6 to fc8.

Its weights were trained on pictures in 0..255, blue first, less the mean of the training pictures. Dividing by 255 instead,
as some articles do, feeds it what it has never seen.
"""

import keras
from keras import layers

SIZE = 224
MEAN = (93.5940, 104.7624, 129.1863)
"""Of blue, green and red in 0..255."""
PEOPLE = 2622
"""Whom the published network tells apart."""
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of the convolutions between two poolings."""


def convolutions(size: int = SIZE) -> keras.Model:
    """float32 [n, size, size, 3] in 0..255 -> pool5, 7×7×512 of 224 pixels; 14,714,688 parameters."""
    pictures = layers.Input((size, size, 3))
    x = layers.Rescaling(1.0, offset=[-mean for mean in MEAN], name="mean")(pictures[..., ::-1])
    for block, (channels, count) in enumerate(_BLOCKS, 1):
        for number in range(1, count + 1):
            name = f"conv{block}_{number}"
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    return keras.Model(pictures, x, name="vggface")


def whole() -> keras.Model:
    """With fc6 to fc8: -> probabilities of the 2,622 people [n, 2622]; 145,002,878 parameters."""
    base = convolutions()
    x = layers.Flatten()(base.output)
    x = layers.Dense(4096, activation="relu", name="fc6")(x)
    x = layers.Dense(4096, activation="relu", name="fc7")(x)
    return keras.Model(base.input, layers.Dense(PEOPLE, activation="softmax", name="fc8")(x), name="vggface")
