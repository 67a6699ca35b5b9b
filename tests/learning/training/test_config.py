"""The settings of training: their courses over the steps and their ranges."""

import dataclasses
import math

import numpy as np
import pytest

from gossamer import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer.errors import ConfigError
from gossamer.learning import TrainingConfig, train_encoder
from gossamer.learning.training import PRESETS, find_preset


def test_the_weight_grows_between_two_shares_of_the_steps():
    schedule = TrainingConfig(steps=100, weight=8.0, ramp_start=0.2, ramp_end=0.6).schedule()
    assert [schedule.at(step) for step in (0, 20, 40, 60, 99)] == pytest.approx([0, 0, 2, 8, 8])


def test_a_ramp_without_length_is_a_step():
    schedule = TrainingConfig(steps=100, weight=8.0, ramp_start=0.5, ramp_end=0.5).schedule()
    assert [schedule.at(step) for step in (50, 51)] == [0, 8]


def test_the_learning_rate_rises_over_a_tenth_and_falls_to_almost_nothing():
    config = TrainingConfig(steps=100)
    shares = [config.learning_rate_share(step) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert shares[55] == pytest.approx(0.5)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[99] < 1e-3
    assert TrainingConfig(steps=1).learning_rate_share(0) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number of at least 1; got 0"),
        ({"steps": 1.5}, "steps: expected a whole number"),
        ({"batch_size": 1}, "batch_size: expected a whole number of at least 2"),
        ({"validate_every": 0}, "validate_every: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"learning_rate": math.nan}, "learning_rate: expected a finite number"),
        ({"weight_decay": -1.0}, "weight_decay: expected"),
        ({"regularizer": "l2"}, "regularizer: expected one of flops, unbiased-flops, corpus-flops, l1, none; got 'l2'"),
        ({"rows_per_class": 0}, "rows_per_class: expected a whole number of at least 1; got 0"),
        ({"ramp_start": 0.8}, "ramp: expected 0 <= ramp_start <= ramp_end <= 1"),
        ({"budget": None}, "weight: expected a number where there is no budget to find it by; got None"),
        ({"weight": math.inf}, "weight: expected a finite number"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**settings)


def test_the_weight_is_found_by_the_budget_unless_one_is_given():
    assert TrainingConfig().is_controlled
    assert TrainingConfig().budget.flops_per_document == 1.0
    assert not TrainingConfig(weight=40.0).is_controlled
    assert not TrainingConfig(regularizer="none", budget=None).is_controlled


def test_batches_are_drawn_by_class_where_the_loss_compares_rows_or_it_is_asked_for():
    assert TrainingConfig().drawn_per_class is None
    assert TrainingConfig(loss="n-pairs").drawn_per_class == 2
    assert TrainingConfig(loss="n-pairs", rows_per_class=4).drawn_per_class == 4
    assert TrainingConfig(rows_per_class=4).drawn_per_class == 4
    assert TrainingConfig(loss="custom").drawn_per_class is None


def test_the_presets_hold_the_papers_settings():
    face, cifar = find_preset("paper-face"), find_preset("paper-cifar")
    assert (face.encoder.dim, face.training.loss, face.training.scale, face.training.margin) == (
        1024,
        "arcface",
        64,
        0.5,
    )
    assert (face.encoder.backbone, face.encoder.activation) == ("mobilefacenet", "relu")
    assert (cifar.encoder.dim, cifar.training.loss, cifar.training.margin) == (64, "semi-hard-triplet", 0.1)
    assert (cifar.encoder.backbone, cifar.encoder.activation, cifar.encoder.theta) == (
        "network-in-network", "soft-threshold", 0.1,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="preset: expected one of paper-face, paper-cifar; got 'paper'"):
        find_preset("paper")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built_and_trained(name):
    preset = PRESETS[name]
    pixels = np.random.default_rng(0).integers(0, 256, (12, 3, *[preset.encoder.image_size] * 2)).astype(np.uint8)
    images = LabeledImages(pixels=pixels, catalog=Catalog(n=12, labels=np.repeat(list("abc"), 4)))
    rows_per_class = None if preset.training.rows_per_class is None else 4
    training = dataclasses.replace(preset.training, steps=1, batch_size=8, rows_per_class=rows_per_class, device="cpu")
    assert len(train_encoder(images, preset.encoder, training).history) == 1
