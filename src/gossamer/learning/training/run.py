"""`train_encoder`: a training run from images to an encoder."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import nn

from gossamer.learning.devices import pick_device
from gossamer.learning.encoder import Encoder, EncoderConfig
from gossamer.learning.objectives import LossFunction
from gossamer.learning.training.budget_outcome import BudgetOutcome, meet_budget
from gossamer.learning.training.config import TrainingConfig
from gossamer.learning.training.health_callback import HealthWatch
from gossamer.learning.training.history_log import HistoryLog
from gossamer.learning.training.holdout import hold_out
from gossamer.learning.training.image_data import ImageDataModule
from gossamer.learning.training.progress import TrainingProgress
from gossamer.learning.training.quiet import quiet_lightning
from gossamer.learning.training.task import LOG_EVERY, SparseEmbeddingTask

if TYPE_CHECKING:
    from pathlib import Path

    from gossamer.datasets.images import LabeledImages


class TrainedEncoder(NamedTuple):
    """What a training run leaves."""

    encoder: Encoder
    """On the CPU, in evaluation mode."""
    history: list[dict[str, Any]]
    """How loss and penalty went; see `SparseEmbeddingTask`. The last row's validation is of ``encoder``."""
    metrics: dict[str, Any]
    """Settings, data and last figures, for ``metrics.json``."""

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The rows of the history in which the encoder was validated."""
        return [row for row in self.history if "flops_per_document" in row]


def train_encoder(
    images: LabeledImages,
    encoder_config: EncoderConfig,
    config: TrainingConfig,
    *,
    validation: LabeledImages | None = None,
    backbone: nn.Module | None = None,
    objective: LossFunction | None = None,
    progress: bool = False,
    description: str = "train",
    log_dir: Path | None = None,
) -> TrainedEncoder:
    """Learn an encoder from labeled images.

    Takes ``config.steps`` steps, neither more nor fewer, then calibrates a sparse encoder that has a
    budget. Leaves no files without ``log_dir``, and no trace in the random generators of the process. What
    a run warns of, it logs in one sentence: a budget that cannot be met, rows that became all zero.

    Parameters
    ----------
    images : LabeledImages
        At least two classes; a class of one image is fine.
    encoder_config : EncoderConfig
        The encoder to build. Pixel statistics that it lacks are measured on the images.
    config : TrainingConfig
        How to train.
    validation : LabeledImages, optional
        Images of other classes, to measure on while training.
    backbone : nn.Module, optional
        The caller's own, where ``encoder_config.backbone`` is ``custom``; trained in place.
    objective : callable, optional
        The caller's own loss, where ``config.loss`` is ``custom``: a function of embeddings, shape
        (b, dim), and targets, shape (b,), from 0 to n_classes − 1, that returns a number. A module is
        trained in place, with the encoder.
    progress : bool
        Whether to draw a progress bar on stderr.
    description : str
        What the bar is called.
    log_dir : Path, optional
        A folder, made if need be, where ``metrics.csv`` gets the numbers of the history while training
        goes on, after each tenth step.

    Raises
    ------
    TrainingError
        If there are fewer classes than two or than a batch is to hold, or the loss becomes NaN or
        infinite; the message names the step and the likely cause.
    DataError
        If validation is given and empty.
    ConfigError
        If a setting is unknown or the device is not there.
    ShapeError
        If the images are not of the encoder's shape.
    """
    device = pick_device(config.device)
    budget = None if encoder_config.activation == "none" else config.budget
    if budget is not None:
        budget.share(encoder_config.dim)  # refuses what is above dim
    data = _data_module(images, config, validation, has_budget=budget is not None)
    cuda = list(range(torch.cuda.device_count()))
    with (
        quiet_lightning(),
        torch.random.fork_rng(devices=cuda),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
    ):
        torch.manual_seed(config.seed)
        encoder = Encoder(_with_pixel_statistics(encoder_config, images.pixels), backbone)
        task = SparseEmbeddingTask(
            encoder,
            config,
            n_classes=data.n_classes,
            validation_labels=None if validation is None else validation.labels,
            class_shares=data.class_shares if (config.drawn_per_class or 0) > 1 else None,
            objective=objective,
        )
        start = time.perf_counter()
        callbacks = _callbacks(task, data, TrainingProgress(description) if progress else None, log_dir)
        trainer = _fit(task, data, device, callbacks)
        if validation is not None and config.steps % config.validate_every != 0:
            trainer.validate(task, datamodule=data, verbose=False)
        outcome = None
        if budget is not None:
            outcome = meet_budget(task, data, images.pixels, budget, device=str(device))
            if validation is not None:
                trainer.validate(task, datamodule=data, verbose=False)
        for callback in callbacks:
            if isinstance(callback, HistoryLog):
                callback.finish(task)
        seconds = time.perf_counter() - start
    metrics = _metrics(task, data, seconds, outcome)
    task.objective.cpu()  # a caller's is back where it came from
    return TrainedEncoder(encoder.cpu().eval(), task.history, metrics)


def _callbacks(
    task: SparseEmbeddingTask, data: ImageDataModule, bar: TrainingProgress | None, log_dir: Path | None
) -> list[Callback]:
    callbacks: list[Callback] = []
    if data.cost_sample is not None:
        every = LOG_EVERY if task.controller is None else task.controller.interval
        callbacks.append(HealthWatch(data.cost_sample, every=every))
    if log_dir is not None:
        callbacks.append(HistoryLog(log_dir))
    return callbacks + ([bar] if bar else [])


def _data_module(
    images: LabeledImages, config: TrainingConfig, validation: LabeledImages | None, *, has_budget: bool
) -> ImageDataModule:
    return ImageDataModule(
        images,
        steps=config.steps,
        batch_size=config.batch_size,
        seed=config.seed,
        rows_per_class=config.drawn_per_class,
        validation=validation,
        held_out=hold_out(images.labels, seed=config.seed) if has_budget else None,
    )


def _fit(task: SparseEmbeddingTask, data: ImageDataModule, device: torch.device, callbacks: list[Callback]) -> Trainer:
    config = task.config
    trainer = Trainer(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=1,
        limit_val_batches=0 if data.validation is None else None,
        val_check_interval=min(config.validate_every, config.steps),
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(task, datamodule=data)
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None  # Lightning turns Ctrl-C into an exit
    return trainer


def _with_pixel_statistics(config: EncoderConfig, pixels: NDArray[np.uint8]) -> EncoderConfig:
    if config.pixel_mean is not None and config.pixel_std is not None:
        return config
    counts = np.zeros(256, np.int64)
    for start in range(0, len(pixels), 1024):
        counts += np.bincount(pixels[start : start + 1024].ravel(), minlength=256)
    values, shares = np.arange(256), counts / counts.sum()
    mean = float(shares @ values)
    std = float(np.sqrt(shares @ (values - mean) ** 2))
    return dataclasses.replace(
        config,
        pixel_mean=mean if config.pixel_mean is None else config.pixel_mean,
        pixel_std=(std or 1.0) if config.pixel_std is None else config.pixel_std,
    )


def _metrics(
    task: SparseEmbeddingTask, data: ImageDataModule, seconds: float, outcome: BudgetOutcome | None
) -> dict[str, Any]:
    config = task.config
    # A cost function of the caller's is no JSON.
    settings = dataclasses.asdict(dataclasses.replace(config, weight=0.0, budget=None))
    budget = None if config.budget is None else {"unit": config.budget.unit, "target": config.budget.target}
    return {
        "n_images": data.n_images,
        "n_classes": data.n_classes,
        "training_seconds": round(seconds, 1),
        "torch": torch.__version__,
        "last": task.history[-1],
        "settings": settings | {"weight": config.weight, "budget": budget},
        "budget": None if outcome is None else outcome._asdict(),
    }
