"""Frozen features, of a stand-in with the interface of transformers' vision models."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gossamer.errors import MissingDependencyError, ShapeError
from gossamer.learning import Encoder, EncoderConfig, TrainingConfig, encode, train_encoder
from gossamer.learning.backbones.frozen_vision import HALF_RANGE, FrozenVision

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
CONFIG = EncoderConfig(
    dim=32, backbone="custom", image_size=16, pixel_mean=HALF_RANGE, pixel_std=HALF_RANGE
)  # fmt: skip


class Vision(nn.Module):
    """Patches as tokens; with or without a pooler."""

    def __init__(self, *, has_pooler=True):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 6, 8, 8), nn.BatchNorm2d(6)
        self.dropout, self.has_pooler = nn.Dropout(0.5), has_pooler

    def forward(self, *, pixel_values):
        self.seen = pixel_values
        tokens = self.dropout(self.norm(self.patches(pixel_values)))
        states = tokens.flatten(2).transpose(1, 2)
        # As ResNets of transformers do, with two more axes.
        pooled = states.amax(dim=1)[:, :, None, None] if self.has_pooler else None
        return SimpleNamespace(last_hidden_state=states, pooler_output=pooled)


def frozen(**options):
    return FrozenVision(Vision(**options), image_mean=MEAN, image_std=STD)


def test_pixels_reach_the_model_as_it_expects_them():
    backbone = frozen()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    config = EncoderConfig(
        dim=8, backbone="custom", image_size=16, channels=3, pixel_mean=HALF_RANGE, pixel_std=HALF_RANGE
    )
    Encoder(config, backbone)(pixels)
    expected = (pixels.numpy() / 255 - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))
    np.testing.assert_allclose(backbone.model.seen.numpy(), expected, atol=1e-5)


def test_features_are_the_pooled_ones_or_the_mean_of_the_tokens_and_grey_images_are_taken():
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    for has_pooler in (True, False):
        backbone = frozen(has_pooler=has_pooler)
        output = backbone.model(
            pixel_values=(x.repeat(1, 3, 1, 1) / 2 + 0.5 - backbone.image_mean) / backbone.image_std
        )
        states = output.last_hidden_state
        expected = states.amax(dim=1) if has_pooler else states.mean(dim=1)
        assert torch.allclose(backbone(x), expected, atol=1e-5)


def test_training_changes_the_head_alone(images, tmp_path):
    backbone = frozen()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    config = TrainingConfig(steps=8, batch_size=16, device="cpu", weight=5.0, budget=None)
    trained = train_encoder(images, CONFIG, config, backbone=backbone)
    for name, value in trained.encoder.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not trained.encoder.backbone.model.patches.weight.requires_grad
    trained.encoder.save_pretrained(tmp_path / "model")
    loaded = Encoder.from_pretrained(tmp_path / "model", backbone=frozen())
    np.testing.assert_array_equal(
        encode(loaded, images.pixels).to_dense(), encode(trained.encoder, images.pixels).to_dense()
    )


def test_a_model_of_the_hub_comes_with_its_statistics(monkeypatch):
    asked = []

    def model(name, **options):
        asked.append((name, options))
        return SimpleNamespace(vision_model=Vision())

    stand_in = SimpleNamespace(
        AutoModel=SimpleNamespace(from_pretrained=model),
        AutoImageProcessor=SimpleNamespace(
            from_pretrained=lambda *_, **__: SimpleNamespace(image_mean=MEAN, image_std=STD)
        ),
    )
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    backbone = FrozenVision.from_pretrained("some/model", revision="abc")
    assert asked == [("some/model", {"revision": "abc", "use_safetensors": True})]
    assert backbone.image_std.flatten().tolist() == pytest.approx(STD)
    assert backbone(torch.zeros(1, 3, 16, 16)).shape == (1, 6)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"transformers, .*: pip install 'gossamer\[vision\]'"):
        FrozenVision.from_pretrained("some/model")
    with pytest.raises(ShapeError, match="image_mean and image_std: expected three; got 1 and 3"):
        FrozenVision(Vision(), image_mean=[0.5], image_std=STD)
