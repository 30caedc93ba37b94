"""Captions in Flickr8k's layout: lines, words, sets, and BLEU, without TensorFlow."""

import math

import numpy as np
import pytest
from fovea_trainers.captions import bleu, reading
from fovea_trainers.captions.words import END, PAD, START, UNKNOWN, Vocabulary, clean, padded
from fovea_trainers.errors import DataError
from sacrebleu.metrics.bleu import BLEU

PNG = b"\x89PNG\r\n\x1a\n"
LINES = (
    "b.jpg#0\tA child in a pink dress .",
    "b.jpg#1\tA girl going into a building",
    "a.jpg#0\tTwo dogs fight !",
    "c.jpg#0\tA man , 25 , naps",
)


@pytest.fixture
def folder(tmp_path):
    """Pictures below one folder, texts below another, as the archives of Flickr8k have them."""
    (tmp_path / "Flicker8k_Dataset").mkdir()
    (tmp_path / "Flickr8k_text").mkdir()
    for name in "abc":
        (tmp_path / "Flicker8k_Dataset" / f"{name}.jpg").write_bytes(PNG)
    (tmp_path / "Flickr8k_text" / "readme.txt").write_text("about")
    write(tmp_path, LINES)
    return tmp_path


def write(folder, lines, name="Flickr8k.token.txt"):
    (folder / "Flickr8k_text" / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(folder, token_file="", ratio=0.5):
    return reading.read(folder, token_file, max_bad_ratio=ratio)


def split(data, *, validation=0.2, test=0.1, seed=1):
    return [part.tolist() for part in reading.split(data, validation_ratio=validation, test_ratio=test, seed=seed)]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A child in a pink dress is climbing .", "child in pink dress is climbing"),
        ("Two dogs , one black , DON'T bark !", "two dogs one black dont bark"),
        ("a t-shirt with no. 42 and m16s", "tshirt with no and"),
        (" .  a 7 ", ""),
    ],
)
def test_captions_are_cleaned_as_in_the_article(caption, words):
    assert clean(caption) == words.split()


def test_the_most_frequent_words_are_known_and_the_others_are_one():
    captions = [["dog", "runs"], ["dog", "sleeps"], ["cat", "runs"], ["dog"]]
    vocabulary = Vocabulary.of(captions, 7)
    assert vocabulary.words == ("<pad>", "<start>", "<end>", "<unk>", "dog", "runs", "cat")
    assert vocabulary.numbers(["cat", "sleeps", "dog"], 9) == [START, 6, UNKNOWN, 4, END]
    assert vocabulary.numbers(["cat", "sleeps", "dog"], 3) == [START, 6, UNKNOWN, END], "cut"
    assert vocabulary.caption([6, 4, END, PAD]) == ["cat", "dog"]
    assert padded([[START, 4, END], [START, END]]).tolist() == [[1, 4, 2], [1, 2, 0]]
    assert padded([]).shape == (0, 2)


def test_pictures_get_all_their_captions_wherever_they_lie(folder, capfd):
    (folder / "Flicker8k_Dataset" / "d.jpg").write_bytes(PNG)
    data = read(folder)
    assert [data.name(number) for number in range(3)] == [f"Flicker8k_Dataset/{name}.jpg" for name in "abc"]
    assert data.captions == (
        (("two", "dogs", "fight"),),
        (("child", "in", "pink", "dress"), ("girl", "going", "into", "building")),
        (("man", "naps"),),
    )
    assert (data.bad_lines, data.without_caption) == (0, 1)
    assert (
        "1 pictures have no caption in Flickr8k_text/Flickr8k.token.txt and are not used: d.jpg"
        in capfd.readouterr().err
    )


BAD = {
    "2258277193_586949ec62.jpg.1#0\tsome people": "there is no picture 2258277193_586949ec62.jpg.1",
    "a.jpg\tno number": "it is not name.jpg#0, a tab, and a caption",
    "a.jpg#3 no tab": "it is not name.jpg#0, a tab, and a caption",
    "a.jpg#4\t7 .": "its caption '7 .' has no words",
}


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_cannot_be_used_is_named_and_counted(folder, capfd, line):
    write(folder, [*LINES, line])
    data = read(folder)
    assert data.bad_lines == 1
    assert sum(map(len, data.captions)) == len(LINES)
    assert f"Flickr8k.token.txt line 5 ({BAD[line]}) cannot be read; it is left out" in capfd.readouterr().err
    with pytest.raises(DataError, match=r"1 of 5 lines in .* or allow more by --max-bad-ratio \(now 0.01\)"):
        read(folder, ratio=0.01)


def test_data_that_is_not_there_is_named_with_what_to_do(folder):
    token = folder / "Flickr8k_text" / "Flickr8k.token.txt"
    token.rename(token.with_name("results.token"))
    with pytest.raises(DataError, match=r"has no Flickr8k.token.txt or token.txt; name the file .* by --token-file"):
        read(folder)
    assert len(read(folder, "Flickr8k_text/results.token")) == 3
    with pytest.raises(DataError, match=r"has no file other.txt"):
        read(folder, "other.txt")
    write(folder, LINES)
    write(folder, LINES, "token.txt")
    with pytest.raises(
        DataError, match=r"has 2 files with captions: Flickr8k_text/Flickr8k.token.txt, Flickr8k_text/token"
    ):
        read(folder)
    with pytest.raises(DataError, match="does not exist; give --data=DIR"):
        read(folder / "nowhere")
    with pytest.raises(DataError, match="is a file, not a folder"):
        read(token.with_name("token.txt"))
    with pytest.raises(DataError, match="holds no pictures"):
        read(folder / "Flickr8k_text")
    (folder / "Flickr8k_text" / "a.jpg").write_bytes(PNG)
    with pytest.raises(
        DataError, match=r"two pictures that are named a.jpg: Flicker8k_Dataset/a.jpg, Flickr8k_text/a.jpg"
    ):
        read(folder)


def test_the_lists_of_flickr8k_say_which_picture_is_in_which_set(folder, capfd):
    write(folder, ["b.jpg"], "Flickr_8k.trainImages.txt")
    write(folder, ["a.jpg", "nowhere.jpg"], "Flickr_8k.devImages.txt")
    data = read(folder)
    assert split(data) == [[1], [0], []]
    assert "1 pictures are in none of the lists" in capfd.readouterr().err
    write(folder, ["b.jpg", "c.jpg"], "Flickr_8k.testImages.txt")
    with pytest.raises(
        DataError, match=r"picture b.jpg is in Flickr8k_text/Flickr_8k.t\w+Images.txt and in the list of"
    ):
        read(folder)
    write(folder, ["c.jpg"], "Flickr_8k.testImages.txt")
    write(folder, [], "Flickr_8k.trainImages.txt")
    with pytest.raises(DataError, match="the list of training pictures names none"):
        split(read(folder))


def test_without_lists_a_name_and_the_seed_decide(folder):
    names = [f"{number:03}" for number in range(100)]
    for name in names:
        (folder / "Flicker8k_Dataset" / f"{name}.jpg").write_bytes(PNG)
    write(folder, [f"{name}.jpg#{place}\ttwo words" for name in names for place in range(2)])
    data = read(folder)
    train, validation, test = split(data)
    assert [len(part) for part in (train, validation, test)] == [70, 20, 10]
    assert sorted(train + validation + test) == list(range(100))
    assert split(data) == [train, validation, test] != split(data, seed=2)
    assert [len(part) for part in split(data, validation=0, test=0)] == [100, 0, 0]
    write(folder, [f"{name}.jpg#0\ttwo words" for name in names[1:]])
    fewer = read(folder)
    moved = {data.name(n) for n in validation} ^ {fewer.name(n) for n in split(fewer)[1]}
    assert len(moved) <= 2, "hardly any picture moves when one is removed"


def test_bleu_of_a_case_counted_by_hand():
    """ "the" counts twice at most, as often as in one reference; the closest lengths are 6 and 3: 9 words for 8."""
    written = [["the", "the", "the", "cat", "sat"], ["two", "dogs", "run"]]
    references = [
        [["the", "cat", "sat", "on", "the", "mat"], ["cat"]],
        [["two", "big", "dogs", "run", "fast", "now"], ["dogs", "run", "here"], ["two"]],
    ]
    unigrams, bigrams, trigrams = 7 / 8, 3 / 6, 1 / 4
    brevity = math.exp(1 - 9 / 8)
    assert bleu.corpus(written, references) == {
        "bleu1": pytest.approx(brevity * unigrams),
        "bleu2": pytest.approx(brevity * (unigrams * bigrams) ** (1 / 2)),
        "bleu3": pytest.approx(brevity * (unigrams * bigrams * trigrams) ** (1 / 3)),
        "bleu4": 0,
    }


def test_bleu_is_that_of_the_library_for_each_order():
    random = np.random.default_rng(3)
    words = ["red", "blue", "circle", "square", "above", "large"]
    references = [[list(random.choice(words, random.integers(4, 9))) for _ in range(3)] for _ in range(40)]
    written = [list(random.permutation(of[0])) for of in references]
    columns = [[" ".join(of[place]) for of in references] for place in range(3)]
    lines = [" ".join(caption) for caption in written]
    expected = {
        f"bleu{order}": pytest.approx(
            BLEU(max_ngram_order=order, tokenize="none", smooth_method="none").corpus_score(lines, columns).score / 100
        )
        for order in bleu.ORDERS
    }
    assert bleu.corpus(written, references) == expected
    assert bleu.corpus(written, references)["bleu1"] == pytest.approx(1), "words in another order"
    assert set(bleu.corpus([], []).values()) == {0}
