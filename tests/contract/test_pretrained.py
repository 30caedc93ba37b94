"""Pretrained weights: three formats in, layer by layer, and a sentence for each file that does not fit."""

import hashlib
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
from fovea_trainers.errors import WeightsError
from fovea_trainers.runtime import pretrained
from fovea_trainers.runtime.workspace import Workspace
from keras import layers
from support.legacy_weights import legacy_content, write_legacy


def backbone(name="backbone"):
    """Two named layers with weights, a normalisation, and dropout, whose seed is no weight."""
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="block1_conv1"),
            layers.BatchNormalization(name="block1_bn"),
            layers.Dropout(0.5),
            layers.DepthwiseConv2D(3, name="block2_dw"),
        ],
        name=name,
    )


def classifier(classes=3):
    """The backbone within a network, with a head of its own."""
    return keras.Sequential([layers.Input((8, 8, 3)), backbone(), layers.Flatten(), layers.Dense(classes, name="head")])


def randomized(model):
    """Every weight is another number, the moving statistics included."""
    noise = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(noise.normal(size=weight.shape).astype(np.float32))
    return model


def values(model):
    return {
        f"{layer.name}/{number}": value for layer in model.layers for number, value in enumerate(layer.get_weights())
    }


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name


@pytest.fixture
def trained():
    return randomized(backbone())


FORMATS = {
    "weights of Keras 2": lambda model, path: write_legacy(path, legacy_content(model)),
    "names of VGG16's release": lambda model, path: write_legacy(
        path, legacy_content(model), name_of="{layer}_{weight}_1:0"
    ),
    "a whole model of Keras 2": lambda model, path: write_legacy(path, legacy_content(model), group="model_weights"),
    "a list of layers in pieces": lambda model, path: write_legacy(path, legacy_content(model), pieces=3),
    "a whole legacy model": lambda model, path: model.save(path.with_suffix(".h5")),
    "weights of Keras 3": lambda model, path: model.save_weights(path.with_suffix(".weights.h5")),
    "a model of Keras 3": lambda model, path: model.save(path.with_suffix(".keras")),
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_back_the_weights_whatever_the_file_is_called(tmp_path, trained, write):
    """An input that is one file has the name of the input."""
    write(trained, tmp_path / "file")
    (written,) = tmp_path.iterdir()
    path = written.rename(tmp_path / "weights")
    model = classifier()
    head = model.get_layer("head").get_weights()
    loaded = pretrained.load(model.get_layer("backbone"), path)
    assert_equal(values(model.get_layer("backbone")), values(trained))
    assert_equal(dict(enumerate(model.get_layer("head").get_weights())), dict(enumerate(head)))
    assert loaded.layers == ("block1_conv1", "block1_bn", "block2_dw")
    assert (loaded.missing, loaded.unused) == ((), ())
    assert loaded.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert loaded.about() == {"digest": loaded.digest, "layers": 3}


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_a_network_with_a_head_and_a_backbone_alone_read_each_other_s_files(tmp_path, suffix, capsys):
    whole = randomized(classifier(5))
    path = tmp_path / f"whole{suffix}"
    whole.save_weights(path) if suffix == ".weights.h5" else whole.save(path)
    alone = backbone("another")
    loaded = pretrained.load(alone, path)
    assert_equal(values(alone), values(whole.get_layer("backbone")))
    assert loaded.unused == ("head",)
    assert "in the file, but not in this network: head" in capsys.readouterr().err

    model = keras.Sequential([layers.Input((8, 8, 3)), backbone(), layers.Flatten(), layers.Dense(2, name="new")])
    loaded = pretrained.load(model, path)
    assert_equal(values(model.get_layer("backbone")), values(whole.get_layer("backbone")))
    assert (loaded.missing, loaded.unused) == (("new",), ("head",))
    assert "not in the file, so they begin at random: new" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_names_that_keras_makes_up_count_by_their_order(tmp_path, suffix):
    """InceptionV3's layers are called so: which number is the first depends on what was made before."""

    def network():
        return keras.Sequential(
            [layers.Input((8, 8, 2)), *[layers.Conv2D(2, 1) for _ in range(12)], layers.Flatten(), layers.Dense(3)]
        )

    keras.backend.clear_session()
    first = randomized(network())
    path = tmp_path / f"first{suffix}"
    first.save_weights(path) if suffix == ".weights.h5" else first.save(path)
    second = network()
    assert second.layers[0].name != first.layers[0].name
    loaded = pretrained.load(second, path)
    assert len(loaded.layers) == 13
    for ours, theirs in zip(second.weights, first.weights, strict=True):
        assert np.array_equal(ours, theirs)


def test_the_release_of_inception_v3_counts_its_layers_from_one(tmp_path):
    keras.backend.clear_session()
    kept = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(75, 75, 3))
    randomized(kept)

    content = {
        (f"conv2d_{int(name.partition('_')[2] or 0) + 1}" if name.startswith("conv2d") else name): weights
        for name, weights in legacy_content(kept).items()
    }
    path = write_legacy(tmp_path / "inception.h5", content)
    by_us = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(75, 75, 3))
    by_keras = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(75, 75, 3))
    pretrained.load(by_us, path)
    by_keras.load_weights(path)
    for ours, theirs, original in zip(by_us.weights, by_keras.weights, kept.weights, strict=True):
        assert np.array_equal(ours, original)
        assert np.array_equal(theirs, original)


def test_a_file_of_keras_3_that_does_not_name_its_layers_is_read_by_their_order(tmp_path, trained):
    """So wrote the first versions of Keras 3."""
    path = tmp_path / "old.weights.h5"
    trained.save_weights(path)
    with h5py.File(path, "a") as file:
        file.visititems(lambda _, each: each.attrs.clear())
    path = path.rename(tmp_path / "weights")
    model = backbone()
    assert len(pretrained.load(model, path).layers) == 3
    assert_equal(values(model), values(trained))
    with pytest.raises(WeightsError, match=r"does not fit the network: .* must be of exactly this network"):
        pretrained.load(classifier(), path)


def test_layers_that_consist_of_layers_get_their_weights(tmp_path):
    def network():
        given = layers.Input((4, 6))
        return keras.Model(given, layers.MultiHeadAttention(2, 3, name="attention")(given, given))

    kept = randomized(network())
    for suffix in (".weights.h5", ".keras", ".h5"):
        path = tmp_path / f"kept{suffix}"
        kept.save_weights(path) if suffix == ".weights.h5" else kept.save(path)
        model = network()
        assert pretrained.load(model, path).layers == ("attention",)
        for ours, theirs in zip(model.weights, kept.weights, strict=True):
            assert np.array_equal(ours, theirs), suffix


def test_normalization_computes_with_the_statistics_of_the_file(tmp_path):
    def network():
        return keras.Sequential([layers.Input((2,)), layers.Normalization(name="scale")])

    kept = network()
    kept.layers[0].adapt(np.array([[1.0, 5.0], [3.0, 9.0]], np.float32))
    kept.save(tmp_path / "kept.h5")
    model = network()
    pretrained.load(model, tmp_path / "kept.h5")
    given = np.array([[1.0, 2.0]], np.float32)
    assert np.array_equal(model(given), kept(given))


def test_a_file_of_another_network_is_refused_with_the_names_of_both(tmp_path, trained):
    content = {f"conv{number}": {"kernel": np.ones((3, 3))} for number in range(6)}
    path = write_legacy(tmp_path / "other.h5", content)
    names = (
        "it has conv0, conv1, conv2, conv3 and 2 more layers, and the network has block1_conv1, block1_bn, block2_dw"
    )
    with pytest.raises(WeightsError, match=f"other.h5 has weights for none of the network's layers: {names}; give"):
        pretrained.load(trained, path)


def test_another_shape_is_refused_with_both_and_nothing_is_changed(tmp_path, trained):
    content = legacy_content(trained)
    content["block2_dw"]["bias"] = np.ones(5, np.float32)
    path = write_legacy(tmp_path / "wide.h5", content)
    model = backbone()
    before = values(model)
    shapes = "have the shapes 3×3×4×1 and 4, in the file 3×3×4×1 and 5"
    with pytest.raises(WeightsError, match=f"wide.h5 does not fit layer block2_dw: its weights {shapes}; give"):
        pretrained.load(model, path)
    assert_equal(values(model), before)
    del content["block2_dw"]["bias"]
    with pytest.raises(WeightsError, match="3×3×4×1 and 4, in the file 3×3×4×1; give"):
        pretrained.load(model, write_legacy(tmp_path / "short.h5", content))


def test_two_layers_of_one_name_in_a_file_are_refused(tmp_path):
    inner = [keras.Sequential([layers.Input((2,)), layers.Dense(2, name="same")], name=name) for name in ("a", "b")]
    whole = keras.Sequential([layers.Input((2,)), *inner])
    whole.save_weights(tmp_path / "twice.weights.h5")
    with pytest.raises(WeightsError, match="has two layers that are named same: name each layer once"):
        pretrained.load(inner[0], tmp_path / "twice.weights.h5")
    with pytest.raises(ValueError, match=r"two layers of network .* are named same"):
        pretrained.load(whole, tmp_path / "twice.weights.h5")


def zipped(**members):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)

    return write


WRONG = {
    "empty": (lambda path: path.write_bytes(b""), "it is empty; upload it again"),
    "a page": (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "it is a page of a web site"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        "it is a pointer of Git LFS, and not the file itself: fetch that with `git lfs pull`",
    ),
    "a pickle of PyTorch": (lambda path: path.write_bytes(b"\x80\x02\x8a\x0alj"), "fovea-train convert-weights"),
    "a ZIP of PyTorch": (zipped(archive__data_dot_pkl=b""), "it is a file of PyTorch: convert it"),
    "a ZIP": (zipped(notes=b""), "has no model.weights.h5 in it: Keras weights are"),
    "a picture": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), r"it begins with b'\x89PNG\r\n\x1a\n'; Keras"),
    "other HDF5": (lambda path: h5py.File(path, "w").create_dataset("x", data=[1]), "has no weights in it; Keras"),
    "a .keras of rubbish": (zipped(model_dot_weights_dot_h5=b"rubbish"), "cannot be read as Keras weights: "),
}


@pytest.mark.parametrize(("write", "said"), WRONG.values(), ids=WRONG)
def test_a_file_that_holds_no_weights_is_named_with_what_it_is(tmp_path, trained, write, said):
    path = tmp_path / "weights"
    write(path)
    with pytest.raises(WeightsError, match=re.escape(said)) as caught:
        pretrained.load(trained, path)
    assert str(path) in str(caught.value)


def test_a_compressed_file_with_bytes_that_were_changed_is_damaged(tmp_path):
    whole, path = randomized(classifier()), tmp_path / "whole.weights.h5"
    whole.save_weights(path)
    with zipfile.ZipFile(archive := tmp_path / "whole.keras", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.write(path, "model.weights.h5")
    content = archive.read_bytes()
    for place in range(100, 400, 20):
        archive.write_bytes(content[:place] + bytes(16) + content[place + 16 :])
        with pytest.raises(WeightsError, match="it may be cut off or damaged: upload it again"):
            pretrained.load(whole, archive)


def test_a_list_of_layers_that_is_none_is_damage(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = 3
    with pytest.raises(WeightsError, match="it may be cut off or damaged: upload it again"):
        pretrained.load(classifier(), path)


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_a_file_that_is_cut_off_is_damaged_wherever_it_ends(tmp_path, suffix):
    whole = randomized(classifier())
    path = tmp_path / f"whole{suffix}"
    whole.save_weights(path) if suffix == ".weights.h5" else whole.save(path)
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(WeightsError, match="it may be cut off or damaged: upload it again"):
            pretrained.load(classifier(), path)


def test_a_link_to_another_file_is_not_followed(tmp_path, trained):
    secret = write_legacy(tmp_path / "secret.h5", legacy_content(trained))
    path = write_legacy(tmp_path / "weights.h5", legacy_content(trained))
    with h5py.File(path, "a") as file:
        del file["block1_bn"]
        file["block1_bn"] = h5py.ExternalLink(str(secret), "block1_bn")
    with pytest.raises(WeightsError, match="block1_bn is a link, and no part of the file"):
        pretrained.load(trained, path)


def test_a_file_that_cannot_be_opened_is_an_error_of_the_surroundings(trained, tmp_path):
    with pytest.raises(IsADirectoryError):
        pretrained.load(trained, tmp_path)


def test_without_a_file_nothing_is_loaded(trained):
    loaded = pretrained.load(trained, None)
    assert (loaded.digest, loaded.layers, loaded.about()) == ("", (), None)


@pytest.fixture
def workspace(tmp_path):
    return Workspace.from_environment({"FOVEA_INPUT_DIR": str(tmp_path / "inputs")})


def test_weights_are_the_flag_s_else_the_input_named_so_else_none(workspace, tmp_path):
    assert workspace.weights("") is None
    (workspace.inputs / "weights").mkdir(parents=True)
    file = workspace.inputs / "weights" / "vgg16.H5"
    file.touch()
    (file.parent / "README.md").touch()
    (file.parent / ".listing.h5").touch()
    assert workspace.weights("") == file
    (tmp_path / "own").touch()
    assert workspace.weights(str(tmp_path / "own")) == tmp_path / "own"


def test_an_input_may_be_the_file_itself(workspace):
    workspace.inputs.mkdir()
    (workspace.inputs / "weights").touch()
    assert workspace.weights("") == workspace.inputs / "weights"


def test_a_folder_with_several_files_or_none_names_the_flag(workspace):
    folder = workspace.inputs / "weights"
    folder.mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"has no file of weights \(.h5, .hdf5, .keras\), but nothing: name"):
        workspace.weights("")
    for name in ("b.keras", "a.weights.h5"):
        (folder / name).touch()
    said = rf"has 2 files of weights: a.weights.h5, b.keras; name one: --weights={folder}/a.weights.h5"
    with pytest.raises(WeightsError, match=said):
        workspace.weights("")
    with pytest.raises(WeightsError, match=r"--weights=nowhere.h5: there is no such file"):
        workspace.weights("nowhere.h5")


def test_weights_are_no_training_data_where_there_is_another_input(workspace):
    for name in ("weights", "pets"):
        (workspace.inputs / name).mkdir(parents=True)
    assert workspace.data("") == workspace.inputs / "pets"


def test_a_frozen_network_gets_all_of_its_layers_from_the_file_or_none(trained, tmp_path):
    content = legacy_content(trained)
    write_legacy(tmp_path / "smaller.h5", {name: content[name] for name in ("block1_conv1", "block1_bn")})
    larger = backbone()
    before = values(larger)
    with pytest.raises(WeightsError) as refused:
        pretrained.load(larger, tmp_path / "smaller.h5", frozen=True)
    assert (
        "smaller.h5 has no weights for 1 of 3 layers that are not trained: block2_dw; give the weights of this network"
    ) in str(refused.value)
    assert_equal(values(larger), before)
    assert pretrained.load(larger, tmp_path / "smaller.h5").missing == ("block2_dw",)
