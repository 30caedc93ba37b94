"""What a recipe's SavedModel answers to: names of its signatures, their inputs and the outputs of a classifier."""

SERVING_DEFAULT = "serving_default"
"""Encoded image files (JPEG, PNG, BMP, GIF), decoded in the graph."""
IMAGE_INPUT = "image"
"""Input of `serving_default`: string [n], the bytes of n image files of any size."""

PIXELS = "pixels"
"""Decoded images."""
PIXELS_INPUT = "pixels"
"""Input of `pixels`: float32 [n, height, width, 3], RGB in 0..255, of any size."""

LABEL_OUTPUT = "label"
"""string [n]: name of the most probable class."""
CLASSES_OUTPUT = "classes"
"""string [n, k]: names of all classes, in the order of `scores`."""
SCORES_OUTPUT = "scores"
"""float32 [n, k]: probability of each class; a row sums to 1."""

MASK_OUTPUT = "mask_bytes"
"""string [n]: a PNG of each picture's own size, whose pixels mean what those of the label pictures mean. Over REST, outputs
with names that end in _bytes come in base64."""
CLASS_MAP_OUTPUT = "class_map"
"""uint8 [n, size, size]: the class of each pixel of the frame that the network sees, its margins included."""
BOX_OUTPUT = "box"
"""int32 [n, 4]: top, left, height and width of the picture in this frame."""
SCORE_MAP_OUTPUT = "score_map"
"""float32 [n, size, size, k]: probability of each class for each pixel of the frame."""
PREDICTIONS_OUTPUT = "predictions"
"""float32 [n]: the number that a model of numbers (regression) predicts."""

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
"""TFRecords of PredictionLog inside a SavedModel, which a server replays before it opens its ports."""
