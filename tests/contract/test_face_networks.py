"""Networks for faces with their published weights: they equal the originals, and tell people on photographs apart."""

from pathlib import Path

import numpy as np
import published
import pytest
import tensorflow as tf
import yaml
from fovea_trainers.conversion.networks import convert
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
