"""Published networks by name: sizes and parameters as published, pictures as their weights want them."""

import inspect

import keras
import numpy as np
import pytest
from fovea_trainers.errors import FlagError
from fovea_trainers.vision import backbones

PICTURES = np.random.default_rng(1).integers(0, 256, (2, 75, 75, 3)).astype(np.float32)


def test_every_network_of_keras_has_a_name():
    known = {name for name, found in vars(keras.applications).items() if inspect.isfunction(found)}
    assert set(backbones.NAMES) >= {name.lower() for name in known}
    for family, constructor in backbones._OF_KERAS.values():
        assert callable(getattr(keras.applications, constructor)), constructor
        assert callable(getattr(keras.applications, family).preprocess_input), family


def test_vgg16_is_the_one_of_the_articles():
    """The layers of faces as well: at 224 the last ones are 7 × 7 × 512."""
    model = backbones.build("vgg16", 150).model
    assert model.count_params() == 14_714_688
    assert model.output_shape == (None, 4, 4, 512)
    parameters = {layer.name: layer.count_params() for layer in model.layers}
    assert (parameters["block1_conv1"], parameters["block5_conv3"]) == (1_792, 2_359_808)


def test_inceptionv3_gives_the_features_that_captions_are_made_from():
    model = backbones.build("inceptionv3", 299).model
    assert model.output_shape == (None, 8, 8, 2048)
    assert model.count_params() == 21_802_784


@pytest.mark.parametrize("name", ["vgg16", "mobilenetv2", "mobilenetv3small", "efficientnetv2b0"])
def test_pictures_become_what_the_weights_were_trained_with(name):
    """As `preprocess_input` of the network's module does it, on what Keras calls an image: 0..255, red first."""
    keras.utils.set_random_seed(1)
    found = backbones.build(name, 75)
    module = getattr(keras.applications, backbones._OF_KERAS[name][0])
    expected = found.model(module.preprocess_input(PICTURES.copy()), training=False)
    assert np.array_equal(found.features(PICTURES), expected)
    assert expected.shape[1:] == found.model.output_shape[1:]


def test_efficientnet_sees_pictures_as_with_the_weights_that_keras_fetches(monkeypatch):
    """Keras puts a layer into the network where it fetches them, and leaves it out for a file of the same weights."""
    keras.utils.set_random_seed(1)
    found = backbones.build("efficientnetb0", 75)
    normalization = next(layer for layer in found.model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign(np.square([0.229, 0.224, 0.225]))
    normalization.finalize_state()
    module = inspect.getmodule(keras.applications.EfficientNetB0)
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_, **__: "fetched")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, file: _copy(found.model, self))
    published = keras.applications.EfficientNetB0(weights="imagenet", include_top=False, input_shape=(75, 75, 3))
    assert len(published.layers) == len(found.model.layers) + 1
    expected = published(PICTURES, training=False).numpy()

    def difference(features):
        return np.abs(features - expected).max() / np.abs(expected).max()

    assert difference(found.features(PICTURES)) < 1e-3
    assert difference(found.model(PICTURES, training=False)) > 0.1


def test_only_the_last_layers_are_trained():
    found = backbones.build("vgg16", 32)
    assert backbones.freeze(found, but_last=0) == []
    assert found.model.trainable_variables == []
    assert backbones.freeze(found, but_last=2) == ["block5_conv2", "block5_conv3"]
    assert len(found.model.trainable_variables) == 4
    assert len(backbones.freeze(found, but_last=100)) == 13


def test_normalization_is_never_trained_in_part():
    found = backbones.build("mobilenetv2", 32)
    assert backbones.freeze(found, but_last=4) == ["block_16_project", "Conv_1"]


def test_a_frozen_network_normalizes_by_the_statistics_of_its_weights():
    found = backbones.build("mobilenetv2", 32)
    backbones.freeze(found, but_last=0)
    before = [variable.numpy() for variable in found.model.variables]
    small = PICTURES[:, :32, :32]
    assert np.abs(found.features(small, training=True)).max() < 1e-6, "by those of the batch it is about 1"
    assert all(np.array_equal(old, new) for old, new in zip(before, found.model.variables, strict=True))


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("vgg17", 150, "unknown backbone vgg17: one of convnextbase, "),
        ("inceptionv3", 74, "--image-size=74 is too small for backbone inceptionv3: it must be at least 75"),
        ("xception", 70, "it must be at least 71"),
        ("vgg16", 31, "it must be at least 32"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_sentence(name, size, words):
    with pytest.raises(FlagError) as refused:
        backbones.build(name, size)
    assert words in str(refused.value)


def _copy(source, target):
    for ours, theirs in zip(target.variables, source.variables, strict=True):
        ours.assign(theirs)
    normalization = next(layer for layer in target.layers if isinstance(layer, keras.layers.Normalization))
    normalization.finalize_state()
