"""`fovea-train find-eyes`: where the eyes of the face on each picture are, in the file that face-verifier aligns faces by."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fovea_api.contract import exit_codes

from fovea_trainers.command_line import Parser
from fovea_trainers.errors import DataError, FlagError, TrainerError

if TYPE_CHECKING:
    import keras

HELP = "Find the face on each picture of a folder, and write the places of its eyes for --landmarks of face-verifier."
HEADING = ("picture", "left x", "left y", "right x", "right y")
_USAGE = "fovea-train find-eyes FOLDER OUT.csv --detector=FILE --landmarks=FILE"
SIZES = (160, 224, 416)
"""Pictures are seen as large as this, one after the other until a face is found: a face that fills half of its picture is
found best in the first size, a small one in the last."""
_SHOWN = 5


def main(argv: Sequence[str]) -> int:
    """The command; returns the exit code. Raises FlagError, DataError, and WeightsError for weights of other networks."""
    if not argv or "-h" in argv or "--help" in argv:
        print(describe())
        return exit_codes.OK if argv else FlagError.exit_code
    parser = Parser(_USAGE)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, required=True)
    given = parser.read(argv)
    if not given.folder.is_dir():
        raise DataError(f"{given.folder} is no folder: name the folder of pictures that --data of the recipe names")
    for flag, path in (("--detector", given.detector), ("--landmarks", given.landmarks)):
        if not path.is_file():
            raise FlagError(f"{flag}={path}: there is no such file; fovea-train convert-weights makes it")
    write(given.folder, given.out, given.detector, given.landmarks)
    return exit_codes.OK


def write(folder: Path, out: Path, detector: Path, landmarks: Path) -> None:
    """Write a line for each picture on which a face is found, and say which have none or cannot be read.

    Of several faces the largest counts. Raises DataError where no picture has one, TrainerError where `out` cannot be
    written.
    """
    from fovea_trainers.data import files
    from fovea_trainers.runtime import pretrained
    from fovea_trainers.vision import formats
    from fovea_trainers.vision.faces.detector import face_detector
    from fovea_trainers.vision.faces.landmark_network import face_landmarks

    try:
        out.parent.mkdir(parents=True, exist_ok=True)  # before the work, which takes long
    except OSError as error:
        raise TrainerError(f"{out} cannot be written: {error}") from error
    sizes, place = [face_detector(size) for size in SIZES], face_landmarks()
    for each in sizes:
        pretrained.load(each, detector, frozen=True)
    pretrained.load(place, landmarks, frozen=True)
    names = sorted(os.fsdecode(name) for name in files.walk(folder, "", formats.is_picture, lambda: None).paths)
    lines, without = [], []
    for name in names:
        eyes = _eyes((folder / name).read_bytes(), sizes, place)
        lines.append([name, *eyes]) if eyes else without.append(name)
    if not lines:
        raise DataError(f"none of the {len(names)} pictures of {folder} has a face that is found")
    staging = out.with_name(f".{out.name}.partial")
    try:
        with staging.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADING, *lines])
        staging.replace(out)
    except OSError as error:
        raise TrainerError(f"{out} cannot be written: {error}") from error
    finally:
        staging.unlink(missing_ok=True)
    print(f"wrote the eyes of {len(lines)} pictures to {out}")
    if without:
        more = f" and {len(without) - _SHOWN} more" if len(without) > _SHOWN else ""
        print(f"no face is found on {', '.join(without[:_SHOWN])}{more}, or the file cannot be read")


def describe() -> str:
    """The text of --help."""
    weights = "The weights are those that convert-weights makes for the networks face-detector and face-landmarks."
    return f"{_USAGE}\n\n{HELP}\n{weights}"


def _eyes(content: bytes, sizes: "Sequence[keras.Model]", place: "keras.Model") -> list[float]:
    """Left x, left y, right x, right y in pixels of the upright picture; empty without a face, or if it cannot be read."""
    import tensorflow as tf

    from fovea_trainers.vision import images
    from fovea_trainers.vision.faces import finding

    try:
        image = tf.cast(images.decode(tf.constant(content), exif_orientation=True), tf.float32)
    except tf.errors.InvalidArgumentError:
        return []
    for detect in sizes:
        if faces := finding.find(image, detect, place):
            largest = max(faces, key=lambda face: face.box[2] * face.box[3])
            return [round(float(number), 1) for number in largest.eyes.ravel()]
    return []
