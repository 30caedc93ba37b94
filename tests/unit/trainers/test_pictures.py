"""What a run draws, whatever its classes and pictures are called."""

import struct

import numpy as np
import pytest
from fovea_trainers.runtime import pictures
from fovea_trainers.runtime.pictures import Tile

NAMES = ("cat", "the $best$ dog", "très_long^{name}", r"a\b$")


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_a_sheet_has_a_tile_for_each_picture_and_no_picture_makes_no_sheet():
    tiles = [Tile(np.full((8, 12, 3), 40 * place, np.uint8), name, wrong=place > 2) for place, name in enumerate(NAMES)]
    narrow, wide = size(pictures.sheet(tiles, columns=2)), size(pictures.sheet([*tiles, tiles[0]], columns=4))
    assert (narrow[0] * 2, wide[1] > narrow[1] * 0.9) == (wide[0], True)
    assert pictures.sheet([]) is None


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_tile_is_grey_or_coloured_in_bytes_or_in_shares(shape, dtype):
    assert size(pictures.sheet([Tile(np.ones(shape, dtype), "one")]))[0] == 240


@pytest.mark.parametrize("classes", [NAMES, tuple(f"class {number}" for number in range(40))])
def test_a_confusion_matrix_is_drawn_also_of_many_classes_and_of_empty_ones(classes):
    counts = np.diag(np.arange(len(classes)))
    width, height = size(pictures.confusion(counts, classes))
    assert 400 < height < width < 1500
