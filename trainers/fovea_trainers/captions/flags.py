"""Flags of recipes that train on pictures with captions. No TensorFlow here."""

from dataclasses import dataclass

from fovea_trainers.flags import flag
from fovea_trainers.vision.flags import PictureFlags


@dataclass(frozen=True)
class CaptionFlags(PictureFlags):
    """Which pictures and captions are read, how they are split into sets, and what becomes of the words (`sets.read`)."""

    data: str = flag(
        "",
        "Folder of pictures, or of TFRecord shards of them, and Flickr8k.token.txt; empty: the input named data, or the only input beside weights.",
    )
    image_size: int = 299
    validation_ratio: float = flag(
        0.2,
        "Share of the pictures kept for validation, unless lists (Flickr_8k.devImages.txt) name them.",
        minimum=0,
        maximum=0.9,
    )
    test_ratio: float = flag(
        0.0, "Share of the pictures kept for the final test, unless lists name them.", minimum=0, maximum=0.9
    )
    token_file: str = flag(
        "", "File with the captions below the folder; empty: the one that is named Flickr8k.token.txt or token.txt."
    )
    max_bad_ratio: float = flag(
        0.01, "Greatest share of lines with captions that cannot be used; above it the run ends.", minimum=0, maximum=1
    )
    vocabulary: int = flag(
        5000,
        "Words that the model knows: <pad>, <start>, <end>, <unk>, and the most frequent ones of the training captions.",
        minimum=5,
        maximum=1_000_000,
    )
    longest: int = flag(40, "Most words of a caption, its end included; the rest is cut off.", minimum=2, maximum=1000)
