"""Training runs: what they learn, that they repeat, what they leave behind, and how they fail."""

import dataclasses
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys

import lightning
import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import nn

from gossamer.errors import ConfigError, ShapeError, TrainingError
from gossamer.learning import (
    Encoder,
    EncoderConfig,
    FlopsBudget,
    ImageDataModule,
    SparseEmbeddingTask,
    TrainingConfig,
    encode,
    encode_dense,
    train_encoder,
)
from gossamer.learning.health import examine
from gossamer.learning.objectives import OBJECTIVES
from gossamer.learning.regularizers import make_regularizer
from gossamer.learning.training import task as task_module

OPEN = EncoderConfig(dim=64, image_size=16)  # its pixel statistics are to be measured
BRIEF = TrainingConfig(steps=3, batch_size=16, budget=None, weight=40.0, device="cpu")


BUDGET = FlopsBudget(flops_per_document=1.0)


class Flat(nn.Module):
    """A backbone of the caller's, random in training, that can be made to fail."""

    def __init__(self, error=None):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # not what the tests before have left
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.Dropout(0.3))
        self.error, self.n_batches = error, 0

    def forward(self, x):
        self.n_batches += self.training
        if self.n_batches == 2 and self.error is not None:
            if isinstance(self.error, BaseException):
                raise self.error
            return self.layers(x) * self.error
        return self.layers(x)


CUSTOM = dataclasses.replace(OPEN, backbone="custom")


def test_training_lowers_the_loss(images):
    history = train_encoder(images, OPEN, dataclasses.replace(BRIEF, steps=40, weight=0.0)).history
    assert history[-1]["loss"] < history[0]["loss"] / 2


@pytest.mark.parametrize("name", ["flops", "unbiased-flops", "corpus-flops", "l1"])
def test_the_regularizer_is_lowered_where_it_weighs(images_of_many_classes, name):
    images = images_of_many_classes  # few classes set a floor
    penalties = []
    for weight in (0.0, 1000.0):
        config = dataclasses.replace(BRIEF, steps=30, regularizer=name, weight=weight, ramp_start=0.0, ramp_end=0.5)
        encoder = train_encoder(images, CUSTOM, config, backbone=Flat()).encoder
        rows = torch.from_numpy(encode_dense(encoder, images.pixels))
        penalties.append(make_regularizer(name, dim=rows.shape[1])(rows).item())
    assert penalties[1] < 0.95 * penalties[0]


@pytest.mark.parametrize("encoder_config", [OPEN, CUSTOM])
def test_one_seed_gives_the_same_weights_bit_for_bit(images, encoder_config):
    def train(seed):
        torch.manual_seed(7)
        backbone = Flat() if encoder_config is CUSTOM else None
        torch.manual_seed(random.getrandbits(32))  # the caller's generator is no part of the run
        config = dataclasses.replace(BRIEF, seed=seed)
        return train_encoder(images, encoder_config, config, backbone=backbone).encoder.fingerprint

    assert train(0) == train(0)
    assert train(0) != train(1)


def test_every_step_is_taken_and_every_tenth_is_in_the_history(images):
    backbone = Flat()
    trained = train_encoder(images, CUSTOM, dataclasses.replace(BRIEF, steps=23), backbone=backbone)
    assert backbone.n_batches == 23
    assert [row["step"] for row in trained.history] == [10, 20, 23]
    assert set(trained.history[0]) == {"step", "loss", "penalty", "weight"}
    schedule = dataclasses.replace(BRIEF, steps=23).schedule()
    assert [row["weight"] for row in trained.history] == [schedule.at(step - 1) for step in (10, 20, 23)]


@pytest.mark.parametrize(
    ("steps", "every", "validated"), [(8, 4, [4, 8]), (9, 4, [4, 8, 9]), (3, 100, [3]), (20, 10, [10, 20])]
)
def test_validation_comes_at_its_steps_and_at_the_end(images, unseen_images, steps, every, validated):
    config = dataclasses.replace(BRIEF, steps=steps, validate_every=every)
    trained = train_encoder(images, OPEN, config, validation=unseen_images)
    assert [row["step"] for row in trained.history if "hit_rate_at_1" in row] == validated
    assert len({row["step"] for row in trained.history}) == len(trained.history)
    pixels = torch.from_numpy(unseen_images.pixels)
    with torch.no_grad():
        report = dataclasses.asdict(examine(trained.encoder(pixels), unseen_images.labels))
    assert {name: trained.history[-1][name] for name in report} == report


def test_the_validation_changes_no_weight(images, unseen_images):
    config = dataclasses.replace(BRIEF, validate_every=1)
    without = train_encoder(images, OPEN, config).encoder.fingerprint
    assert train_encoder(images, OPEN, config, validation=unseen_images).encoder.fingerprint == without


def test_a_sparse_encoder_is_calibrated_after_the_last_step_and_validated_so(images, unseen_images):
    config = dataclasses.replace(BRIEF, steps=40, validate_every=20, weight=0.0, budget=BUDGET)
    trained = train_encoder(images, OPEN, config, validation=unseen_images)
    before, after = trained.history[-2:]
    assert (before["step"], after["step"], after["is_calibrated"]) == (40, 40, True)
    assert after["flops_per_document"] < 0.5 * before["flops_per_document"]
    assert after["held_out_flops_per_document"] == pytest.approx(1.0, rel=0.1)


def test_a_dense_encoder_is_not_calibrated(images):
    config = dataclasses.replace(BRIEF, budget=BUDGET)
    trained = train_encoder(images, dataclasses.replace(OPEN, activation="none"), config)
    assert trained.encoder.head.thresholds.eq(0).all()
    assert trained.metrics["budget"] is None
    assert trained.metrics["n_images"] == len(images)  # none is held out


def test_pixel_statistics_are_measured_where_they_are_not_given(images):
    measured = train_encoder(images, OPEN, BRIEF).encoder.config
    assert measured.pixel_mean == pytest.approx(images.pixels.mean())
    assert measured.pixel_std == pytest.approx(images.pixels.std())
    given = train_encoder(images, dataclasses.replace(OPEN, pixel_mean=1.0), BRIEF).encoder.config
    assert given == dataclasses.replace(measured, pixel_mean=1.0)


def test_a_callers_backbone_is_trained_saved_and_loaded(images, tmp_path):
    trained = train_encoder(images, CUSTOM, BRIEF, backbone=Flat())
    trained.encoder.save_pretrained(tmp_path / "model", metrics=trained.metrics)
    loaded = Encoder.from_pretrained(tmp_path / "model", backbone=Flat())
    np.testing.assert_array_equal(
        encode(loaded, images.pixels).to_dense(), encode(trained.encoder, images.pixels).to_dense()
    )
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert (metrics["n_images"], metrics["n_classes"], metrics["settings"]["steps"]) == (64, 8, 3)
    assert metrics["last"] == trained.history[-1]


def test_a_trained_conv_net_encodes_the_same_bits_when_loaded(images, tmp_path):
    encoder = train_encoder(images, OPEN, BRIEF).encoder
    encoder.save_pretrained(tmp_path / "model")
    loaded = Encoder.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(encode(loaded, images.pixels).to_dense(), encode(encoder, images.pixels).to_dense())


@pytest.mark.parametrize("regularizer", ["unbiased-flops", "l1", "none"])
@pytest.mark.parametrize("activation", ["soft-threshold", "none"])
def test_other_regularizers_and_activations_train(images, regularizer, activation):
    config = dataclasses.replace(BRIEF, regularizer=regularizer, loss="cosface", augmentation=None)
    trained = train_encoder(images, dataclasses.replace(OPEN, activation=activation), config)
    assert (trained.history[-1]["penalty"] == 0) == (regularizer == "none")
    assert trained.encoder.is_sparse == (activation != "none")


def separation(encoder, images):
    """By how much rows of one class score more than others, on average."""
    rows = encode_dense(encoder, images.pixels)
    scores, is_same = rows @ rows.T, images.labels[:, None] == images.labels
    return scores[is_same].mean() - scores[~is_same].mean()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_loss_pulls_classes_apart(images_of_many_classes, name):
    images = images_of_many_classes
    config = dataclasses.replace(BRIEF, loss=name, regularizer="none", augmentation=None)
    first, last = (train_encoder(images, OPEN, dataclasses.replace(config, steps=steps)).encoder for steps in (1, 40))
    assert separation(last, images) > 1.1 * separation(first, images)


def test_a_loss_of_the_callers_trains_the_encoder_and_itself(images):
    config = dataclasses.replace(BRIEF, loss="custom", steps=60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(64, 8)
    before = layer.weight.detach().clone()

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, embeddings, targets):
            return nn.functional.cross_entropy(self.layer(embeddings), targets)

    history = train_encoder(images, OPEN, config, objective=Classifier()).history
    assert history[-1]["loss"] < history[0]["loss"]
    assert not torch.equal(layer.weight, before)
    assert train_encoder(images, OPEN, config, objective=lambda rows, targets: (rows[:, 0] * targets).sum()).history


def test_a_loss_of_the_callers_may_have_a_miner_and_the_batches_it_needs(images):
    loss, miner, mined = TripletMarginLoss(margin=0.2), BatchHardMiner(), []

    def hardest(rows, targets):
        mined.append((miner(rows, targets), targets))
        return loss(rows, targets, mined[-1][0])

    config = dataclasses.replace(BRIEF, loss="custom", rows_per_class=4, steps=3)
    train_encoder(images, OPEN, config, objective=hardest)
    for (anchors, positives, negatives), targets in mined:
        assert np.unique(targets, return_counts=True)[1].tolist() == [4] * 4
        assert len(anchors) == 16
        assert (targets[anchors] == targets[positives]).all()
        assert (targets[anchors] != targets[negatives]).all()


def test_a_loss_is_given_if_and_only_if_it_is_asked_for(images):
    with pytest.raises(ConfigError, match="objective: expected a loss if and only if .*; got one and 'arcface'"):
        train_encoder(images, OPEN, BRIEF, objective=lambda rows, targets: rows.sum() + targets.sum())
    with pytest.raises(ConfigError, match="objective: .*; got none and 'custom'"):
        train_encoder(images, OPEN, dataclasses.replace(BRIEF, loss="custom"))


class Recorder(nn.Module):
    """A regularizer that keeps the labels it is given."""

    def forward(self, embeddings, labels):
        self.labels = labels
        return embeddings.sum() * 0


@pytest.mark.parametrize(
    ("settings", "knows"), [({}, False), ({"loss": "n-pairs"}, True), ({"rows_per_class": 4}, True)]
)
def test_the_regularizer_is_told_the_classes_where_batches_are_drawn_by_class(images, config, settings, knows):
    training = dataclasses.replace(BRIEF, **settings)
    data = ImageDataModule(images, steps=3, batch_size=16, rows_per_class=training.drawn_per_class)
    task = SparseEmbeddingTask(Encoder(config), training, n_classes=8)
    task.regularizer = Recorder()
    batch = data.train_dataloader().dataset[0]
    task.training_step(batch)
    assert torch.equal(task.regularizer.labels, batch.targets) if knows else task.regularizer.labels is None


def test_unbiased_flops_of_batches_drawn_by_class_weigh_them_by_their_shares(images, monkeypatch):
    built = []
    monkeypatch.setattr(
        task_module,
        "make_regularizer",
        lambda name, **settings: built.append(settings) or make_regularizer(name, **settings),
    )
    fewer = images.take(np.arange(4, 64))  # four images of the first class, eight of the others
    for rows_per_class in (2, 1, None):
        train_encoder(
            fewer,
            OPEN,
            dataclasses.replace(BRIEF, regularizer="unbiased-flops", rows_per_class=rows_per_class, batch_size=8),
        )
    assert built[0]["class_shares"].tolist() == pytest.approx([4 / 60] + [8 / 60] * 7)
    assert built[1]["class_shares"] is built[2]["class_shares"] is None


def test_a_class_of_one_image_is_fine(images):
    assert len(train_encoder(images.take(np.arange(9)), OPEN, BRIEF).history) == 1


def test_a_run_leaves_no_trace_in_the_process(images):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 (the process's generator is what is watched)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    settings = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    levels = [logging.getLogger(f"lightning.{name}").level for name in ("pytorch", "fabric")]
    train_encoder(images, OPEN, BRIEF, validation=images)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # noqa: NPY002
    assert settings == (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
    )
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [logging.getLogger(f"lightning.{name}").level for name in ("pytorch", "fabric")] == levels


def test_the_progress_bar_shows_steps_time_left_and_figures_on_stderr(images, unseen_images, capfd):
    config = dataclasses.replace(BRIEF, steps=12, validate_every=6)
    trained = train_encoder(images, OPEN, config, validation=unseen_images, progress=True, description="sparse")
    out, err = capfd.readouterr()
    assert out == ""
    bar = " ".join(err.split())
    row = trained.history[-1]
    assert re.search(r"sparse .* 12/12 \d:\d\d:\d\d loss", bar)
    assert f"loss {row['loss']:.2f} λ {row['weight']:.3g} hit rate " in bar


def test_mixed_precision_trains_about_the_same_with_losses_in_float32(images):
    dtypes = []

    def loss(embeddings, targets):
        dtypes.append((embeddings @ embeddings.T).dtype)
        return nn.functional.cross_entropy(32 * embeddings[:, :8], targets)

    config = dataclasses.replace(BRIEF, steps=40, loss="custom", weight=0.0)
    full = train_encoder(images, OPEN, config, objective=loss)
    mixed = train_encoder(images, OPEN, dataclasses.replace(config, precision="bf16"), objective=loss)
    assert set(dtypes) == {torch.float32}
    assert {weights.dtype for weights in mixed.encoder.parameters()} == {torch.float32}
    assert mixed.encoder.fingerprint != full.encoder.fingerprint
    losses = [trained.history[-1]["loss"] for trained in (full, mixed)]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] < 0.8 * mixed.history[0]["loss"]


@pytest.mark.parametrize(
    ("config", "backbone", "message"),
    [
        (BRIEF, Flat(error=float("nan")), "step 2 of 3.*the encoder's outputs are not finite.*lower the learning rate"),
        (dataclasses.replace(BRIEF, weight=1e308, ramp_start=0.0, ramp_end=0.4), Flat(), "step 2 of 3.*the penalty"),
    ],
)
def test_a_loss_that_is_not_finite_stops_training_with_step_and_cause(images, config, backbone, message):
    with pytest.raises(TrainingError, match=message):
        train_encoder(images, CUSTOM, config, backbone=backbone)


def test_a_diverged_loss_is_told_from_a_diverged_encoder(images, config):
    task = SparseEmbeddingTask(Encoder(config), BRIEF, n_classes=8)
    task.objective.W.data.fill_(float("nan"))
    batch = ImageDataModule(images, steps=3, batch_size=16).train_dataloader().dataset[0]
    with pytest.raises(TrainingError, match="step 1 of 3.*the arcface loss itself is nan"):
        task.training_step(batch)


def test_a_backbone_that_is_broken_from_the_start_is_told_from_one_that_diverged(images):
    backbone = Flat()
    backbone.layers[1].weight.data[0, 0] = float("inf")
    with pytest.raises(TrainingError, match="step 1 of 3.*before anything is learned: check the backbone's weights"):
        train_encoder(images, CUSTOM, BRIEF, backbone=backbone)


def test_ctrl_c_stops_training_and_works_again_after(images):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_encoder(images, CUSTOM, BRIEF, backbone=Flat(error=KeyboardInterrupt()))
    assert signal.getsignal(signal.SIGINT) is handler


def test_embeddings_that_are_not_finite_do_not_reach_a_loss_of_the_callers(images):
    def loss(embeddings, targets):  # noqa: ARG001
        if not torch.isfinite(embeddings).all():
            raise ValueError("never seen such numbers")
        return embeddings.square().mean()

    with pytest.raises(TrainingError, match="step 2 of 3.*the encoder's outputs are not finite"):
        train_encoder(
            images, CUSTOM, dataclasses.replace(BRIEF, loss="custom"), backbone=Flat(error=float("nan")), objective=loss
        )


@pytest.mark.parametrize("budget", [None, FlopsBudget(flops_per_document=1.0)])
def test_no_images_are_refused_in_a_sentence(images, budget):
    with pytest.raises(TrainingError, match="images: expected at least two classes to tell apart; got"):
        train_encoder(images.take(np.arange(0)), OPEN, dataclasses.replace(BRIEF, budget=budget))


def test_what_cannot_be_trained_is_refused(images):
    with pytest.raises(TrainingError, match="at least two classes"):
        train_encoder(images.take(np.arange(8)), OPEN, BRIEF)
    with pytest.raises(ShapeError, match=r"images: expected shape \(b, 1, 32, 32\); got \(16, 1, 16, 16\)"):
        train_encoder(images, dataclasses.replace(OPEN, image_size=32), BRIEF)
    with pytest.raises(ConfigError, match="device: expected"):
        train_encoder(images, OPEN, dataclasses.replace(BRIEF, device="abacus"))
    with pytest.raises(ConfigError, match="loss: expected one of"):
        train_encoder(images, OPEN, dataclasses.replace(BRIEF, loss="mse"))


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
def test_task_and_data_work_in_a_trainer_of_the_callers(images, unseen_images, config, tmp_path):
    data = ImageDataModule(images, steps=4, batch_size=16, validation=unseen_images)
    task = SparseEmbeddingTask(
        Encoder(config), dataclasses.replace(BRIEF, steps=4), n_classes=8, validation_labels=unseen_images.labels
    )
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    assert trainer.global_step == 4
    assert task.history[-1]["step"] == 4
    assert "hit_rate_at_1" in task.history[-1]


def test_a_run_writes_no_file_and_says_nothing_and_lightning_is_loaded_by_training_alone(tmp_path):
    program = """
import sys
import numpy as np
from gossamer import Catalog
from gossamer.datasets.images import LabeledImages
from gossamer import learning

assert "lightning" not in sys.modules
images = LabeledImages(
    pixels=np.random.default_rng(0).integers(0, 256, (8, 1, 16, 16)).astype(np.uint8),
    catalog=Catalog(n=8, labels=np.array(list("aabbccdd"))),
)
config = learning.TrainingConfig(steps=2, batch_size=4, device="cpu", weight=1.0, budget=None)
learning.train_encoder(images, learning.EncoderConfig(dim=16, image_size=16), config, validation=images)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif("GOSSAMER_DATA" not in os.environ, reason="GOSSAMER_DATA is not set")
def test_a_short_run_on_omniglot_beats_an_untrained_encoder_on_unseen_characters(tmp_path):
    from gossamer.datasets.images import ImageCollection
    from gossamer.datasets.omniglot import omniglot

    def read(classes):
        (tmp_path / "classes.txt").write_text("\n".join(classes))
        return ImageCollection.open(omniglot("background"), classes=tmp_path / "classes.txt").decode(size=32)

    characters = np.unique(ImageCollection.open(omniglot("background")).labels)
    trained = train_encoder(
        read(characters[::12]),
        EncoderConfig(dim=512),
        TrainingConfig(steps=60, batch_size=64, weight=50.0, budget=FlopsBudget(flops_per_document=1.6)),
        validation=read(characters[6::24]),
    )
    last = trained.history[-1]
    assert last["hit_rate_at_1"] > 0.65  # untrained, at 12 FLOPs per document: 0.53 to 0.57
    assert last["flops_per_document"] < 2
