"""Networks for faces with their published weights: they equal the originals, and tell people on photographs apart."""

import csv
from pathlib import Path

import numpy as np
import published
import pytest
import tensorflow as tf
import yaml
from fovea_api.contract import exit_codes
from fovea_trainers.conversion.networks import convert
from fovea_trainers.main import main
from fovea_trainers.vision.faces import descriptor, detector, finding, landmark_network

GOLDEN = Path(__file__).parents[1] / "data/faces"
FACES = {1: 3, 2: 1, 3: 3, 4: 3, 5: 5, 6: 4}
"""How many the detector finds on each of the package's photographs; it overlooks some from the side."""


def converted(network, name):
    return convert(network, published.face_api() / f"model/{name}_model-weights_manifest.json")


@pytest.fixture(scope="module")
def networks():
    return {
        "face-detector": converted("face-detector", "tiny_face_detector"),
        "face-landmarks": converted("face-landmarks", "face_landmark_68"),
        "face-descriptor": converted("face-descriptor", "face_recognition"),
    }


def made(size):
    """Two pictures that need no file: uint8 [size, size, 3] by name."""
    rows, columns = np.indices((size, size), np.float64)
    waves = [
        127.5 + 127.5 * np.sin(rows / 9),
        127.5 + 127.5 * np.cos(columns / 7),
        (rows + columns) * 255 / (2 * size - 2),
    ]
    noise = np.random.default_rng(0).integers(0, 256, (1, size, size, 3))[0]
    return {"noise": noise.astype(np.uint8), "waves": np.stack(waves, axis=-1).astype(np.uint8)}


@pytest.mark.parametrize(
    ("network", "module", "parameters", "tolerance"),
    [
        ("face-detector", detector, 193_321, 1e-4),
        ("face-landmarks", landmark_network, 356_840, 2e-6),
        ("face-descriptor", descriptor, 5_607_488, 2e-6),
    ],
)
def test_a_network_gives_what_the_published_program_gives(networks, network, module, parameters, tolerance):
    wanted = yaml.safe_load((GOLDEN / f"{network}.yaml").read_text(encoding="utf-8"))
    model = networks[network]
    assert model.count_params() == parameters
    for name, pixels in made(module.SIZE).items():
        image = tf.constant(pixels, tf.float32)
        given = descriptor.prepare(image[tf.newaxis]) if module is descriptor else module.prepare(image)
        found = model(given).numpy()[0]
        if module is detector:
            found = np.concatenate([found[0, 0], found[6, 7], found[12, 3]])
        assert np.abs(found - wanted[name]).max() < tolerance, name


def output(*cells):
    """The detector's output for a picture of 13 × 13 cells, of which some propose a face: (row, column, anchor, score)."""
    proposed = np.full((13, 13, 5, 5), -20.0)
    for row, column, anchor, score in cells:
        proposed[row, column, anchor] = (0, 0, 0, 0, np.log(score / (1 - score)))
    return tf.constant(proposed.reshape(1, 13, 13, 25), tf.float32)


def test_boxes_are_in_pixels_of_the_photograph_and_of_two_on_one_face_the_surer_stays():
    """On a photograph that is twice as wide as high, the lower half of the cells sees nothing."""
    given = output((2, 6, 0, 0.6), (4, 9, 1, 0.9), (4, 9, 4, 0.2), (4, 8, 1, 0.7))
    boxes, scores = detector.boxes(given, 650, 1300, least_score=0.5)
    assert np.allclose(scores, [0.9, 0.6])
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    assert np.allclose(middles, [[950, 450], [650, 250]])
    assert np.allclose(boxes[:, 2:], [[604.1143, 708.0126], [160.3231, 209.4468]])
    boxes, scores = detector.boxes(output(), 650, 1300, least_score=0.5)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


def test_points_are_in_pixels_of_a_picture_that_is_no_square():
    square = np.tile([0.5, 0.25], 68)[np.newaxis]
    assert np.allclose(landmark_network.points(square, 100, 200)[0], [100, 0])
    assert np.allclose(landmark_network.points(square, 200, 100)[0], [50, 50])


def test_a_photograph_without_a_face_has_none(networks):
    empty = tf.fill([300, 500, 3], 128.0)
    faces = finding.find(empty, networks["face-detector"], networks["face-landmarks"])
    assert faces == []
    assert finding.aligned(empty, faces).shape == (0, 150, 150, 3)


@pytest.fixture(scope="module")
def photographs(networks):
    """Each photograph with its faces."""
    found = []
    for number in FACES:
        file = (published.face_api() / f"demo/sample{number}.jpg").read_bytes()
        image = tf.cast(tf.io.decode_jpeg(file, channels=3), tf.float32)
        found.append((image, finding.find(image, networks["face-detector"], networks["face-landmarks"])))
    return found


def test_faces_on_photographs_are_found_with_eyes_and_mouth(photographs):
    assert [len(faces) for _, faces in photographs] == list(FACES.values())
    for image, faces in photographs:
        for face in faces:
            x, y, width, height = face.box
            (left, left_y), (right, right_y) = face.eyes
            _, mouth_y = face.points[landmark_network.MOUTH].mean(axis=0)
            assert max(x, 0) < left < right < min(x + width, image.shape[1])
            assert y < min(left_y, right_y) <= max(left_y, right_y) < mouth_y < y + height
            side = face.square[2]
            assert 0.5 * width < side < 1.2 * width


def test_one_person_s_descriptors_are_near_each_other_and_those_of_two_people_are_not(networks, photographs):
    """People on one photograph are different; one face is seen mirrored, darker, brighter, smaller and cut closer."""

    def describe(images):
        return networks["face-descriptor"](descriptor.prepare(images)).numpy()

    same, different = [], []
    for image, faces in photographs:
        squares = finding.aligned(image, faces)
        described = describe(squares)
        between = np.linalg.norm(described[:, np.newaxis] - described, axis=-1)
        different += between[np.triu_indices(len(faces), 1)].tolist()
        for changed in (
            squares[:, :, ::-1],
            squares * 0.6,
            tf.minimum(squares * 1.4, 255),
            tf.image.resize(tf.image.resize(squares, [60, 60], antialias=True), [150, 150]),
            tf.image.resize(squares[:, 8:142, 4:138], [150, 150]),
        ):
            same += np.linalg.norm(describe(changed) - described, axis=1).tolist()
    assert (len(same), len(different)) == (95, 25)
    assert max(same) < 0.45 < 0.5 < min(different)
    assert np.mean(np.array(different) > descriptor.THRESHOLD) > 0.9


def test_a_face_of_half_the_resolution_is_the_same_person(networks, photographs):
    image, faces = photographs[2]
    half = tf.image.resize(image, [image.shape[0] // 2, image.shape[1] // 2], antialias=True)
    again = finding.find(half, networks["face-detector"], networks["face-landmarks"])
    first, second = (
        networks["face-descriptor"](descriptor.prepare(finding.aligned(*each))).numpy()
        for each in ((image, faces), (half, again))
    )
    distances = np.linalg.norm(first[:, np.newaxis] - second, axis=-1)
    assert len(again) == len(faces)
    assert max(distances.min(axis=1)) < 0.3
    assert sorted(distances.argmin(axis=1)) == list(range(len(faces)))


@pytest.fixture(scope="module")
def weights(networks, tmp_path_factory):
    """The flags of the command that finds eyes."""
    flags = []
    for flag, network in (("--detector", "face-detector"), ("--landmarks", "face-landmarks")):
        path = tmp_path_factory.mktemp("weights") / f"{network}.weights.h5"
        networks[network].save_weights(path)
        flags.append(f"{flag}={path}")
    return flags


def test_the_eyes_of_each_picture_s_largest_face_become_a_file(tmp_path, capsys, weights, photographs):
    image, faces = photographs[2]
    wanted = {}
    for number, face in enumerate(faces):
        x, y, width, height = (int(edge) for edge in face.box)
        left, top = max(x - width // 2, 0), max(y - height // 2, 0)
        crop = tf.cast(image[top : y + height * 3 // 2, left : x + width * 3 // 2], tf.uint8)
        path = tmp_path / "data" / f"person {number}" / "1.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(tf.io.encode_png(crop).numpy())
        wanted[f"person {number}/1.png"] = face.eyes - [left, top]
    (tmp_path / "data/small").mkdir()
    (tmp_path / "data/small/whole.jpg").write_bytes((published.face_api() / "demo/sample2.jpg").read_bytes())
    wanted["small/whole.jpg"] = photographs[1][1][0].eyes
    (tmp_path / "data/person 0/grey.png").write_bytes(
        tf.io.encode_png(tf.fill([90, 90, 3], tf.constant(128, tf.uint8))).numpy()
    )
    (tmp_path / "data/person 0/torn.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "data/eyes.csv"
    assert main(["find-eyes", str(tmp_path / "data"), str(out), *weights]) == exit_codes.OK
    said = capsys.readouterr().out
    assert f"wrote the eyes of 4 pictures to {out}" in said
    assert "no face is found on person 0/grey.png, person 0/torn.jpg, or the file cannot be read" in said
    heading, *lines = csv.reader(out.read_text(encoding="utf-8").splitlines())
    assert heading == ["picture", "left x", "left y", "right x", "right y"]
    assert [line[0] for line in lines] == list(wanted)
    for name, *places in lines:
        eyes = np.array(places, float).reshape(2, 2)
        apart = np.linalg.norm(wanted[name][0] - wanted[name][1])
        assert np.abs(eyes - wanted[name]).max() < 0.1 * apart
    assert [path.name for path in out.parent.iterdir() if path.is_file()] == ["eyes.csv"]


def test_the_command_that_finds_eyes_names_what_is_wrong(tmp_path, capsys, weights):
    (tmp_path / "empty").mkdir()
    swapped = [weights[0].replace("face-detector", "nothing"), weights[1]]
    others = [weights[1].replace("--landmarks", "--detector"), weights[1]]
    out = str(tmp_path / "eyes.csv")
    cases = (
        ([str(tmp_path / "nowhere"), out, *weights], "nowhere is no folder: name the folder of pictures"),
        ([str(tmp_path / "empty"), out, *weights], "none of the 0 pictures of"),
        ([str(tmp_path / "empty"), out, *swapped], "there is no such file; fovea-train convert-weights makes it"),
        ([str(tmp_path / "empty"), out, *others], "has weights for none of the network's layers"),
        ([str(tmp_path / "empty"), out], "the following arguments are required: --detector, --landmarks: fovea-train"),
    )
    for arguments, said in cases:
        assert main(["find-eyes", *arguments]) != exit_codes.OK
        assert said in capsys.readouterr().err
    assert not Path(out).exists()
