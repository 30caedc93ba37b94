"""The recipe for masks: what it learns, what it says of the data, what it serves, and that it goes on to the bit."""

import io
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from fovea_api import catalogue
from fovea_api.contract import environment, exit_codes, row_wise, signatures
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.main import main
from fovea_trainers.recipes import segmenter
from fovea_trainers.vision import letterbox, mask_folders
from PIL import Image
from sklearn.linear_model import LogisticRegression
from support import masks as data
from support import training
from support.legacy_weights import legacy_content, write_legacy
from support.model_server import Client, model_server, predict_request, publish

FLOOR = 0.5
"""IoU of the cells on pictures that were not trained on: what no pixel tells by itself (0.25) nor by its difference from
its picture's mean (0.36)."""
SIDE = 32
LESS = {"--image-size=64": f"--image-size={SIDE}", "--epochs=12": "--epochs=5"}
SOONER = ("--batch-size=2", "--class-weights=1,2")
"""What the tests change in the tutorial's command: a fifth of its work. The weights spare the epochs in which all is ground."""
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial/cells.md").read_text(encoding="utf-8")
BLOCKS: dict[str, list[str]] = {}
for language, content in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
    BLOCKS.setdefault(language, []).append(content)
COMMANDS = [
    line.split() for block in BLOCKS["console"] for line in block.splitlines() if line.startswith("fovea-train ")
]
SMALL = ("--image-size=32", "--epochs=2", "--learning-rate=0.002")


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The data of the tutorial, by its command."""
    command, root = COMMANDS[0], tmp_path_factory.mktemp("tutorial") / "cells"
    assert command[:2] == ["fovea-train", "make-dataset"]
    assert main([*command[1:-1], str(root)]) == exit_codes.OK
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory, made):
    """The run of the tutorial, with less work."""
    root = tmp_path_factory.mktemp("trained")
    assert COMMANDS[1][:3] == ["fovea-train", "segmenter", "--data=cells"]
    assert set(LESS) <= set(COMMANDS[1])
    flags = [LESS.get(word, word) for word in COMMANDS[1][3:]]
    assert training.run(root, "segmenter", f"--data={made}", *flags, *SOONER) == exit_codes.OK
    return root


@pytest.mark.wide
def test_the_command_of_the_tutorial_reaches_what_it_says(tmp_path, made):
    assert training.run(tmp_path, "segmenter", f"--data={made}", *COMMANDS[1][3:]) == exit_codes.OK
    assert "is then about 0.8" in PAGE
    assert training.evaluation(tmp_path)["metrics"]["iou"] == pytest.approx(0.8, abs=0.1)


def test_the_job_of_the_tutorial_is_its_command(made):
    job = yaml.safe_load((ROOT / "examples/cells.yaml").read_text(encoding="utf-8"))
    TrainingJob.model_validate(job)
    arguments = job["spec"]["args"]
    assert catalogue.check("segmenter", arguments) == []
    given = {name: value for name, value in arguments.items() if name not in ("model", "class-names")}
    words = [f"--{name}={value}" if value is not False else f"--no-{name}" for name, value in given.items()]
    assert sorted(words) == sorted(COMMANDS[1][3:])


def part(root, name):
    """Pictures and what belongs to a cell, of a set."""
    names = (root / "ImageSets/Segmentation" / f"{name}.txt").read_text().split()
    pictures = np.stack([pixels(root / "Images" / f"{each}.png") for each in names])
    return pictures, np.stack([pixels(root / "Labels" / f"{each}.png") <= 127 for each in names])


def best_iou(scores, inside):
    """With the threshold that suits these very pictures best."""
    taken = [scores > threshold for threshold in np.quantile(scores, np.linspace(0, 1, 50))]
    return max((each & inside).sum() / (each | inside).sum() for each in taken)


def test_it_learns_cells_that_no_pixel_tells_by_itself(made, trained):
    (train, train_inside), (val, inside) = part(made, "train"), part(made, "val")
    linear = LogisticRegression().fit(train.reshape(-1, 3)[::5] / 255, train_inside.ravel()[::5])
    grey = val.mean(axis=-1)
    baselines = {
        "linear": best_iou(linear.decision_function(val.reshape(-1, 3) / 255).reshape(inside.shape), inside),
        "bright": best_iou(grey, inside),
        "dark": best_iou(-grey, inside),
        "contrast": best_iou(np.abs(grey - grey.mean(axis=(1, 2), keepdims=True)), inside),
    }
    assert max(baselines.values()) < FLOOR - 0.1, baselines
    assert training.evaluation(trained)["metrics"]["iou"] > FLOOR


def test_the_results_tell_the_run(trained):
    document = training.evaluation(trained)
    assert document["images"] == {"train": 180, "val": 60, "test": 0}
    assert (document["classes"], document["classWeights"]) == (["background", "object"], [1, 2])
    names = {"loss", "accuracy", "iou", "mean_iou", "f_score"}
    assert set(document["metrics"]) == names | {f"val_{name}" for name in names}
    reported = document["sets"]["val"]
    counts = np.array(reported["confusionMatrix"]["counts"])
    assert (reported["images"], reported["pixels"], counts.sum()) == (60, 60 * SIDE**2, 60 * SIDE**2)
    assert reported["perClass"]["object"]["iou"] == pytest.approx(document["metrics"]["iou"])
    assert document["history"][0]["loss"] > document["history"][-1]["loss"]
    output = trained / environment.OUTPUT_DIR.lower()
    assert {path.stem for path in output.glob("*.png")} == {*names, "masks"}
    assert pixels(output / "masks.png").shape[0] > 1000, "a row for each of the first pictures"
    assert {"train", "validation"} == {folder for folder, tag in training.summaries(trained) if tag == "iou"}


def test_the_model_server_answers_with_what_was_evaluated(tmp_path, made, trained):
    publish(training.model_folder(trained), tmp_path / "models", 1)
    names = (made / "ImageSets/Segmentation/val.txt").read_text().split()
    files = [(made / "Images" / f"{name}.png").read_bytes() for name in names]
    counts = np.zeros((2, 2), np.int64)
    with model_server(tmp_path, "--model_name=cells", f"--model_base_path={tmp_path / 'models'}") as server:
        client = Client(server.address)
        for start in range(0, len(files), 20):
            ask = predict_request("", {signatures.IMAGE_INPUT: files[start : start + 20]}, model="cells")
            answer = client.predict(ask)
            for name, mask, classes, box in zip(
                names[start : start + 20],
                answer[signatures.MASK_OUTPUT],
                answer[signatures.CLASS_MAP_OUTPUT],
                answer[signatures.BOX_OUTPUT],
                strict=True,
            ):
                inside, taken = pixels(made / "Labels" / f"{name}.png") <= 127, np.array(classes)
                framed = letterbox.fit_classes(tf.constant(inside, tf.uint8), SIDE, margin=0).numpy()
                np.add.at(counts, (framed, taken), 1)
                drawn = letterbox.restore(tf.constant(taken), tf.constant(inside.shape)).numpy()
                assert (pixels(io.BytesIO(mask)) == np.where(drawn, 0, 255)).all()
                assert box == [0, 0, SIDE, SIDE]
        (tmp_path / "cells").symlink_to(made)
        named = 'fovea.Client(namespace="vision").predictor("cells")'
        assert named in BLOCKS["python"][0]
        asked = BLOCKS["python"][0].replace(named, f'fovea.Predictor("cells", endpoint="{server.address}")')
        subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, check=True, timeout=60)
        assert pixels(tmp_path / "mask.png").shape == (64, 64)
    evaluated = np.array(training.evaluation(trained)["sets"]["val"]["confusionMatrix"]["counts"])
    assert np.abs(counts - evaluated).max() <= 2, "but for pixels of two classes with equal scores"


def test_a_mask_has_the_picture_s_own_size_and_both_signatures_agree(trained):
    model = tf.saved_model.load(str(training.model_folder(trained)))
    noise = np.random.default_rng(2).integers(0, 255, (3, 96, 40, 3)).astype(np.uint8)
    sizes = [noise[0], noise[1, :64, :30], np.tile(noise[2], (2, 3, 1))]
    files = tf.stack([tf.io.encode_png(each) for each in sizes])
    answer = model.signatures[signatures.SERVING_DEFAULT](image=files)
    for picture, mask, classes, box in zip(sizes, *(answer[name].numpy() for name in
                                                    (signatures.MASK_OUTPUT, signatures.CLASS_MAP_OUTPUT, signatures.BOX_OUTPUT)), strict=True):  # fmt: skip
        assert box.tolist() == letterbox.box(tf.constant(picture.shape[:2]), SIDE).numpy().tolist()
        drawn = pixels(io.BytesIO(mask))
        assert drawn.shape == picture.shape[:2]
        restored = letterbox.restore(tf.constant(classes), tf.constant(picture.shape[:2])).numpy()
        assert np.array_equal(drawn == 0, restored == 1)
    by_pixels = model.signatures[signatures.PIXELS](pixels=tf.constant(noise[:1], tf.float32))
    assert np.array_equal(by_pixels[signatures.CLASS_MAP_OUTPUT][0], answer[signatures.CLASS_MAP_OUTPUT][0])
    scores = by_pixels[signatures.SCORE_MAP_OUTPUT].numpy()
    assert np.allclose(scores.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(scores.argmax(axis=-1), by_pixels[signatures.CLASS_MAP_OUTPUT])
    assert row_wise.read(training.model_folder(trained)) == {
        signatures.SERVING_DEFAULT: {signatures.MASK_OUTPUT, signatures.CLASS_MAP_OUTPUT, signatures.BOX_OUTPUT},
        signatures.PIXELS: {signatures.CLASS_MAP_OUTPUT, signatures.BOX_OUTPUT, signatures.SCORE_MAP_OUTPUT},
    }


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return data.write(tmp_path_factory.mktemp("squares"), 18)


@pytest.mark.wide
def test_killed_within_an_epoch_it_goes_on_to_the_bytes_of_a_run_that_was_not(tmp_path, squares):
    """Distorted pictures that are read each time, dropout, weights of the classes, and the best epoch's weights."""
    flags = ("--epochs=4", "--batch-size=3", "--class-weights=balanced", "--no-cache-images")
    command = ("segmenter", f"--data={squares}", *SMALL, *flags)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert training.run(undisturbed, *command) == exit_codes.OK
    process = training.begin(killed, *command, "--checkpoint-every-steps=1")
    wanted = int(np.random.default_rng().integers(2, 8))
    training.wait_until(lambda: [step for step in training.checkpoints(killed) if step >= wanted], process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    document = training.evaluation(undisturbed)
    assert training.checkpoints(killed)[-1] < document["steps"], f"killed at {wanted}"
    assert training.run(killed, *command) == exit_codes.OK
    assert training.trained_bytes(killed) == training.trained_bytes(undisturbed), f"killed at {wanted}"
    assert (training.evaluation(killed) | {"seconds": 0}) == (document | {"seconds": 0})
    # Margins are background to the training, and count nothing here.
    names = (squares / "ImageSets/Segmentation/val.txt").read_text().split()
    shapes = [pixels(squares / "Labels" / f"{name}.png").shape for name in names]
    inner = sum(int(np.prod(letterbox.extent(tf.constant(shape), 32).numpy())) for shape in shapes)
    assert document["sets"]["val"]["pixels"] == inner < len(names) * 32 * 32


@pytest.mark.wide
def test_mobilenet_unet_begins_with_the_weights_of_the_released_file(tmp_path, squares, capfd):
    """A file of the layout and the layer names of mobilenet_1_0_224_tf_no_top.h5, which has two more pairs of layers."""
    from keras import applications

    encoder = applications.MobileNet(input_shape=(32, 32, 3), include_top=False, weights=None)
    file = write_legacy(tmp_path / "mobilenet_1_0_224_tf_no_top.h5", legacy_content(encoder))
    flags = (f"--data={squares}", *SMALL, "--model=mobilenet-unet", f"--weights={file}", "--max-steps=1")
    assert training.run(tmp_path, "segmenter", *flags, "--learning-rate=0") == exit_codes.OK
    document, said = training.evaluation(tmp_path), capfd.readouterr().err
    assert document["weights"]["layers"] == 46  # 23 convolutions, each with its normalisation
    assert "in the file, but not in this network: conv_dw_12, conv_dw_12_bn, conv_pw_12" in said
    model = segmenter.mobilenet_unet(2, 32)
    stored = tf.train.load_checkpoint(str(tmp_path / environment.CHECKPOINT_DIR.lower() / "1" / "variables"))
    place = [weight.path for weight in model.variables].index("conv_pw_11/kernel")
    found = stored.get_tensor(f"model/{place}/.ATTRIBUTES/VARIABLE_VALUE")
    assert np.array_equal(found, encoder.get_layer("conv_pw_11").kernel.numpy())
    assert training.run(tmp_path / "other", "segmenter", *flags, "--model=unet-mini") == 1
    assert "has weights for none of the network's layers" in capfd.readouterr().err


def test_classes_by_number_with_void_pixels_in_voc_s_own_folders(tmp_path):
    root = data.write(tmp_path / "data", 9, lists=False)
    for name, new in (("Images", "JPEGImages"), ("Labels", "SegmentationClass")):
        (root / name).rename(root / new)
    for number, path in enumerate(sorted((root / "SegmentationClass").iterdir())):
        inside = pixels(path) == 0
        classes = np.where(inside, 1 + number % 2, 0).astype(np.uint8)
        classes[0] = 255
        label = Image.fromarray(classes, mode="P")
        label.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
        label.save(path)
    for path in sorted((root / "JPEGImages").iterdir()):
        Image.fromarray(pixels(path)).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    flags = ("--label-values=numbers", "--classes=3", "--class-names=ground,one,two", "--test-ratio=0.2")
    assert training.run(tmp_path, "segmenter", f"--data={root}", *SMALL, *flags) == exit_codes.OK
    document = training.evaluation(tmp_path)
    assert document["images"] == {"train": 5, "val": 2, "test": 2}
    pairs = mask_folders.scan(root)
    chosen = mask_folders.split(pairs, validation_ratio=0.2, test_ratio=0.2, seed=1)["test"]
    expected = np.zeros(256, np.int64)
    for number in chosen:
        expected += np.bincount(pixels(pairs.labels.path(number)).ravel(), minlength=256)
    assert expected[255] > 0
    counts = np.array(document["sets"]["test"]["confusionMatrix"]["counts"])
    if all(data.SIDES[int(number) % 3] <= 32 for number in chosen):  # else pictures are scaled
        assert counts.sum(axis=1).tolist() == expected[:3].tolist()
    assert set(document["sets"]["test"]["perClass"]) == {"ground", "one", "two"}
    model = tf.saved_model.load(str(training.model_folder(tmp_path)))
    file = pairs.path(0).read_bytes()
    answer = model.signatures[signatures.SERVING_DEFAULT](image=tf.constant([file]))
    drawn = pixels(io.BytesIO(answer[signatures.MASK_OUTPUT].numpy()[0]))
    assert drawn.max() < 3
    assert drawn.shape == pixels(pairs.path(0)).shape[:2]


def wrong_size(root):
    Image.new("L", (30, 24)).save(root / "Labels/p03.png")


def turned(root):
    Image.fromarray(np.rot90(pixels(root / "Labels/p01.png"))).save(root / "Labels/p01.png")


def no_label(root):
    (root / "Labels/p02.png").unlink()


def no_picture(root):
    (root / "Images/p04.png").unlink()


def unreadable(root):
    (root / "Images/p05.png").write_bytes((root / "Images/p05.png").read_bytes()[:200])


def background_only(root):
    for path in (root / "Labels").iterdir():
        Image.fromarray(np.full_like(pixels(path), 255)).save(path)


REFUSED = {
    wrong_size: "Images/p03.png (its label Labels/p03.png has 30×24 pixels, the picture 32×32); repair or remove them",
    turned: "Images/p01.png (its label Labels/p01.png has 24×32 pixels, the picture 32×24, which its EXIF turns (--no-exif",
    no_label: "1 of 6 pictures in ROOT have no label picture in ROOT/Labels: p02; add it under the picture's name",
    no_picture: "train.txt names 1 pictures that are not there: line 1 p04; add them, or remove these lines",
    unreadable: "Images/p05.png (",
    background_only: "every label picture of the training set in ROOT has the single class background, Labels/p",
}


@pytest.mark.parametrize("break_it", REFUSED, ids=lambda broken: broken.__name__)
def test_data_that_cannot_be_trained_on_ends_the_run_with_a_sentence(tmp_path, capfd, break_it):
    root = data.write(tmp_path / "data", 6)
    data.listed(root, train=["p04", "p03", "p02", "p01", "p05"], val=["p00"])
    break_it(root)
    assert training.run(tmp_path, "segmenter", f"--data={root}", *SMALL) == 1
    said = capfd.readouterr().err
    assert REFUSED[break_it].replace("ROOT", str(root)) in said
    assert "Traceback" not in said


def test_few_unusable_pictures_are_left_out_named_and_counted(tmp_path, capfd, squares):
    root = shutil.copytree(squares, tmp_path / "data")
    wrong_size(root)
    unreadable(root)
    assert training.run(tmp_path, "segmenter", f"--data={root}", *SMALL, "--max-unreadable=0.2") == exit_codes.OK
    said = capfd.readouterr().err
    assert (
        "picture Images/p03.png (its label Labels/p03.png has 30×24 pixels, the picture 32×32) cannot be read" in said
    )
    document = training.evaluation(tmp_path)
    assert (document["unreadable"], document["images"]["train"]) == (2, 10)


def test_a_run_that_diverges_stops_and_names_the_step(tmp_path, capfd, squares):
    """By the weights of the classes: of a great learning rate units may die, as rounding decides, and the loss stays a number."""
    assert training.run(tmp_path, "segmenter", f"--data={squares}", *SMALL, "--class-weights=1e38,1e38") == 1
    said = capfd.readouterr().err
    assert "became non-finite at step 1" in said
    assert "Lower --learning-rate" in said
    assert not (tmp_path / environment.OUTPUT_DIR.lower() / environment.SUCCESS_MARKER).exists()
