"""Published weights on photographs of people: different people, and the same ones in other pictures, are told apart.

The package's photographs show each person once. A person's other pictures are made of that one: mirrored, half as large and
strongly compressed, darker and blurred. People are compared with those beside them only, who are certainly other people.
"""

import csv
import io
import itertools

import numpy as np
import published
import pytest
import tensorflow as tf
from fovea_api.contract import exit_codes, signatures
from fovea_trainers.main import main
from PIL import Image, ImageEnhance, ImageFilter
from support import training

EYES = {
    "sample1": [(450, 455, 530, 460), (873, 551, 946, 518), (1558, 279, 1617, 338)],
    "sample3": [(636, 433, 732, 435), (1120, 319, 1220, 339), (1555, 410, 1651, 400)],
    "sample4": [(326, 314, 398, 283), (707, 150, 786, 189), (1005, 279, 1077, 287), (1316, 229, 1380, 266)],
    "sample5": [
        (681, 513, 751, 515),
        (847, 191, 924, 205),
        (1155, 295, 1229, 292),
        (1442, 510, 1523, 492),
        (425, 993, 523, 978),
    ],
    "sample6": [(320, 608, 424, 597), (707, 452, 804, 446), (1229, 425, 1326, 427), (1542, 374, 1629, 394)],
}
"""x and y of the left and the right eye of each face, by the photograph."""
VALIDATED = "sample5"
"""The threshold is chosen on the people of this one; the others are the test."""
HALF = 150
"""Of the width of a cut-out picture."""


def pictures(photograph, eyes):
    """Four pictures of a person, and where the eyes are in each."""
    left_x, left_y, right_x, right_y = eyes
    x, y = (left_x + right_x) // 2, (left_y + right_y) // 2
    plain = photograph.crop((x - HALF, y - HALF, x + HALF, y + HALF))
    places = np.array([left_x, left_y, right_x, right_y], float) - np.array([x, y, x, y]) + HALF
    mirrored = np.array([2 * HALF - 1 - places[2], places[3], 2 * HALF - 1 - places[0], places[1]])
    dark = ImageEnhance.Brightness(plain.filter(ImageFilter.GaussianBlur(2))).enhance(0.6)
    yield plain, places, 95
    yield plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT), mirrored, 95
    yield plain.resize((HALF, HALF)), (places + 0.5) / 2 - 0.5, 30
    yield dark, places, 95


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """LFW's layout, with eyes and pairs."""
    root = tmp_path_factory.mktemp("faces")
    lines, tested = [], []
    for name, faces in EYES.items():
        photograph = Image.open(published.face_api() / f"demo/{name}.jpg").convert("RGB")
        people = [f"{name}-{place}" for place in range(len(faces))]
        for person, eyes in zip(people, faces, strict=True):
            (root / person).mkdir()
            for number, (picture, places, quality) in enumerate(pictures(photograph, eyes), 1):
                file = io.BytesIO()
                picture.save(file, "JPEG", quality=quality)
                (root / person / f"{person}_{number:04d}.jpg").write_bytes(file.getvalue())
                lines.append([f"{person}/{person}_{number:04d}.jpg", *places])
        if name != VALIDATED:
            tested += [f"{person}\t1\t{other}" for person in people for other in (2, 3, 4)]
            tested += [f"{one}\t1\t{other}\t{k}" for one, other in itertools.combinations(people, 2) for k in (1, 2)]
    with (root / "eyes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    (root / "pairs.txt").write_text("\n".join([f"{len(tested)}", *tested]))
    return root


@pytest.fixture(scope="module")
def verified(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("verified")
    manifest = published.face_api() / "model/face_recognition_model-weights_manifest.json"
    weights = root / "descriptor.weights.h5"
    assert main(["convert-weights", str(manifest), str(weights), "--network=face-descriptor"]) == exit_codes.OK
    flags = (
        "--embedding=face-descriptor",
        "--loss=none",
        f"--weights={weights}",
        "--pairs=pairs.txt",
        "--landmarks=eyes.csv",
    )
    more = ("--pairs-per-person=4", "--fgsm=1")
    assert training.run(root, "face-verifier", f"--data={data}", *flags, *more) == exit_codes.OK
    return root


def test_same_and_different_people_are_told_apart(verified):
    document = training.evaluation(verified)
    assert document["sets"]["test"]["pairs"] == {"same": 42, "different": 36}
    assert document["embedding"]["dimensions"] == 128
    assert document["metrics"]["auc"] > 0.99
    assert document["metrics"]["accuracy"] > 0.95


def test_a_served_pair_is_decided_likewise(verified, data):
    model = tf.saved_model.load(str(training.model_folder(verified)))
    lines = csv.reader((data / "eyes.csv").read_text().splitlines())
    eyes = {line[0]: [float(place) for place in line[1:]] for line in lines}

    def asked(first, second):
        names = [f"{name[:-2]}/{name[:-2]}_000{name[-1]}.jpg" for name in (first, second)]
        given = {
            key: value
            for side, name in zip(("first", "second"), names, strict=True)
            for key, value in (
                (side, tf.constant([(data / name).read_bytes()])),
                (f"{side}_eyes", tf.constant([eyes[name]], tf.float32)),
            )
        }
        return bool(model.signatures[signatures.PAIR](**given)[signatures.SAME_OUTPUT].numpy()[0])

    assert asked("sample6-0/1", "sample6-0/2")
    assert not asked("sample6-0/1", "sample6-2/1")
