"""Flags of recipes that train on pictures. No TensorFlow here."""

from dataclasses import dataclass

from fovea_trainers.flags import flag

THRESHOLD, NUMBERS = "threshold", "numbers"


@dataclass(frozen=True)
class PictureFlags:
    """Which pictures are read, how they are split into sets, and what a network sees of them (`sets.read`)."""

    data: str = flag(
        "", "Folder of pictures, or of TFRecord shards of them; empty: the input named data, or the only input."
    )
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
class ClassifierFlags(PictureFlags):
    """What classifiers have beside: how many of the labelled pictures are used, and what is drawn of the network."""

    limit: int | None = flag(
        None,
        "Use this many pictures only, chosen by the seed, the same share of each class; none: all. Ready-made validation "
        "and test sets are used whole.",
        minimum=2,
    )
    unlabelled: str = flag(
        "",
        "Folder of pictures without a class, within the data folder or elsewhere: the trained model is asked about them, and "
        "submission.csv has its answers (id, label: of two classes the probability of the second, else the class); empty: "
        "the input named unlabelled, or none.",
    )
    feature_maps: str = flag(
        "", "Layer of the network whose maps of one picture are drawn (feature-maps.png); empty: none is."
    )


@dataclass(frozen=True)
class StreamFlags:
    """How the shards of a streamed input are shuffled."""

    shuffle_shards: int = flag(
        16,
        "Of an input with mode Stream: shards over which pictures are shuffled at once. They lie on the disk together.",
        minimum=1,
        maximum=1024,
    )


@dataclass(frozen=True)
class AugmentationFlags:
    """How training pictures are distorted at random."""

    augment: bool = flag(True, "Distort training pictures at random; off switches shear, zoom and flip off together.")
    shear: float = flag(0.2, "Greatest shear angle, in radians.", minimum=0, maximum=1.5)
    zoom: float = flag(0.2, "Greatest change of scale: 0.2 is 0.8 to 1.2.", minimum=0, maximum=0.9)
    flip: bool = flag(True, "Mirror every other picture left to right.")


@dataclass(frozen=True)
class MaskFlags(PictureFlags):
    """Which pictures and label pictures are read, what labels mean, and what a network sees (`mask_sets.read`)."""

    image_size: int = flag(
        512,
        "Width and height of the frame that pictures are scaled into, in pixels: a multiple of 32.",
        minimum=32,
        maximum=1024,
    )
    validation_ratio: float = flag(
        0.2, "Share of the training pictures kept for validation, unless there is a val.txt.", minimum=0, maximum=0.9
    )
    test_ratio: float = flag(
        0.0,
        "Share of the training pictures kept for the final test, unless there is a test.txt.",
        minimum=0,
        maximum=0.9,
    )
    label_values: str = flag(
        THRESHOLD,
        "What label pictures have as pixels; threshold: up to 127.5 is the object, class 1, and lighter is class 0; "
        "numbers: the number of the class.",
        choices=(THRESHOLD, NUMBERS),
    )
    classes: int = flag(2, "Number of classes, class 0 (the background) among them.", minimum=2, maximum=254)
    class_names: str = flag("", "Names of the classes in the order of their numbers, such as background,cell.")
    void_number: int = flag(
        255, "With --label-values=numbers: pixels of this number count nothing.", minimum=0, maximum=255
    )


@dataclass(frozen=True)
class PlacingFlags:
    """How training pictures and their labels are distorted at random (`placing.of`)."""

    augment: bool = flag(True, "Distort training pictures at random; off switches all of the following off.")
    jitter: float = flag(
        0.3,
        "Greatest change of width and of height: the aspect of 1 becomes 0.54 to 1.86 with 0.3.",
        minimum=0,
        maximum=0.9,
    )
    min_scale: float = flag(0.25, "Least size of a picture's longer side; 1 fills the frame.", minimum=0.05, maximum=8)
    max_scale: float = flag(
        2.0,
        "Greatest size of a picture's longer side; above 1, a part of the picture is seen.",
        minimum=0.05,
        maximum=8,
    )
    flip: bool = flag(True, "Mirror every other picture left to right.")
    hue: float = flag(0.1, "Greatest change of the hue; 1 is once around the circle of hues.", minimum=0, maximum=1)
    saturation: float = flag(
        1.5, "Saturation (of HSV) is multiplied or divided by at most this.", minimum=1, maximum=10
    )
    brightness: float = flag(1.5, "Value (of HSV) is multiplied or divided by at most this.", minimum=1, maximum=10)
