"""The recipe for faces: what it learns, what it says of bad data, what it serves, and that it goes on to the bit."""

import contextlib
import os
import random
import re
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from fovea_api import catalogue
from fovea_api.contract import environment, exit_codes, row_wise, signatures
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.datasets import identities
from fovea_trainers.main import main
from fovea_trainers.recipes import face_verifier
from fovea_trainers.runtime.interruption import Interruption
from fovea_trainers.runtime.session import Session
from fovea_trainers.runtime.strategy import Shard
from fovea_trainers.vision import augmentation
from fovea_trainers.vision.faces import pairs, people, sets
from support import faces, model_server, training
from support.faces import SMALL

FLOOR = 0.75
"""Accuracy on pairs of people that were not trained on. The cosine of raw pixels is below 0.65, see below."""
PAGE = (Path(__file__).parents[2] / "docs/tutorial/faces.md").read_text(encoding="utf-8")
MAKE, TRAIN = re.findall(r"^fovea-train (.*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """What the page's first command makes."""
    root = tmp_path_factory.mktemp("drawn")
    with contextlib.chdir(root):
        assert main(MAKE.split()) == exit_codes.OK
    return root / "people"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, drawn):
    """A run of the page's second command."""
    root = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(drawn.parent):
        assert training.run(root, *TRAIN.split()) == exit_codes.OK
    return root


def pairs_tested(data):
    """The pictures of the test pairs as files, and whether each pair is of one person: what the recipe makes of the names."""
    found = people.scan(data, lambda _: None)
    _, _, test = people.split(found, np.arange(len(found.names)), (0.2, 0.2), seed=1)
    pictures = found.pictures()
    made = pairs.generated([pictures[i] for i in test], each=6, seed=1)
    files = [[found.path(int(number)).read_bytes() for number in side] for side in made.T]
    return files, found.labels[made[:, 0]] == found.labels[made[:, 1]]


def test_people_who_were_not_trained_on_are_told_apart_which_the_pixels_do_not_tell(trained, drawn):
    document = training.evaluation(trained)
    assert document["metrics"]["accuracy"] > FLOOR
    assert document["metrics"]["auc"] > FLOOR + 0.1
    files, same = pairs_tested(drawn)
    rows = [np.stack([tf.io.decode_jpeg(one).numpy().ravel() for one in side]).astype(float) for side in files]
    for left, right in (rows, [side - side.mean(axis=1, keepdims=True) for side in rows]):
        cosine = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
        assert max(((cosine >= limit) == same).mean() for limit in cosine) < FLOOR - 0.1, "with the best threshold"


@pytest.fixture(scope="module")
def often_drawn(tmp_path_factory):
    """The page's people, with three times as many pictures of each."""
    root = tmp_path_factory.mktemp("often") / "people"
    assert main([*MAKE.split()[:2], str(root), *MAKE.split()[3:], "--pictures=24"]) == exit_codes.OK
    return root


@pytest.mark.wide
@pytest.mark.parametrize("loss", ["softmax", "center"])
def test_naming_people_tells_others_apart_where_there_are_enough_pictures_of_each(tmp_path, often_drawn, loss):
    """With 8 pictures of each, undistorted, softmax learns these pictures by heart: all are named rightly, and 0.6 of the pairs."""
    flags = [word for word in TRAIN.split()[2:] if not word.startswith("--epochs")]
    more = ("--epochs=8", "--softmax-epochs=4" if loss == "center" else "--softmax-epochs=0", "--fgsm=")
    command = ("face-verifier", f"--data={often_drawn}", *flags, *more, f"--loss={loss}")
    assert training.run(tmp_path, *command) == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert document["metrics"]["accuracy"] > FLOOR
    assert document["metrics"]["auc"] > FLOOR + 0.1


def test_the_results_tell_the_run(trained):
    document = training.evaluation(trained)
    assert (document["people"], document["images"], document["unreadable"]) == (220, 1760, 0)
    assert document["training"] == {"people": 132, "images": 1056}
    assert document["sets"]["test"]["pairs"] == {"same": 264, "different": 264}
    assert set(document["sets"]["test"]["notMeasurable"]) == {"tar_at_far_0.001"}
    names = {"loss", "auc", "accuracy", "precision", "recall", "f1", "tar_at_far_0.1", "tar_at_far_0.01"}
    assert set(document["metrics"]) == names | {f"{part}_{name}" for part in ("val", "test") for name in names}
    assert document["metrics"]["accuracy"] == document["sets"]["test"]["accuracy"]
    output = trained / environment.OUTPUT_DIR.lower()
    drawn = {"roc", "confusion", "mistakes", "robustness", "loss", "auc", "tar_at_far_0.1", "tar_at_far_0.01"}
    assert {path.name.removesuffix(".png") for path in output.glob("*.png")} == drawn
    attacked = document["robustness"]
    assert (attacked["set"], attacked["pairs"]) == ("test", 500)
    assert [point["epsilon"] for point in attacked["accuracy"]] == [0, 1, 2, 4, 8]
    assert attacked["accuracy"][0]["accuracy"] - attacked["accuracy"][-1]["accuracy"] > 0.2


def test_the_model_server_answers_what_the_evaluation_counted(trained, drawn, tmp_path):
    document = training.evaluation(trained)
    (first, second), same = pairs_tested(drawn)
    model_server.publish(training.model_folder(trained), tmp_path / "faces", 1)
    with model_server.model_server(tmp_path, "--model_name=faces", f"--model_base_path={tmp_path / 'faces'}") as server:
        client = model_server.Client(server.address)
        answers = {
            name: [] for name in (signatures.SIMILARITY_OUTPUT, signatures.SAME_OUTPUT, signatures.THRESHOLD_OUTPUT)
        }
        for start in range(0, len(same), 64):
            given = {"first": first[start : start + 64], "second": second[start : start + 64]}
            for name, values in client.predict(
                model_server.predict_request(signatures.PAIR, given, model="faces")
            ).items():
                answers[name] += values
        found = client.predict(model_server.predict_request("", {"image": first[:2] + second[:2]}, model="faces"))
    said = np.array(answers[signatures.SAME_OUTPUT])
    counts = [[int(((same == row) & (said == column)).sum()) for column in (False, True)] for row in (False, True)]
    assert counts == document["sets"]["test"]["confusionMatrix"]["counts"]
    assert set(answers[signatures.THRESHOLD_OUTPUT]) == {document["threshold"]}
    embedding = np.array(found[signatures.EMBEDDING_OUTPUT])
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    similarity = (embedding[:2] * embedding[2:]).sum(axis=1)
    assert similarity == pytest.approx(answers[signatures.SIMILARITY_OUTPUT][:2], abs=1e-5)
    assert set(found[signatures.MODEL_OUTPUT]) == {document["embedding"]["digest"].encode()}
    outputs = row_wise.read(training.model_folder(trained))
    assert outputs[signatures.PAIR] == {"similarity", "same", "threshold"}
    assert outputs[signatures.SERVING_DEFAULT] == outputs[signatures.PIXELS] == {"embedding", "model"}


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    return faces.coloured(tmp_path_factory.mktemp("coloured") / "people", 12)


@pytest.mark.parametrize(
    "loss", [*(pytest.param(loss, marks=pytest.mark.wide) for loss in ("softmax", "center")), "triplet"]
)
def test_killed_at_a_random_step_it_goes_on_to_the_bytes_of_a_run_that_was_not(tmp_path, coloured, loss):
    command = (
        "face-verifier",
        f"--data={coloured}",
        *SMALL,
        "--epochs=14",
        "--patience=14",
        "--early-stopping",
        f"--loss={loss}",
    )
    command += ("--softmax-epochs=6", "--pictures-per-person=2")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert training.run(undisturbed, *command) == exit_codes.OK
    steps = training.evaluation(undisturbed)["steps"]
    at = random.randrange(5, steps - 25)
    process = training.begin(killed, *command, "--checkpoint-every-steps=1")
    training.wait_until(lambda: [step for step in training.checkpoints(killed) if step >= at], process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert training.checkpoints(killed)[-1] < steps, f"to be killed at {at}"
    assert training.run(killed, *command) == exit_codes.OK
    assert training.trained_bytes(killed) == training.trained_bytes(undisturbed), f"killed at {at}"
    ours, theirs = training.evaluation(killed), training.evaluation(undisturbed)
    assert (ours | {"seconds": 0}) == (theirs | {"seconds": 0})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the small network, in Keras' format."""
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    face_verifier.network("small", 16).save_weights(path)
    return path


def test_without_training_given_weights_are_measured_on_all_people_and_exported(tmp_path, coloured, weights):
    flags = ("--loss=none", "--test-ratio=0.5", f"--weights={weights}")
    assert training.run(tmp_path, "face-verifier", f"--data={coloured}", *SMALL, *flags) == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert (document["steps"], document["training"], document["history"]) == (0, {"people": 0, "images": 0}, [])
    assert [sum(document["sets"][name]["pairs"].values()) for name in ("val", "test")] == [12, 12]
    assert document["weights"]["layers"] == 9
    assert training.checkpoints(tmp_path) == []
    model = face_verifier.network("small", 16)
    model.load_weights(weights)
    picture = next((coloured / "p00").iterdir()).read_bytes()
    pixels = tf.round(tf.image.resize(tf.cast(tf.io.decode_png(picture), tf.float32), [16, 16]))
    served = tf.saved_model.load(str(training.model_folder(tmp_path))).signatures["serving_default"]
    answer = served(image=tf.constant([picture]))["embedding"].numpy()
    assert answer == pytest.approx(model(pixels[tf.newaxis]).numpy(), abs=1e-5)


def test_learnt_pictures_are_distorted_each_time_in_another_way_and_compared_ones_are_not(tmp_path, coloured):
    """Distorted, every picture differs from epoch to epoch; without it, from no epoch to another."""
    config = face_verifier.Config(data=str(coloured), image_size=16, batch_size=64)
    with training.environ(training.variables(tmp_path)), Interruption(saves=False) as interruption:
        session = Session.begin("test", config, dict(os.environ), interruption)
        found = sets.read(config, 1, session, learning=True, threshold=False)

    def pictures(distortion, epoch):
        """Those of an epoch by their first pixels' sums, whatever the order."""
        batches, _ = found.plain(64, distortion, seed=1)
        ((images, _),) = batches(epoch, 0, Shard())
        return np.sort(tf.reduce_sum(images, axis=[1, 2, 3]).numpy())

    augmented = augmentation.of(config)
    assert np.array_equal(pictures(None, 0), pictures(None, 1))
    assert np.array_equal(pictures(augmented, 0), pictures(augmented, 0))
    assert np.abs(pictures(augmented, 0) - pictures(augmented, 1)).min() > 0
    (compared,) = found.compared(64)["val"]()
    whole = {tuple(map(float, tf.reshape(one, [-1])[:9])) for one in found.images.held[0].astype(np.float32)}
    assert {tuple(map(float, tf.reshape(one, [-1])[:9])) for one in compared[0]} <= whole


def test_pairs_of_a_file_are_the_test_and_their_people_are_not_learnt_from(tmp_path, coloured, capfd):
    data = shutil.copytree(coloured, tmp_path / "people")
    lines = ["2\t2", "p01\t1\t2", "p02\t1\t3", "p01\t1\tp02\t1", "p03\t2\tp01\t3"]
    (data / "pairs.txt").write_text("\n".join(lines), encoding="utf-8")
    assert training.run(tmp_path, "face-verifier", f"--data={data}", *SMALL, "--pairs=pairs.txt") == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert document["sets"]["test"]["pairs"] == {"same": 2, "different": 2}
    assert document["training"]["people"] == 7
    assert "12 people: 7 to learn from; 4 val pairs, 4 test pairs" in capfd.readouterr().err


def test_faces_are_aligned_by_their_eyes_in_training_and_when_they_are_served(tmp_path):
    data = faces.drawn(tmp_path / "people", 10)
    lines = (data / identities.EYES).read_text(encoding="utf-8").splitlines()
    (data / "eyes.csv").write_text("\n".join(lines[:-3]), encoding="utf-8")
    flags = ("--landmarks=eyes.csv", "--pairs-per-person=3")
    assert training.run(tmp_path, "face-verifier", f"--data={data}", *SMALL, *flags) == exit_codes.OK
    assert training.evaluation(tmp_path)["images"] == 77, "three have no line"
    model = tf.saved_model.load(str(training.model_folder(tmp_path)))
    assert set(model.signatures) == {"serving_default", "pair"}
    name, *places = lines[1].split(",")
    eyes = np.array([places], np.float32)
    picture = tf.io.decode_jpeg((data / name).read_bytes())
    larger = tf.io.encode_png(tf.cast(tf.image.resize(picture, [128, 128]), tf.uint8))
    given = {"first": tf.io.encode_png(picture)[tf.newaxis], "first_eyes": eyes, "second_eyes": 2 * eyes + 0.5}
    answer = model.signatures["pair"](second=larger[tf.newaxis], **{k: tf.constant(v) for k, v in given.items()})
    assert answer["similarity"].numpy()[0] > 0.99, "the same face, twice as large"


def test_other_eyes_or_pairs_in_the_same_files_are_other_data(tmp_path, capfd):
    data = faces.drawn(tmp_path / "people", 10)
    eyes, tested = (data / "eyes.csv").read_text(encoding="utf-8"), data / "pairs.txt"
    people = sorted(path.name for path in data.iterdir() if path.is_dir())
    lines = [f"{people[0]}\t1\t2", f"{people[0]}\t1\t{people[1]}\t1"]
    tested.write_text("\n".join(lines), encoding="utf-8")
    command = ("face-verifier", f"--data={data}", *SMALL, "--landmarks=eyes.csv", "--pairs=pairs.txt")
    assert training.run(tmp_path, *command) == exit_codes.OK
    capfd.readouterr()
    first, rest = eyes.splitlines()[1], "\n".join([*eyes.splitlines()[:1], *eyes.splitlines()[2:]])
    name, x, *places = first.split(",")
    for path, text in (
        (data / "eyes.csv", "\n".join([rest, ",".join([name, f"{float(x) + 1}", *places])])),
        (tested, "\n".join([lines[0].replace("2", "3"), lines[1]])),
    ):
        path.write_text(text, encoding="utf-8")
        assert training.run(tmp_path, *command) == exit_codes.OK
        assert "with new epochs (data was" in capfd.readouterr().err, path.name


def test_people_are_divided_as_by_earlier_versions():
    paths = np.array([f"p{number}/1.jpg".encode() for number in range(14)], object)
    names = tuple(f"p{number}" for number in range(14))
    found = people.People(Path("/data"), paths, np.ones(14, np.int64), np.arange(14, dtype=np.int32), names)
    sets = people.split(found, np.arange(1, 14), (0.3, 0.2), 7)
    assert [part.tolist() for part in sets] == [[1, 3, 4, 5, 10, 12], [2, 7, 8, 13], [6, 9, 11]]


def test_a_picture_that_cannot_be_read_is_named_and_takes_its_pairs_along(tmp_path, coloured, capfd):
    data = shutil.copytree(coloured, tmp_path / "people")
    found = people.scan(data, lambda _: None)
    _, _, test = people.split(found, np.arange(12), (0.3, 0.3), seed=1)
    damaged = [f"{found.names[i]}/{found.names[i]}_0001.png" for i in test[:2]]
    for name in damaged:
        (data / name).write_bytes(b"no picture")
    flags = ("--pairs-per-person=9", "--test-ratio=0.3", "--validation-ratio=0.3")
    assert training.run(tmp_path, "face-verifier", f"--data={data}", *SMALL, *flags) == exit_codes.OK
    said = capfd.readouterr().err
    assert all(f"picture {name} (" in said for name in damaged)
    document = training.evaluation(tmp_path)
    assert document["unreadable"] == 2
    assert document["sets"]["test"]["pairs"]["same"] == 2 * 3 + 2 * 1, "three pictures make three pairs, two make one"
    assert training.run(tmp_path / "strict", "face-verifier", f"--data={data}", *SMALL, "--max-unreadable=0.01") == 1
    assert "1 of 36 pictures" in capfd.readouterr().err


def test_a_person_with_one_picture_is_compared_with_others_only(tmp_path, coloured):
    data = shutil.copytree(coloured, tmp_path / "people")
    for person in range(4):
        for number in (2, 3):
            (data / f"p{person:02d}" / f"p{person:02d}_{number:04d}.png").unlink()
    flags = ("--test-ratio=0.5", "--validation-ratio=0.25")
    assert training.run(tmp_path, "face-verifier", f"--data={data}", *SMALL, *flags) == exit_codes.OK
    document = training.evaluation(tmp_path)
    pairs_made = [document["sets"][name]["pairs"] for name in ("val", "test")]
    assert [one["different"] for one in pairs_made] == [3, 6]
    assert sum(one["same"] for one in pairs_made) + document["training"]["people"] < 12


def test_a_run_that_a_flag_or_the_data_forbids_ends_with_a_sentence(tmp_path, coloured, weights, capfd):
    data = shutil.copytree(coloured, tmp_path / "people")
    (data / "pairs.txt").write_text("1\np01\t1\t2\nzoe\t1\tp01\t1\n", encoding="utf-8")
    (data / "eyes.csv").write_text("p01/p01_0001.png,1,2,3,4\nzoe/zoe_0001.png,1,2,3,4\n", encoding="utf-8")
    one = faces.coloured(tmp_path / "one", 1)
    alone = faces.coloured(tmp_path / "alone", 12, pictures=1)
    not_weights = tmp_path / "wrong.h5"
    not_weights.write_bytes(b"no weights")
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="elsewhere")]).save_weights(other)
    refused = {
        (f"--data={one}",): (1, "has pictures of one person only (p00): expected one folder for each person"),
        (f"--data={alone}",): (1, "no person of the val set has two pictures"),
        (f"--data={data}", "--pairs=pairs.txt"): (
            1,
            "line 3 of",
            "names zoe/zoe_0001, and the data has no such picture",
        ),
        (f"--data={data}", "--landmarks=eyes.csv"): (
            1,
            "line 2 of",
            "names zoe/zoe_0001.png, and the data has no such",
        ),
        (f"--data={data}", f"--weights={not_weights}"): (1, "wrong.h5 holds no Keras weights"),
        (f"--data={data}", f"--weights={other}"): (1, "has weights for none of the network's layers"),
        (f"--data={data}", "--loss=none"): (2, "--loss=none trains nothing, so it needs trained weights"),
        (f"--data={data}", "--validation-ratio=0"): (1, "a threshold is chosen on validation pairs"),
        (f"--data={data}", "--validation-ratio=0.5", "--test-ratio=0.5"): (1, "0 of 12 people", "left to learn from"),
        (f"--data={data}", "--softmax-epochs=1"): (2, "leaves none of the --epochs=1 to --loss=triplet"),
        (f"--data={data}", "--embedding=face-descriptor"): (2, "takes pictures of 150 pixels: drop --image-size=16"),
        (f"--data={data}", "--fgsm=1,x"): (2, '--fgsm must be numbers up to 255, such as 1,2,4,8, or empty, not "1,x"'),
        (f"--data={data}", "--pictures-per-person=8"): (2, "--batch-size=8 holds fewer than two people"),
        (f"--data={data / 'p01'}",): (1, "has no pictures of people"),
    }
    for flags, (code, *words) in refused.items():
        assert training.run(tmp_path / "run", "face-verifier", *SMALL, *flags) == code, flags
        said = capfd.readouterr().err
        assert all(word in said for word in words), said
        assert "Traceback" not in said


def test_a_given_threshold_decides_and_needs_no_validation(tmp_path, coloured):
    flags = ("--threshold=0.25", "--validation-ratio=0", "--test-ratio=0.4")
    assert training.run(tmp_path, "face-verifier", f"--data={coloured}", *SMALL, *flags) == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert (document["threshold"], list(document["sets"])) == (0.25, ["test"])


def test_the_job_of_the_page_is_the_example_and_one_whose_flags_the_recipe_has():
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    job = yaml.safe_load(text)
    assert job == yaml.safe_load((Path(__file__).parents[2] / "examples/faces.yaml").read_text(encoding="utf-8"))
    TrainingJob.model_validate(job)
    assert catalogue.check(job["spec"]["trainer"]["recipe"], job["spec"]["args"]) == []
