"""Which pictures are compared: pairs made by a rule, and those of a file in the format of LFW's pairs.txt."""

import numpy as np
import pytest
from fovea_trainers.errors import DataError
from fovea_trainers.vision.faces import pairs

PICTURES = [np.array([0]), np.array([1, 2, 3]), np.array([4, 5])]
"""Of three people; the first one has a single picture."""
NUMBERS = {"ann/ann_0001": 0, "bob/bob_0001": 1, "bob/bob_0002": 2, "cleo_b/cleo_b_0012": 3}


def whose(number: int) -> int:
    return next(place for place, own in enumerate(PICTURES) if number in own)


def test_everyone_with_two_pictures_is_compared_with_themselves_and_everyone_with_somebody_else():
    made = pairs.generated(PICTURES, each=1, seed=1).tolist()
    same = [pair for pair in made if whose(pair[0]) == whose(pair[1])]
    different = [pair for pair in made if whose(pair[0]) != whose(pair[1])]
    assert same == [[1, 2], [4, 5]], "the first two pictures"
    assert [whose(first) for first, _ in different] == [0, 1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_somebody_else_is_never_the_same_person(seed):
    made = pairs.generated([np.array([0, 1]), np.array([2, 3])], each=1, seed=seed)
    assert {tuple(sorted(number // 2 for number in pair)) for pair in made.tolist()} == {(0, 0), (0, 1), (1, 1)}
    assert made.tolist() == pairs.generated([np.array([0, 1]), np.array([2, 3])], each=1, seed=seed).tolist()


def test_own_pairs_are_all_different_and_end_where_there_are_no_more():
    made = pairs.generated(PICTURES, each=10, seed=1).tolist()
    same = [pair for pair in made if whose(pair[0]) == whose(pair[1])]
    assert same == [[1, 2], [2, 3], [1, 3], [4, 5]]
    assert len(made) - len(same) == 30


def test_a_file_names_pairs_of_one_person_in_three_columns_and_of_two_in_four(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("10\t300\nbob\t1\t2\n\nann\t1\tcleo_b\t12\n", encoding="utf-8")
    assert pairs.read(path, NUMBERS).tolist() == [[1, 2], [0, 3]]
    path.write_text("ann 1 bob 2\n", encoding="utf-8")
    assert pairs.read(path, NUMBERS).tolist() == [[0, 2]], "without a heading, with spaces"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "1\nbob\t1\t2\nzoe\t1\tbob\t1\n",
            r"line 3 of .*pairs.txt names zoe/zoe_0001, and the data has no such picture",
        ),
        ("bob\t1\t3\n", r"line 1 of .* names bob/bob_0003"),
        ("bob\t1\ttwo\n", r"line 1 of .* is 'bob\\t1\\ttwo': expected `name i j` or `name1 i name2 j`"),
        ("10\n", r"has no pairs"),
    ],
)
def test_a_line_that_is_no_pair_or_names_no_picture_is_said(tmp_path, text, said):
    (tmp_path / "pairs.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        pairs.read(tmp_path / "pairs.txt", NUMBERS)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match=r"--pairs: .*pairs\.txt cannot be read"):
        pairs.read(tmp_path / "pairs.txt", NUMBERS)


def test_a_sample_of_pairs_is_spread_over_all_of_them():
    made = np.arange(20).reshape(10, 2)
    assert pairs.spread(made, 3)[:, 0].tolist() == [0, 8, 18]
    assert pairs.spread(made, 100).tolist() == made.tolist()
