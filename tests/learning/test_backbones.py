"""Backbones: shapes, and numbers of parameters worked out by hand."""

import pytest
import torch

from gossamer.learning.backbones import BACKBONES


@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 32), (1, 8), (3, 50)])
def test_conv4_maps_images_of_any_size_to_1024_features(channels, size):
    assert BACKBONES["conv4"](channels)(torch.zeros(2, channels, size, size)).shape == (2, 1024)


def test_conv4_has_the_parameters_of_its_convolutions_and_norms():
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256)
    norms = 2 * (32 + 64 + 128 + 256)
    backbone = BACKBONES["conv4"](1)
    assert sum(weights.numel() for weights in backbone.parameters()) == convolutions + norms
