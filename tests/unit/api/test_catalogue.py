"""Arguments of a job against the flag catalogue: one plain sentence per mistake."""

import pytest
from fovea_api import catalogue
from fovea_api.catalogue import Catalogue, Flag, Recipe

SAMPLE = Catalogue(
    "1.2.3",
    {
        "image-classifier": Recipe(
            "Pictures.",
            {
                "learning-rate": Flag("float", 0.01, "Step size.", minimum=0, maximum=100),
                "epochs": Flag("int", 50, "Passes.", minimum=1),
                "early-stopping": Flag("bool", True, "Stop early."),
                "optimizer": Flag("str", "sgd", "Rule.", choices=("sgd", "adam", "adamw")),
                "data": Flag("str", "", "Folder."),
                "decay": Flag("float", None, "Decay."),
            },
        )
    },
)

REFUSED = {
    "a misspelt flag, with the nearest one": (
        {"lerning-rate": 0.01},
        "unknown flag --lerning-rate for image-classifier; did you mean --learning-rate?",
    ),
    "an underscore instead of a dash": (
        {"learning_rate": 0.01},
        "unknown flag --learning_rate for image-classifier; did you mean --learning-rate?",
    ),
    "a flag like no other": ({"zzz": 1}, "unknown flag --zzz for image-classifier"),
    "a word for a number": (
        {"learning-rate": "fast"},
        '--learning-rate of image-classifier must be a number, not "fast"',
    ),
    "a fraction for a whole number": (
        {"epochs": 1.5},
        "--epochs of image-classifier must be a whole number, not 1.5",
    ),
    "a truth value for a number": ({"epochs": True}, "--epochs of image-classifier must be a whole number, not true"),
    "a number for a truth value": (
        {"early-stopping": 1},
        "--early-stopping of image-classifier must be true or false, not 1",
    ),
    "a truth value for a text": ({"data": False}, "--data of image-classifier must be a text, not false"),
    "a number that is none": ({"decay": "nan"}, '--decay of image-classifier must be a number, not "nan"'),
    "less than the minimum": ({"epochs": 0}, "--epochs of image-classifier must be at least 1, not 0"),
    "more than the maximum": (
        {"learning-rate": 101},
        "--learning-rate of image-classifier must be between 0 and 100, not 101",
    ),
    "an unknown choice": (
        {"optimizer": "adm"},
        '--optimizer of image-classifier must be one of sgd, adam, adamw, not "adm"; did you mean adam?',
    ),
}


@pytest.mark.parametrize(("args", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_argument_is_refused_in_one_sentence(args, sentence):
    assert SAMPLE.check("image-classifier", args) == [sentence]


ACCEPTED = {
    "nothing": {},
    "values of the right type": {"epochs": 10, "learning-rate": 0.5, "early-stopping": False, "optimizer": "adam"},
    "a whole number for a number": {"learning-rate": 1},
    "a number that is whole": {"epochs": 10.0},
    "texts that read as the type": {"epochs": "10", "early-stopping": "False", "learning-rate": "1e-3"},
    "the bounds themselves": {"epochs": 1, "learning-rate": 100},
    "a number for a text": {"data": 2024},
}


@pytest.mark.parametrize("args", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_good_arguments_pass(args):
    assert SAMPLE.check("image-classifier", args) == []


def test_every_wrong_argument_is_named():
    assert len(SAMPLE.check("image-classifier", {"epochs": 0, "data": "x", "oops": 1, "optimizer": "none"})) == 3


def test_a_misspelt_recipe_is_refused_with_the_nearest_one():
    assert SAMPLE.check("image-clasifier", {"x": 1}) == [
        'unknown recipe "image-clasifier"; did you mean image-classifier?'
    ]
    assert SAMPLE.check("nothing-like-it", {}) == ['unknown recipe "nothing-like-it"; there is image-classifier']


def test_large_whole_numbers_keep_every_digit():
    assert Flag("int", 0, "").read(str(2**63 - 1)) == 2**63 - 1


def test_the_file_reads_back_as_it_was_written():
    assert Catalogue.from_json(SAMPLE.to_json()) == SAMPLE


def test_the_file_in_the_distribution_has_the_first_recipe():
    assert catalogue.check("image-classifier", {"epochs": 10, "augment": False, "image-size": 64}) == []
    assert catalogue.check("image-classifier", {"lerning-rate": 1}) == [
        "unknown flag --lerning-rate for image-classifier; did you mean --learning-rate?"
    ]
