"""Augmentation: each of its amounts alone, against what it must do to coordinates."""

import math

import pytest
import torch

from gossamer.errors import ConfigError
from gossamer.learning.training import AffineAugmentation

NOTHING = {"rotation": 0.0, "scaling": 0.0, "shearing": 0.0, "translation": 0.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramps(n, size=33):
    """Images whose two channels are the x and y coordinates of their pixels, from −1 to 1."""
    places = (torch.arange(size) * 2 + 1) / size - 1
    return torch.stack([places.expand(size, size), places[:, None].expand(size, size)]).expand(n, 2, size, size)


def source_of(result, x, y, size=33):
    """Where in the image the pixel nearest to (x, y) of each result comes from."""
    column, row = (round(((place + 1) * size - 1) / 2) for place in (x, y))
    return result[:, :, row, column]


def test_no_amounts_change_nothing():
    images = torch.rand(3, 1, 16, 16, generator=generator())
    assert torch.allclose(AffineAugmentation(**NOTHING)(images, generator()), images, atol=1e-5)


def test_images_are_moved_by_up_to_the_translation_and_differently():
    moved = AffineAugmentation(**{**NOTHING, "translation": 0.2})(ramps(200), generator())
    shifts = source_of(moved, 0, 0)
    assert shifts.abs().max() == pytest.approx(0.2, abs=0.01)
    assert shifts.unique(dim=0).shape[0] == 200


def test_rotation_keeps_distances_to_the_center():
    result = AffineAugmentation(**{**NOTHING, "rotation": 30.0})(ramps(200), generator())
    at = source_of(result, 0.5, 0)
    assert torch.allclose(at.norm(dim=1), torch.full((200,), at[0].norm()), atol=1e-3)
    quarter = source_of(result, 0, 0.5)
    assert torch.allclose(quarter, torch.stack([-at[:, 1], at[:, 0]], dim=1), atol=1e-3)
    angles = torch.atan2(at[:, 1], at[:, 0]).rad2deg()
    assert angles.min() == pytest.approx(-30, abs=1)
    assert angles.max() == pytest.approx(30, abs=1)


def test_scaling_is_drawn_for_width_and_height():
    result = AffineAugmentation(**{**NOTHING, "scaling": 0.2})(ramps(200), generator())
    at = source_of(result, 0.48, 0.48)
    factors = at / at.mean(dim=0)
    assert at.min() == pytest.approx(0.48 * math.exp(-0.2), abs=0.02)
    assert at.max() == pytest.approx(0.48 * math.exp(0.2), abs=0.02)
    assert abs(torch.corrcoef(factors.T)[0, 1]) < 0.3


def test_shearing_moves_rows_sideways():
    result = AffineAugmentation(**{**NOTHING, "shearing": 0.3})(ramps(200), generator())
    at = source_of(result, 0, 0.48)
    assert at[:, 0].abs().max() == pytest.approx(0.3 * 0.48, abs=0.01)
    assert torch.allclose(at[:, 1], at[0, 1].expand(200), atol=1e-5)


def test_what_comes_from_outside_has_the_border_color():
    white = torch.full((8, 1, 16, 16), 255.0)
    assert torch.allclose(AffineAugmentation(translation=0.9)(white, generator()), white)


def test_the_generator_alone_decides():
    images = torch.rand(4, 1, 16, 16, generator=generator())
    augment = AffineAugmentation()
    assert torch.equal(augment(images, generator(3)), augment(images, generator(3)))
    assert not torch.equal(augment(images, generator(3)), augment(images, generator(4)))


@pytest.mark.parametrize("amount", [-1.0, math.nan, math.inf])
def test_amounts_out_of_range_are_refused(amount):
    with pytest.raises(ConfigError, match="rotation: expected a finite number of at least 0"):
        AffineAugmentation(rotation=amount)
