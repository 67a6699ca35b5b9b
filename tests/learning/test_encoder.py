"""The encoder: its settings, its folder, and every way in which a folder can be wrong."""

import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gossamer.errors import ConfigError, FormatError, NotFoundError, OutputExistsError, ShapeError, VersionError
from gossamer.learning import Encoder, EncoderConfig
from gossamer.learning.activations import ACTIVATIONS

MODEL_FILES = ["README.md", "config.json", "metrics.json", "model.safetensors"]


class Flat(nn.Module):
    """A backbone of the caller's, with a dropout and a weight that is tied."""

    def __init__(self, width=24):
        super().__init__()
        self.first = nn.Linear(256, width)
        self.second = nn.Linear(256, width)
        self.second.weight = self.first.weight
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = x.flatten(1)
        return self.dropout(self.first(x) + self.second(x))


@pytest.fixture
def pixels(images):
    return torch.from_numpy(images.pixels)


@pytest.fixture
def folder(tmp_path, encoder):
    encoder.save_pretrained(tmp_path / "model", metrics={"loss": 1.5})
    return tmp_path / "model"


def change_config(folder, **changes):
    settings = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in settings.items() if value != "drop"}))


def test_pixels_are_standardized_whatever_their_type(encoder, pixels):
    seen = []
    encoder.backbone.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    encoder.eval()
    assert torch.equal(encoder(pixels), encoder(pixels.float()))
    assert torch.allclose(seen[0], (pixels.float() - 120) / 80)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 8, 16), (1, 16, 16)])
def test_images_of_another_shape_are_refused(encoder, shape):
    with pytest.raises(ShapeError, match=r"images: expected shape \(b, 1, 16, 16\)"):
        encoder(torch.zeros(shape))


def test_building_leaves_a_backbone_in_its_mode():
    for is_training in (True, False):
        backbone = Flat().train(is_training)
        config = EncoderConfig(dim=8, backbone="custom", image_size=16, pixel_mean=0.0, pixel_std=1.0)
        assert Encoder(config, backbone).backbone.dropout.training is is_training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim: expected a whole number"),
        ({"dim": 8.0}, "dim: expected a whole number"),
        ({"channels": True}, "channels: expected a whole number"),
        ({"backbone": "resnet"}, "backbone: expected one of conv4, .*custom; got 'resnet'"),
        ({"activation": None}, "activation: expected one of relu, soft-threshold, .*; got None"),
        ({"activation": "top-k"}, "nnz_per_row: expected a number if and only if activation is 'top-k'; got None"),
        ({"nnz_per_row": 8}, "nnz_per_row: expected a number if and only if activation is 'top-k'; got 8"),
        ({"activation": "top-k", "nnz_per_row": 0}, "nnz_per_row: expected a whole number from 1 to dim = 4096"),
        ({"activation": "top-k", "nnz_per_row": 4097}, "nnz_per_row: expected a whole number from 1 to dim = 4096"),
        ({"theta": float("nan")}, "theta: expected a finite number"),
        ({"pixel_mean": "0"}, "pixel_mean: expected a finite number"),
        ({"pixel_std": 0.0}, "pixel_std: expected a number above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**settings)


def test_a_backbone_is_given_if_and_only_if_it_is_asked_for(config):
    with pytest.raises(ConfigError, match="got a module and 'conv4'"):
        Encoder(config, Flat())
    with pytest.raises(ConfigError, match="got none and 'custom'"):
        Encoder(dataclasses.replace(config, backbone="custom"))


def test_a_backbone_that_returns_maps_is_refused(config):
    with pytest.raises(ShapeError, match=r"backbone: expected features of shape \(b, features\); got \(1, 4, 14, 14\)"):
        Encoder(dataclasses.replace(config, backbone="custom"), nn.Conv2d(1, 4, 3))


def test_an_encoder_without_pixel_statistics_is_refused():
    with pytest.raises(ConfigError, match="pixel_mean and pixel_std: expected"):
        Encoder(EncoderConfig(dim=8))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_saved_model_encodes_the_same_bits_when_loaded(tmp_path, config, pixels, activation):
    nnz_per_row = 5 if activation == "top-k" else None
    encoder = Encoder(dataclasses.replace(config, activation=activation, nnz_per_row=nnz_per_row))
    encoder(pixels)  # moves the running statistics of the norms
    encoder.save_pretrained(tmp_path / "model")
    loaded = Encoder.from_pretrained(tmp_path / "model")
    assert not loaded.training
    assert loaded.config == encoder.config
    assert loaded.fingerprint == encoder.fingerprint
    assert torch.equal(loaded(pixels), encoder.eval()(pixels))


def test_a_folder_from_before_an_optional_setting_is_read_and_keeps_its_fingerprint(folder, encoder):
    settings = json.loads((folder / "config.json").read_text())
    assert set(settings) == {
        "format", "version", "dim", "backbone", "activation", "theta", "image_size", "channels",
        "pixel_mean", "pixel_std",
    }  # fmt: skip
    assert Encoder.from_pretrained(folder).fingerprint == encoder.fingerprint


def test_a_callers_backbone_is_saved_and_loaded(tmp_path, config, pixels):
    encoder = Encoder(dataclasses.replace(config, backbone="custom"), Flat())
    encoder.save_pretrained(tmp_path / "model")
    loaded = Encoder.from_pretrained(tmp_path / "model", backbone=Flat())
    assert torch.equal(loaded(pixels), encoder.eval()(pixels))
    with pytest.raises(ConfigError, match="got none and 'custom'"):
        Encoder.from_pretrained(tmp_path / "model")
    with pytest.raises(FormatError, match=r"expected backbone.first.weight of shape \(7, 256\).*; got \(24, 256\)"):
        Encoder.from_pretrained(tmp_path / "model", backbone=Flat(width=7))


def test_loading_draws_no_random_numbers(folder):
    before = torch.random.get_rng_state()
    Encoder.from_pretrained(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_fingerprint_tells_weights_and_settings_apart(encoder, config):
    first = encoder.fingerprint
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert encoder.fingerprint == first
    with torch.no_grad():
        encoder.head.linear.weight[3, 5] += 1e-3
    assert encoder.fingerprint != first
    other = Encoder(dataclasses.replace(config, theta=0.5))
    other.load_state_dict(encoder.state_dict())
    assert other.fingerprint != encoder.fingerprint


def test_the_folder_holds_its_files_and_the_metrics(folder):
    assert sorted(os.listdir(folder)) == MODEL_FILES
    assert json.loads((folder / "metrics.json").read_text()) == {"loss": 1.5}


def test_a_model_is_replaced_only_when_asked_and_nothing_else_ever(tmp_path, encoder, folder):
    with pytest.raises(OutputExistsError, match="overwrite"):
        encoder.save_pretrained(folder)
    encoder.save_pretrained(folder, metrics={"loss": 2.5}, overwrite=True)
    assert json.loads((folder / "metrics.json").read_text()) == {"loss": 2.5}
    (tmp_path / "pictures").mkdir()
    with pytest.raises(OutputExistsError, match="holds no config.json"):
        encoder.save_pretrained(tmp_path / "pictures", overwrite=True)


def test_a_failed_save_leaves_the_old_model(tmp_path, encoder, folder):
    with pytest.raises(ValueError, match="JSON compliant"):
        encoder.save_pretrained(folder, metrics={"loss": float("nan")}, overwrite=True)
    assert json.loads((folder / "metrics.json").read_text()) == {"loss": 1.5}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(NotFoundError, match=f"holds no {name}"):
        Encoder.from_pretrained(folder)


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="expected a folder that save_pretrained wrote"):
        Encoder.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "does not say format 'gossamer-encoder'"),
        ({"version": 0}, "expected a version of at least 1; got 0"),
        ({"version": "1"}, "expected a version of at least 1; got '1'"),
        ({"dim": "drop"}, "missing setting 'dim'"),
        ({"depth": 3}, "unknown setting 'depth'"),
        ({"dim": "64"}, "dim: expected a whole number"),
        ({"backbone": "vgg"}, "expected one of conv4"),
        ({"activation": "gelu"}, "expected one of relu"),
        ({"dim": 65}, r"expected head.thresholds of shape \(65,\)"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(FormatError, match=message):
        Encoder.from_pretrained(folder)


def test_a_newer_version_is_refused_as_such(folder):
    change_config(folder, version=2)
    with pytest.raises(VersionError, match="is of version 2, newer than 1; update gossamer"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null"])
def test_a_damaged_config_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(FormatError, match="is not JSON|does not say format"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder, length):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(FormatError, match="is truncated or damaged"):
        Encoder.from_pretrained(folder)


def test_weights_of_another_architecture_are_refused(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "tail.bias": torch.zeros(2)}, path)
    with pytest.raises(FormatError, match="has the unknown weights 'tail.bias'"):
        Encoder.from_pretrained(folder)
    bias = weights.pop("head.norm.bias")
    save_file(weights, path)
    with pytest.raises(FormatError, match="lacks weights 'head.norm.bias'"):
        Encoder.from_pretrained(folder)
    save_file({**weights, "head.norm.bias": bias.double()}, path)
    with pytest.raises(FormatError, match="expected head.norm.bias of .*float32; got .*float64"):
        Encoder.from_pretrained(folder)
