"""Early stopping: when it stops, and with which weights."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gossamer.errors import ConfigError, TrainingError
from gossamer.learning import (
    Encoder,
    EncoderConfig,
    FlopsBudget,
    SparseEmbeddingTask,
    TrainingConfig,
    train_encoder,
)
from gossamer.learning.health import examine
from gossamer.learning.training.stopping import CostLimit, EarlyStop

CONFIG = EncoderConfig(dim=8, image_size=16, pixel_mean=1.0, pixel_std=1.0)
RUN = TrainingConfig(
    steps=100, batch_size=16, validate_every=5, ramp_start=0.0, ramp_end=0.1, device="cpu", weight=5.0, budget=None,
    patience=2,
)  # fmt: skip


def run(stop, figures, *, field="hit_rate_at_1"):
    """Show validations to a stop, one after each step; return the step at which it stops, and the task."""
    task = SparseEmbeddingTask(Encoder(CONFIG), RUN, n_classes=2)
    trainer = SimpleNamespace(should_stop=False)
    for step, figure in enumerate(figures, start=1):
        task.encoder.head.thresholds.fill_(step)  # weights that say of which step they are
        task.history.append({"step": step, field: figure})
        stop.on_validation_end(trainer, task)
        if trainer.should_stop:
            return step, task
    return None, task


@pytest.mark.parametrize(
    ("rates", "patience", "first_step", "stops_at", "best"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1, 1, None, 4),
        ([0.5, 0.4, 0.6, 0.5, 0.4, 0.9], 2, 1, 5, 3),
        ([0.5, 0.5, 0.5], 2, 1, 3, 3),  # of equal ones the later
        ([0.9, 0.1, 0.2, 0.1, 0.1], 2, 2, 5, 3),  # the first is not yet counted
        ([0.9, 0.1, 0.1, 0.1], 2, 9, None, None),
    ],
)
def test_it_stops_after_validations_without_a_better_hit_rate_and_keeps_the_best(
    rates, patience, first_step, stops_at, best
):
    stop = EarlyStop(patience=patience, first_step=first_step)
    stopped, task = run(stop, rates)
    assert stopped == stops_at
    last = stopped or len(rates)
    stop.restore(task)
    assert task.encoder.head.thresholds.unique().tolist() == [best or last]
    is_back = best is not None and best < last
    assert task.history[-1].get("is_restored", False) == is_back
    assert task.history[-1]["step"] == (best if is_back else last)


def test_it_stops_when_validations_in_a_row_cost_little_enough_and_keeps_the_last_weights():
    stop = EarlyStop(patience=2, first_step=2, limit=CostLimit("flops_per_document", 1.0))
    stopped, task = run(stop, [0.1, 0.9, 1.1, 1.0, 0.8, 0.7], field="flops_per_document")
    assert stopped == 5
    stop.restore(task)
    assert task.encoder.head.thresholds.unique().tolist() == [5]


def test_its_state_goes_on():
    rates = [0.5, 0.4, 0.6, 0.5, 0.4, 0.9]
    before, after = EarlyStop(patience=2, first_step=1), EarlyStop(patience=2, first_step=1)
    _, task = run(before, rates[:4])
    after.load_state_dict(before.state_dict())
    trainer = SimpleNamespace(should_stop=False)
    task.history.append({"step": 5, "hit_rate_at_1": 0.4})
    after.on_validation_end(trainer, task)
    assert trainer.should_stop
    after.restore(task)
    assert task.history[-1] == {"step": 3, "hit_rate_at_1": 0.6, "is_restored": True}


def test_a_run_stops_after_the_ramp_and_its_encoder_is_the_best_that_was_validated(images, unseen_images):
    config = dataclasses.replace(RUN, learning_rate=0.0, class_learning_rate=0.0)
    trained = train_encoder(images, CONFIG, config, validation=unseen_images)
    # Nothing is learned but the statistics of batch norm: from step 10 on, two more validations end it soon.
    assert 20 <= trained.validations[-1]["step"] < 100
    rates = {row["step"]: row["hit_rate_at_1"] for row in trained.validations if row["step"] >= 10}
    assert trained.history[-1]["hit_rate_at_1"] == max(rates.values())
    with torch.no_grad():
        report = examine(trained.encoder(torch.from_numpy(unseen_images.pixels)), unseen_images.labels)
    assert dataclasses.asdict(report).items() <= trained.history[-1].items()


@pytest.mark.parametrize("weight", [None, 0.0])
def test_a_run_stops_when_the_images_held_out_cost_what_the_budget_wants(images, weight):
    def train(target):
        budget = FlopsBudget(flops_per_document=target)
        config = dataclasses.replace(RUN, budget=budget, stop_on="budget", weight=weight, ramp_end=0.4)
        return train_encoder(images, CONFIG, config)

    trained = train(7.9)  # of 8 dimensions: nothing is above
    looks = [
        row["step"] for row in trained.history if "held_out_flops_per_document" in row and "is_calibrated" not in row
    ]
    assert looks[-1] == [step for step in looks if step >= 40][1]
    assert trained.history[-1]["is_calibrated"]
    assert max(row["step"] for row in train(0.001).history) == 100


def test_what_patience_needs_is_asked_for(images, unseen_images):
    with pytest.raises(ConfigError, match="patience: expected validation images with it; got None"):
        train_encoder(images, CONFIG, RUN)
    with pytest.raises(ConfigError, match="stop_on: expected a sparse encoder and a budget with 'budget'; got none"):
        train_encoder(images, CONFIG, dataclasses.replace(RUN, stop_on="budget"), validation=unseen_images)
    one_each = unseen_images.take(np.unique(unseen_images.labels, return_index=True)[1])
    with pytest.raises(
        TrainingError, match="patience: expected validation images with two of a .*--validation-classes"
    ):
        train_encoder(images, CONFIG, dataclasses.replace(RUN, steps=1), validation=one_each)
    with pytest.raises(ConfigError, match="stop_on: expected one of hit-rate, budget; got 'boredom'"):
        dataclasses.replace(RUN, stop_on="boredom")
    with pytest.raises(ConfigError, match="patience: expected a whole number of at least 1; got 0"):
        dataclasses.replace(RUN, patience=0)
    with pytest.raises(ConfigError, match="precision: expected one of float32, bf16; got 'fp8'"):
        dataclasses.replace(RUN, precision="fp8")
