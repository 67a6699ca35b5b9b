"""Calibration: even dimensions, at the cost that was asked for."""

import dataclasses

import numpy as np
import pytest
import torch

from gossamer.errors import ConfigError, DataError
from gossamer.learning import Encoder, FlopsBudget, calibrate, calibration, encode, encode_dense, measured_cost
from gossamer.learning.calibration import CostSample, fit_thresholds


def flops_budget(target):
    return FlopsBudget(flops_per_document=target)


@pytest.mark.parametrize("flops", [0.25, 1.0])
def test_every_dimension_keeps_its_largest_entries_in_an_equal_share_of_the_images(encoder, images, flops):
    whole = encode_dense(encoder, images.pixels)
    calibrate(encoder, images.pixels, budget=flops_budget(flops))
    is_largest_of_its_row = whole == whole.max(axis=1, keepdims=True)
    n_above = (whole > encoder.head.thresholds.numpy()).sum(axis=0)
    n_positive = (whole > 0).sum(axis=0)
    n_kept = n_above[n_above < n_positive]
    assert n_kept.max() - n_kept.min() <= 1
    kept = encode_dense(encoder, images.pixels) != 0
    np.testing.assert_array_equal(kept, (whole > encoder.head.thresholds.numpy()) | is_largest_of_its_row)


@pytest.mark.parametrize("budget", [flops_budget(0.25), flops_budget(1.0), FlopsBudget(nnz_per_row=6.0)])
def test_the_images_cost_what_was_asked_for(encoder, images, budget):
    cost = calibrate(encoder, images.pixels, budget=budget)
    rows = torch.from_numpy(encode_dense(encoder, images.pixels))
    assert cost == pytest.approx(measured_cost(budget, rows)) == pytest.approx(budget.target, rel=0.05)


def test_a_margin_is_left_below_the_budget(encoder, images):
    assert calibrate(encoder, images.pixels, budget=flops_budget(1.0), margin=0.2) == pytest.approx(0.8, rel=0.05)
    with pytest.raises(ConfigError, match="margin: expected at least 0 and below 1; got 1"):
        calibrate(encoder, images.pixels, budget=flops_budget(1.0), margin=1.0)


def uneven_rows(rng, n, *, n_patterns, noise):
    """Rows of some classes whose entries are small in many dimensions and large in a few of their class's."""
    labels = np.arange(n) % n_patterns
    patterns = rng.gamma(0.3, 1.0, (n_patterns, 400)).astype(np.float32)
    rows = patterns[labels] * rng.uniform(1 - noise, 1 + noise, (n, 400)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


@pytest.mark.parametrize("target", [0.25, 1.0, 4.0])
def test_a_sample_of_other_classes_costs_the_target_and_so_does_another_one(target):
    rng = np.random.default_rng(0)
    learned, _ = uneven_rows(rng, 3000, n_patterns=300, noise=0.1)
    unseen, labels = uneven_rows(rng, 3200, n_patterns=320, noise=0.5)
    in_sample = labels < 40
    budget = flops_budget(target)
    found = fit_thresholds(learned, budget, sample=unseen[in_sample], labels=labels[in_sample], n_classes=300)
    assert found.cost == pytest.approx(target, rel=0.02)
    others = unseen[~in_sample]
    kept = (others > found.thresholds) | (others == others.max(axis=1, keepdims=True))
    assert np.square(kept.mean(axis=0)).sum() == pytest.approx(target, rel=0.2)


def test_a_target_out_of_reach_gives_the_nearest(rng_rows):
    whole = measured_cost(flops_budget(1.0), torch.from_numpy(rng_rows))
    found = fit_thresholds(rng_rows, flops_budget(2 * whole), sample=rng_rows)
    assert found.cost == pytest.approx(whole)
    assert (found.thresholds == 0).all()
    least = fit_thresholds(rng_rows, flops_budget(1e-6), sample=rng_rows)
    only_largest = torch.from_numpy(rng_rows == rng_rows.max(axis=1, keepdims=True))
    assert least.cost == measured_cost(flops_budget(1.0), only_largest) > 1e-6


@pytest.fixture
def rng_rows():
    rows = np.random.default_rng(0).random((200, 30), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_calibrating_again_starts_afresh(encoder, images):
    calibrate(encoder, images.pixels, budget=flops_budget(1.0))
    first = encoder.head.thresholds.clone()
    calibrate(encoder, images.pixels, budget=flops_budget(0.25))
    assert not torch.equal(encoder.head.thresholds, first)
    calibrate(encoder, images.pixels, budget=flops_budget(1.0))
    assert torch.equal(encoder.head.thresholds, first)


def test_no_limit_drops_nothing(encoder, images):
    whole = encode(encoder, images.pixels)
    calibrate(encoder, images.pixels, budget=flops_budget(64.0))
    assert encode(encoder, images.pixels).nnz == whole.nnz


def test_many_images_are_sampled_evenly(encoder, images, monkeypatch):
    monkeypatch.setattr(calibration, "MAX_ROWS", 8)
    calibrate(encoder, images.pixels, budget=flops_budget(16.0))
    sampled = encoder.head.thresholds.clone()
    calibrate(encoder, images.pixels[::9], budget=flops_budget(16.0))
    assert torch.equal(encoder.head.thresholds, sampled)


def test_what_cannot_be_calibrated_is_refused(encoder, config, images):
    with pytest.raises(ConfigError, match="encoder: expected a sparse one"):
        calibrate(Encoder(dataclasses.replace(config, activation="none")), images.pixels, budget=flops_budget(1.0))
    with pytest.raises(DataError, match="pixels: expected at least one image"):
        calibrate(encoder, images.pixels[:0], budget=flops_budget(1.0))
    with pytest.raises(ConfigError, match="budget: expected at most dim = 64 FLOPs per document; got 65"):
        calibrate(encoder, images.pixels, budget=flops_budget(65.0))
    with pytest.raises(DataError, match="embeddings: expected at least two rows; got 1"):
        calibrate(encoder, images.pixels, budget=flops_budget(1.0), sample=CostSample(images.pixels[:1]))


def test_no_threshold_makes_a_row_all_zero(encoder, images):
    whole = encode_dense(encoder, images.pixels)
    encoder.head.thresholds.fill_(2.0)  # above any entry of a unit row
    rows = encode_dense(encoder, images.pixels)
    np.testing.assert_array_equal(np.count_nonzero(rows, axis=1), (whole != 0).any(axis=1))
    np.testing.assert_array_equal(rows.argmax(axis=1), whole.argmax(axis=1))


def test_a_calibration_that_fails_leaves_the_thresholds_as_they_were(encoder, images):
    encoder.head.thresholds.fill_(0.25)
    with pytest.raises(DataError, match="at least two rows"):
        calibrate(encoder, images.pixels[:1], budget=flops_budget(1.0))
    assert encoder.head.thresholds.unique().tolist() == [0.25]


@pytest.mark.parametrize(("n", "most", "expected"), [(0, 3, []), (2, 3, [0, 1]), (9, 3, [0, 4, 8])])
def test_rows_are_spaced_evenly_from_the_first_to_the_last(n, most, expected):
    assert calibration.spaced(np.arange(n), most=most).tolist() == expected
