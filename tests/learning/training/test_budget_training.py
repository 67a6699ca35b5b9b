"""Training to a budget: end to end, in small."""

import csv
import dataclasses
import json
import logging

import lightning
import numpy as np
import pytest
import torch

from gossamer.errors import ConfigError
from gossamer.learning import (
    BudgetController,
    Encoder,
    EncoderConfig,
    FlopsBudget,
    ImageDataModule,
    SparseEmbeddingTask,
    TrainingConfig,
    encode_dense,
    measured_cost,
    train_encoder,
)
from gossamer.learning.calibration import CostSample
from gossamer.learning.training import HealthWatch, hold_out

OPEN = EncoderConfig(dim=64, image_size=16)
BUDGET = FlopsBudget(flops_per_document=1.0)
BRIEF = TrainingConfig(steps=40, batch_size=16, budget=BUDGET, device="cpu")


@pytest.mark.parametrize("budget", [FlopsBudget(flops_per_document=0.5), FlopsBudget(nnz_per_row=5.0)])
def test_images_held_out_cost_the_budget_after_training(images, budget):
    trained = train_encoder(images, OPEN, dataclasses.replace(BRIEF, budget=budget))
    held_out = images.pixels[hold_out(images.labels, seed=0).rows]
    cost = measured_cost(budget, torch.from_numpy(encode_dense(trained.encoder, held_out)))
    outcome = trained.metrics["budget"]
    assert outcome["reached"] == pytest.approx(cost)
    assert (outcome["unit"], outcome["target"], outcome["is_met"]) == (budget.unit, budget.target, True)
    assert (outcome["n_held_out"], outcome["held_out_classes"], outcome["n_back_offs"]) == (8, None, 0)
    assert trained.metrics["n_images"] == 56
    json.dumps(trained.metrics)


def test_the_weight_comes_late_and_from_the_controller(images):
    history = train_encoder(images, OPEN, BRIEF).history
    weights = {row["step"]: row["weight"] for row in history}
    assert [weights[step] for step in (4, 8)] == [0.0, 0.0]
    assert weights[9] > 0
    assert len(set(weights.values())) > 5


def test_every_look_at_images_held_out_is_in_the_history(images):
    history = train_encoder(images, OPEN, BRIEF).history
    looks = [row for row in history if "held_out_dead_dims" in row]
    assert [row["step"] for row in looks] == [*range(1, 41), 40]
    assert {"held_out_zero_rows", "held_out_suboptimality_ratio", "held_out_hottest_dims"} <= set(looks[-1])
    assert looks[-1]["is_calibrated"]


def test_a_budget_out_of_reach_is_said_in_one_sentence_and_in_the_metrics(images, caplog):
    with caplog.at_level(logging.WARNING, logger="gossamer"):
        trained = train_encoder(images, OPEN, dataclasses.replace(BRIEF, budget=FlopsBudget(flops_per_document=60.0)))
    outcome = trained.metrics["budget"]
    assert not outcome["is_met"]
    assert f"budget: 60 FLOPs per document cannot be reached; the nearest is {outcome['reached']:.3g}" in caplog.text
    assert trained.encoder.head.thresholds.eq(0).all()
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="gossamer"):
        train_encoder(images, OPEN, dataclasses.replace(BRIEF, budget=FlopsBudget(flops_per_document=1e-4)))
    assert "little more than the largest entry of each row kept" in caplog.messages[-1]


def test_microseconds_are_a_budget_too_and_their_function_is_not_in_the_metrics(images):
    timed = FlopsBudget(query_us=30.0, n_docs=1000, cost=lambda postings: 10.0 + 0.02 * postings)
    trained = train_encoder(images, OPEN, dataclasses.replace(BRIEF, budget=timed))
    assert json.loads(json.dumps(trained.metrics))["settings"]["budget"]["target"] == pytest.approx(1.0)


def test_a_weight_that_is_given_is_kept_and_the_budget_calibrated_for(images):
    trained = train_encoder(images, OPEN, dataclasses.replace(BRIEF, weight=5.0))
    assert trained.history[-1]["weight"] == 5.0
    assert trained.metrics["budget"]["is_met"]


def test_the_history_is_written_as_csv_while_training_goes_on(images, unseen_images, tmp_path):
    trained = train_encoder(images, OPEN, BRIEF, validation=unseen_images, log_dir=tmp_path / "log")
    with (tmp_path / "log" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(trained.history)
    for written, row in zip(rows, trained.history, strict=True):
        assert int(written["step"]) == row["step"]
        assert float(written["weight"]) == pytest.approx(row["weight"])
        assert float(written["held_out_dead_dims"]) == row["held_out_dead_dims"]
        for i, dim in enumerate(row["held_out_hottest_dims"], 1):
            assert float(written[f"held_out_hottest_dims_{i}"]) == dim
    assert float(rows[-1]["hit_rate_at_1"]) == pytest.approx(trained.history[-1]["hit_rate_at_1"])


def trainer_for(tmp_path, *callbacks):
    return lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_model_summary=False, limit_val_batches=0, callbacks=list(callbacks),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
def test_a_controller_without_a_watch_is_refused(images, config, tmp_path):
    task = SparseEmbeddingTask(Encoder(config), BRIEF, n_classes=8)
    with pytest.raises(ConfigError, match="callbacks: expected a HealthWatch, by which the budget finds the weight"):
        trainer_for(tmp_path).fit(task, datamodule=ImageDataModule(images, steps=40, batch_size=16))


class Stop(lightning.Callback):
    """End after a step, and keep what a checkpoint would."""

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):  # noqa: ARG002
        if batch.step == 20:
            self.weight = task.controller.weight_at(21)
            trainer.should_stop = True


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
def test_the_state_of_a_watch_goes_through_json_to_another_run(images, config, tmp_path):
    sample = CostSample(images.pixels[:16])
    watch, stop = HealthWatch(sample, every=7), Stop()
    data = ImageDataModule(images, steps=40, batch_size=16)
    trainer_for(tmp_path, watch, stop).fit(SparseEmbeddingTask(Encoder(config), BRIEF, n_classes=8), datamodule=data)
    state = json.loads(json.dumps(watch.state_dict()))
    restored, task = HealthWatch(sample, every=7), SparseEmbeddingTask(Encoder(config), BRIEF, n_classes=8)
    restored.setup(None, task, "fit")
    restored.load_state_dict(state)
    restored.on_train_start()
    assert restored.state_dict() == watch.state_dict()
    assert task.controller.weight_at(21) == stop.weight > 0


def test_gradients_of_all_zero_rows_do_not_count():
    from gossamer.learning.training.task import _gradient_norm

    embeddings = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    value = (embeddings / embeddings.norm(dim=1, keepdim=True).clamp(min=1e-12)).sum()
    assert _gradient_norm(value, embeddings) < 1
    np.testing.assert_array_equal(embeddings.detach()[1], 0)


def test_a_dense_encoder_has_no_weight_to_find(images):
    with pytest.raises(ConfigError, match="weight: expected a number for a dense encoder"):
        train_encoder(images, dataclasses.replace(OPEN, activation="none"), BRIEF)


def test_the_bar_shows_what_a_search_costs(images, capfd):
    train_encoder(images, OPEN, BRIEF, progress=True)
    assert "FLOPs" in capfd.readouterr().err


def test_a_weight_at_its_limit_is_said_once(images, caplog, monkeypatch):
    monkeypatch.setattr(BudgetController, "is_saturated", True)
    train_encoder(images, OPEN, BRIEF)
    assert len([line for line in caplog.messages if line.startswith("budget: ")]) == 1


def test_the_calibrated_row_has_no_cost_of_before(images):
    history = train_encoder(images, OPEN, BRIEF).history
    assert "held_out_core_cost" in history[-2]
    assert history[-1]["is_calibrated"]
    assert "held_out_core_cost" not in history[-1]
