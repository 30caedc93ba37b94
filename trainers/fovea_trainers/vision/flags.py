"""Flags of recipes that train on pictures. No TensorFlow here."""

from dataclasses import dataclass

from fovea_trainers.flags import flag


@dataclass(frozen=True)
class PictureFlags:
    """Which pictures are read, how they are split into sets, and what a network sees of them (`sets.read`)."""

    data: str = flag("", "Folder of pictures; empty: the input named data, or the only input.")
    image_size: int = flag(150, "Width and height that pictures are scaled to, in pixels.", minimum=8, maximum=1024)
    validation_ratio: float = flag(0.2, "Share of each class kept for validation.", minimum=0, maximum=0.9)
    test_ratio: float = flag(0.0, "Share of each class kept for the final test.", minimum=0, maximum=0.9)
    max_unreadable: float = flag(
        0.1, "Greatest share of unreadable pictures; above it training stops.", minimum=0, maximum=1
    )
    cache_images: bool = flag(True, "Keep decoded pictures in memory where they fit in --cache-mib.")
    cache_mib: int = flag(
        512, "Most memory for decoded pictures, in MiB; more pictures are read each time they are needed.", minimum=1
    )
    exif_orientation: bool = flag(
        True, "Turn pictures as their camera says (EXIF), in training and in the exported model alike."
    )


@dataclass(frozen=True)
class AugmentationFlags:
    """How training pictures are distorted at random."""

    augment: bool = flag(True, "Distort training pictures at random; off switches shear, zoom and flip off together.")
    shear: float = flag(0.2, "Greatest shear angle, in radians.", minimum=0, maximum=1.5)
    zoom: float = flag(0.2, "Greatest change of scale: 0.2 is 0.8 to 1.2.", minimum=0, maximum=0.9)
    flip: bool = flag(True, "Mirror every other picture left to right.")
