"""Flags of recipes that compare faces. No TensorFlow here."""

from dataclasses import dataclass

from fovea_trainers.flags import flag
from fovea_trainers.vision.flags import PictureFlags


@dataclass(frozen=True)
class FaceFlags(PictureFlags):
    """Which people are in which set, which pictures are compared, and how faces are cut out (`sets.read`)."""

    data: str = flag(
        "",
        "Folder with a folder for each person, or of TFRecord shards of them; empty: the input named data, or the only input.",
    )
    validation_ratio: float = flag(
        0.2, "Share of the people kept for validation; with --loss=none all who are not tested.", minimum=0, maximum=0.9
    )
    test_ratio: float = flag(0.2, "Share of the people kept for the final test.", minimum=0, maximum=0.9)
    pairs: str = flag(
        "",
        "File of the pairs to test, within the data folder, in the format of LFW's pairs.txt: its people are the test "
        "people; empty: pairs are made.",
    )
    pairs_per_person: int = flag(
        1,
        "Pairs that are made of each person: this number of pairs of their own pictures, and of pairs with somebody else.",
        minimum=1,
        maximum=1000,
    )
    landmarks: str = flag(
        "",
        "CSV file within the data folder: picture, x and y of its left eye, x and y of its right eye; faces are aligned by "
        "them, and a picture without a line is left out.",
    )
