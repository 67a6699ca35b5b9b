"""Calibration: even dimensions, at the cost that was asked for."""

import dataclasses

import numpy as np
import pytest
import torch

from gossamer.errors import ConfigError, DataError
from gossamer.learning import Encoder, calibrate, calibration, encode, encode_dense
from gossamer.metrics import flops_per_document


@pytest.mark.parametrize("flops", [0.25, 1.0, 4.0])
def test_every_dimension_keeps_its_largest_entries_in_an_equal_share_of_the_images(encoder, images, flops):
    whole = encode_dense(encoder, images.pixels)
    calibrate(encoder, images.pixels, flops_per_document=flops)
    n_kept = round(np.sqrt(flops / 64) * len(images))
    is_among_the_largest = whole > np.sort(whole, axis=0)[-n_kept - 1]
    is_largest_of_its_row = whole == whole.max(axis=1, keepdims=True)
    kept = encode_dense(encoder, images.pixels) != 0
    np.testing.assert_array_equal(kept, (whole > 0) & (is_among_the_largest | is_largest_of_its_row))


def test_the_cost_on_these_images_is_about_what_was_asked_for(encoder, images):
    calibrate(encoder, images.pixels, flops_per_document=1.0)
    rows = encode(encoder, images.pixels)
    assert 0.7 < flops_per_document(rows, rows) < 1.3


def test_calibrating_again_starts_afresh(encoder, images):
    calibrate(encoder, images.pixels, flops_per_document=1.0)
    first = encoder.head.thresholds.clone()
    calibrate(encoder, images.pixels, flops_per_document=0.25)
    assert not torch.equal(encoder.head.thresholds, first)
    calibrate(encoder, images.pixels, flops_per_document=1.0)
    assert torch.equal(encoder.head.thresholds, first)


def test_no_limit_drops_nothing(encoder, images):
    whole = encode(encoder, images.pixels)
    calibrate(encoder, images.pixels, flops_per_document=64.0)
    assert encode(encoder, images.pixels).nnz == whole.nnz


def test_many_images_are_sampled_evenly(encoder, images, monkeypatch):
    monkeypatch.setattr(calibration, "MAX_ROWS", 8)
    calibrate(encoder, images.pixels, flops_per_document=16.0)
    sampled = encoder.head.thresholds.clone()
    calibrate(encoder, images.pixels[::9], flops_per_document=16.0)
    assert torch.equal(encoder.head.thresholds, sampled)


def test_what_cannot_be_calibrated_is_refused(encoder, config, images):
    with pytest.raises(ConfigError, match="encoder: expected a sparse one"):
        calibrate(Encoder(dataclasses.replace(config, activation="none")), images.pixels, flops_per_document=1.0)
    with pytest.raises(DataError, match="pixels: expected at least one image"):
        calibrate(encoder, images.pixels[:0], flops_per_document=1.0)
    for flops in (0.0, 65.0, float("nan")):
        with pytest.raises(ConfigError, match="flops_per_document: expected above 0 and at most dim = 64"):
            calibrate(encoder, images.pixels, flops_per_document=flops)


def test_no_threshold_makes_a_row_all_zero(encoder, images):
    whole = encode_dense(encoder, images.pixels)
    encoder.head.thresholds.fill_(2.0)  # above any entry of a unit row
    rows = encode_dense(encoder, images.pixels)
    np.testing.assert_array_equal(np.count_nonzero(rows, axis=1), (whole != 0).any(axis=1))
    np.testing.assert_array_equal(rows.argmax(axis=1), whole.argmax(axis=1))
