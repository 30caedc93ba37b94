"""The parts of face verification against independent computations: losses, mining, metrics, alignment, the network."""

import itertools

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.errors import DataError
from fovea_trainers.recipes import face_verifier
from fovea_trainers.runtime import optimizers, pretrained
from fovea_trainers.runtime.evaluation import Evaluation, Sums
from fovea_trainers.vision.faces import fgsm, landmarks, people, verification, vggface
from fovea_trainers.vision.faces.losses import away_from, semi_hard, to_centers
from sklearn import metrics

MARGIN = 0.3


def unit(*vectors):
    rows = np.array(vectors, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_batch(seed, count=24, persons=5):
    random = np.random.default_rng(seed)
    return unit(*random.normal(size=(count, 3))), random.integers(0, persons, count).astype(np.int32)


def by_hand(embeddings, whose, weights):
    """The semi-hard losses pair by pair, in plain loops."""
    distance = ((embeddings[:, np.newaxis] - embeddings) ** 2).sum(axis=2)
    losses = {}
    for anchor, positive in itertools.permutations(range(len(whose)), 2):
        others = [i for i in range(len(whose)) if whose[i] != whose[anchor] and weights[i]]
        if whose[anchor] != whose[positive] or not (others and weights[anchor] and weights[positive]):
            continue
        farther = [distance[anchor, i] for i in others if distance[anchor, i] > distance[anchor, positive]]
        negative = min(farther) if farther else max(distance[anchor, i] for i in others)
        losses[anchor, positive] = max(distance[anchor, positive] - negative + MARGIN, 0)
    return losses


@pytest.mark.parametrize("seed", range(4))
def test_semi_hard_losses_are_those_of_plain_loops(seed):
    embeddings, whose = random_batch(seed)
    weights = np.ones(len(whose), np.float32)
    weights[seed] = 0
    losses, counted = (one.numpy() for one in semi_hard(embeddings, whose, tf.constant(weights), MARGIN))
    expected = by_hand(embeddings, whose, weights)
    assert {(a, p) for a, p in zip(*np.nonzero(counted), strict=True)} == set(expected)
    assert [losses[pair] for pair in expected] == pytest.approx(list(expected.values()), abs=1e-5)


def test_of_negatives_farther_than_the_positive_the_nearest_is_taken_and_none_that_is_nearer():
    angles = np.radians([0, 30, 20, 40, 90])  # anchor, positive, too near, semi-hard, easy
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    whose = np.array([7, 7, 1, 2, 3], np.int32)
    losses, _ = semi_hard(embeddings, whose, tf.ones(5), MARGIN)
    squared = 2 - 2 * np.cos(angles)
    assert losses[0, 1].numpy() == pytest.approx(squared[1] - squared[3] + MARGIN, abs=1e-5)


def test_where_every_negative_is_nearer_than_the_positive_the_farthest_is_taken():
    angles = np.radians([0, 90, 20, 40])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    losses, _ = semi_hard(embeddings, np.array([7, 7, 1, 2], np.int32), tf.ones(4), MARGIN)
    squared = 2 - 2 * np.cos(angles)
    assert losses[0, 1].numpy() == pytest.approx(squared[1] - squared[3] + MARGIN, abs=1e-5)


def test_a_batch_of_one_person_has_no_triplet_and_no_number_that_is_none():
    embeddings, _ = random_batch(1, count=4)
    losses, counted = semi_hard(embeddings, np.zeros(4, np.int32), tf.ones(4), MARGIN)
    assert np.isfinite(losses.numpy()).all()
    assert not counted.numpy().any()


def test_centers_move_by_the_rule_of_the_center_loss():
    """Wen et al.: by the sum of the offsets from the pictures of a batch, by one more than their number, times the rate."""
    embeddings, whose = random_batch(3)
    weights = np.ones(len(whose), np.float32)
    weights[0] = 0
    before = np.random.default_rng(4).normal(size=(6, 3)).astype(np.float32)
    expected = before.copy()
    for person in range(6):
        own = embeddings[(whose == person) & (weights > 0)]
        expected[person] -= 0.5 * (before[person] - own).sum(axis=0) / (1 + len(own))
    centers = keras.Variable(before, trainable=True)
    moving = optimizers.make("sgd", [centers], optimizers.inverse_time(0.5, 0.0))
    moves = away_from(tf.constant(embeddings), tf.constant(whose), tf.constant(weights), centers.value)
    moving.apply([moves], tf.constant(1, tf.int64))
    assert centers.numpy() == pytest.approx(expected, abs=1e-6)
    assert (centers.numpy()[5] == before[5]).all(), "a person without a picture in the batch"
    distances = to_centers(tf.constant(embeddings), tf.constant(whose), tf.constant(before))
    assert distances.numpy() == pytest.approx(((embeddings - before[whose]) ** 2).sum(axis=1) / 2, abs=1e-5)


def updated(loss, steps=1, **flags):
    """Variables of the network, the softmax and the centers before and after some updates on two batches of noise."""
    config = face_verifier.Config(loss=loss, image_size=16, **flags)
    model = face_verifier.network("small", 16)
    who = face_verifier.learner(config, people=3, dimensions=64)
    trained = [*model.trainable_variables, *who.people.trainable_variables]
    optimizer = optimizers.build(config, 1, trained)
    centers = [] if who.centers is None else [who.centers]
    moving = optimizers.make("sgd", centers, optimizers.inverse_time(0.5, 0.0)) if centers else None
    update = face_verifier.learning(config, model, who, 1, optimizer, moving)
    parts = {
        "network": [one.value for one in model.trainable_variables],
        "people": [one.value for one in who.people.trainable_variables],
        "centers": [one.value for one in centers],
    }
    before = {name: [one.numpy() for one in part] for name, part in parts.items()}
    images = tf.random.stateless_uniform([6, 16, 16, 3], [1, 2], maxval=255.0)
    for step in range(1, steps + 1):
        totals = update(images, tf.constant([0, 0, 1, 1, 2, 2]), tf.ones(6), tf.constant(step, tf.int64))
    moved = {
        name: all((one.numpy() != old).any() for one, old in zip(part, before[name], strict=True)) and bool(part)
        for name, part in parts.items()
    }
    return moved, totals


@pytest.mark.parametrize(
    ("loss", "moved"),
    [
        ("softmax", {"network": True, "people": True, "centers": False}),
        ("center", {"network": True, "people": True, "centers": True}),
        ("triplet", {"network": True, "people": False, "centers": False}),
    ],
)
def test_every_loss_reaches_all_weights_that_it_is_about(loss, moved):
    found, totals = updated(loss)
    assert found == moved
    assert np.isfinite(totals["loss"][0].numpy())
    assert totals["loss"][1].numpy() == 6, "pictures, or as many pairs of an anchor and a positive"


def test_the_first_epochs_are_of_softmax_alone():
    assert updated("triplet", softmax_epochs=1)[0]["people"]
    (_, early), (_, softmax) = (updated(loss, softmax_epochs=1) for loss in ("center", "softmax"))
    assert early["loss"][1] == softmax["loss"][1]


def sums(similarities, same, size=7):
    """Totals of a set whose pairs come in several batches."""
    total = 0
    for start in range(0, len(same), size):
        counts, _ = verification.counted(
            tf.constant(similarities[start : start + size], tf.float32), tf.constant(same[start : start + size])
        )
        total = total + counts.numpy()
    return Sums(
        {verification.SIMILARITIES: total, "loss": np.zeros(())}, {verification.SIMILARITIES: len(same), "loss": 0}
    )


@pytest.fixture(scope="module", params=range(3))
def compared(request):
    """Similarities of 3,000 pairs on steps of the counts, of which a third are of one person."""
    random = np.random.default_rng(request.param)
    same = random.random(3000) < 1 / 3
    similarities = np.clip(random.normal(np.where(same, 0.5, 0.2), 0.15), -1, 1)
    similarities[:3], same[:3] = (1.0, -1.0, 1.0), (True, False, False)
    return np.floor(similarities * 2**14) / 2**14, same


def test_metrics_are_scikit_learn_s(compared):
    similarities, same = compared
    totals = sums(similarities, same)
    limit = verification.threshold(totals.sums[verification.SIMILARITIES])
    judged = verification.judged(Evaluation(verification.metrics(totals), totals), limit)
    said = similarities >= limit
    expected = {
        "auc": metrics.roc_auc_score(same, similarities),
        "loss": 1 - metrics.roc_auc_score(same, similarities),
        "accuracy": metrics.accuracy_score(same, said),
        "precision": metrics.precision_score(same, said),
        "recall": metrics.recall_score(same, said),
        "f1": metrics.f1_score(same, said),
    }
    false, true, _ = metrics.roc_curve(same, similarities, drop_intermediate=False)
    expected |= {f"tar_at_far_{far:g}": true[false <= far].max() for far in (0.1, 0.01, 0.001)}
    assert judged.metrics == {name: pytest.approx(value, abs=1e-12) for name, value in expected.items()}
    report = verification.report(judged, limit)
    assert report["confusionMatrix"]["counts"] == metrics.confusion_matrix(same, said).tolist()
    assert report["pairs"] == {"same": int(same.sum()), "different": int((~same).sum())}


def test_no_threshold_is_more_accurate_than_the_chosen_one(compared):
    similarities, same = compared
    limit = verification.threshold(sums(similarities, same).sums[verification.SIMILARITIES])
    best = max(((similarities >= one) == same).mean() for one in np.unique(similarities))
    assert ((similarities >= limit) == same).mean() == best


@pytest.mark.parametrize(("kind", "said"), [(True, "of two people"), (False, "of one person")])
def test_no_threshold_is_chosen_without_pairs_of_both_kinds(kind, said):
    counts = sums(np.linspace(0.1, 0.9, 9), np.full(9, kind)).sums[verification.SIMILARITIES]
    with pytest.raises(DataError, match=f"no pair {said} of the validation set can be read"):
        verification.threshold(counts)


def test_the_threshold_lies_in_the_middle_of_the_gap_between_both_kinds():
    totals = sums(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True]))
    assert verification.threshold(totals.sums[verification.SIMILARITIES]) == pytest.approx(0.4, abs=1e-3)


def test_a_rate_that_so_few_pairs_cannot_show_is_said_to_be_unmeasurable():
    totals = sums(np.array([0.1] * 20 + [0.6]), np.array([False] * 20 + [True]))
    evaluation = Evaluation(verification.metrics(totals), totals)
    assert set(evaluation.metrics) == {"loss", "auc", "tar_at_far_0.1"}
    assert verification.report(verification.judged(evaluation, 0.5), 0.5)["notMeasurable"] == {
        "tar_at_far_0.01": "needs 100 pairs of two people, and has 20",
        "tar_at_far_0.001": "needs 1000 pairs of two people, and has 20",
    }


def test_the_attack_changes_pixels_by_no_more_than_it_says_and_always_for_the_worse():
    """A linear network: its gradient is known, and so is what the attack makes of a pair."""
    model = keras.Sequential(
        [keras.layers.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.UnitNormalization()]
    )
    images = tf.random.stateless_uniform([4, 2, 2, 3], [3, 4], 20.0, 235.0)
    whose = tf.constant([0, 0, 1, 2])
    embeddings = model(images).numpy()
    before = (embeddings[0::2] * embeddings[1::2]).sum(axis=1)
    same = np.array([True, False])
    for threshold in np.linspace(-1, 1, 9):
        found = fgsm.evaluation(model, float(threshold), [0.0, 0.5, 4.0])(images, whose)
        right = [int(found[name][0]) for name in ("0", "0.5", "4")]
        assert right[0] == ((before >= threshold) == same).sum()
        assert right == sorted(right, reverse=True)


def test_eyes_come_to_the_same_places_whatever_the_turn_and_the_scale(tmp_path):
    size, eyes = 40, np.array([[30, 20], [50, 35]])
    picture = np.zeros((80, 90, 3), np.float32)
    for x, y in eyes:
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    aligned = landmarks.aligned(tf.constant(picture), tf.constant(eyes.ravel(), tf.float32), size).numpy()[..., 0]
    bright = np.argwhere(aligned > 100)
    left, right = bright[bright[:, 1] < size / 2].mean(axis=0), bright[bright[:, 1] > size / 2].mean(axis=0)
    assert left + 0.5 == pytest.approx([landmarks.HEIGHT * size, landmarks.LEFT * size], abs=0.6)
    assert right + 0.5 == pytest.approx([landmarks.HEIGHT * size, (1 - landmarks.LEFT) * size], abs=0.6)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("zoe/1.jpg,1,2,3,4", "line 2 of .*eyes.csv names zoe/1.jpg, and the data has no such picture"),
        ("ann/1.jpg,1,2,3", "line 2 of .*eyes.csv is 'ann/1.jpg,1,2,3': expected the path of a picture"),
        ("ann/1.jpg,1,2,1,2", "where the eyes are apart"),
        ("ann/1.jpg,1,2,nan,2", "where the eyes are apart"),
    ],
)
def test_a_line_of_landmarks_that_is_none_or_names_no_picture_is_said(tmp_path, line, said):
    (tmp_path / "eyes.csv").write_text(f"picture,left_x,left_y,right_x,right_y\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        landmarks.read(tmp_path / "eyes.csv", {"ann/1.jpg": 0}, 1)


def test_groups_have_every_picture_once_and_nobody_alone_who_need_not_be():
    pictures = [np.arange(0, 1), np.arange(1, 6), np.arange(6, 15)]
    groups = people.grouped(pictures, 4, seed=1, epoch=3)
    assert sorted(np.concatenate(groups).tolist()) == list(range(15))
    assert sorted(map(len, groups)) == [1, 2, 3, 3, 3, 3]
    assert all(any(set(group) <= set(own) for own in pictures) for group in groups)
    again, other = (people.grouped(pictures, 4, seed=1, epoch=epoch) for epoch in (3, 4))
    assert [group.tolist() for group in again] == [group.tolist() for group in groups]
    assert [group.tolist() for group in other] != [group.tolist() for group in groups]


def test_vggface_has_the_parameters_of_the_published_network():
    counts = {layer.name: layer.count_params() for layer in vggface.convolutions().layers}
    assert (counts["conv1_1"], counts["conv5_3"], sum(counts.values())) == (1_792, 2_359_808, 14_714_688)
    assert vggface.convolutions().output_shape == (None, 7, 7, 512)
    whole = vggface.whole()
    assert whole.count_params() == 145_002_878
    assert [layer.name for layer in whole.layers if layer.weights] == [
        *(f"conv{block}_{number}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for number in range(1, count + 1)),
        *("fc6", "fc7", "fc8"),
    ]


def test_published_weights_are_loaded_by_the_names_of_layers_and_the_top_is_left_out(tmp_path):
    """A legacy file as that of the published network, but with a small top: fc6 alone would be 400 MB."""
    random = np.random.default_rng(1)
    model = face_verifier.network("vggface", 32)
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    stored = {name: [random.normal(size=weight.shape) for weight in layer.weights] for name, layer in layers.items()}
    stored["fc8"] = [random.normal(size=(4, 3)), random.normal(size=3)]
    with h5py.File(tmp_path / "vgg_face.h5", "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in stored]
        for name, weights in stored.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in ("kernel", "bias")]
            for part, value in zip(("kernel", "bias"), weights, strict=True):
                group[f"{name}/{part}:0"] = value
    loaded = pretrained.load(model, tmp_path / "vgg_face.h5")
    assert (len(loaded.layers), loaded.missing, loaded.unused) == (13, (), ("fc8",))
    assert model.get_layer("conv5_3").bias.numpy() == pytest.approx(stored["conv5_3"][1].astype(np.float32))


def test_vggface_sees_blue_first_and_the_mean_subtracted():
    model = vggface.convolutions(32)
    prepared = keras.Model(model.input, model.get_layer("mean").output)
    red, green, blue = 200.0, 100.0, 50.0
    seen = prepared(tf.fill([1, 32, 32, 3], 1.0) * [red, green, blue])[0, 0, 0].numpy()
    assert seen == pytest.approx([blue - 93.5940, green - 104.7624, red - 129.1863], abs=1e-4)
