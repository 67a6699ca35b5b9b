"""`train_encoder`: a training run from images to an encoder."""

from __future__ import annotations

import dataclasses
import logging
import time
from contextlib import nullcontext
from pathlib import Path
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
from gossamer.learning.training.checkpoints import Checkpoints, SafeCheckpointIO, identity, open_checkpoints
from gossamer.learning.training.config import LOG_EVERY, TrainingConfig
from gossamer.learning.training.health_callback import HealthWatch
from gossamer.learning.training.history_log import HistoryLog
from gossamer.learning.training.holdout import hold_out
from gossamer.learning.training.image_data import ImageDataModule
from gossamer.learning.training.progress import TrainingProgress
from gossamer.learning.training.quiet import quiet_lightning
from gossamer.learning.training.ranks import ended_ranks, joined_batch_norms, lightning_devices
from gossamer.learning.training.stopping import early_stop
from gossamer.learning.training.task import SparseEmbeddingTask

if TYPE_CHECKING:
    from gossamer.datasets.images import LabeledImages


logger = logging.getLogger(__name__)


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
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    description: str = "train",
    log_dir: Path | None = None,
) -> TrainedEncoder:
    """Learn an encoder from labeled images.

    Takes ``config.steps`` steps, neither more nor fewer unless ``config.patience`` ends it, then calibrates
    a sparse encoder that has a budget. Leaves no files without ``log_dir`` and ``checkpoint_dir``, and no
    trace in the random generators of the process. What a run warns of, it logs in one sentence: a budget
    that cannot be met, rows that became all zero.

    With checkpoints, a run that was killed goes on where the last one was written, and ends with the same
    weights, bit for bit, as one that was not (on the same machine). Ctrl-C or SIGTERM lets the step at work
    end, writes one and raises KeyboardInterrupt; a second one stops at once.

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
        trained in place, with the encoder. One with a miner of pytorch-metric-learning is
        ``lambda rows, targets: loss(rows, targets, miner(rows, targets))``; ``config.rows_per_class``
        gives it batches of several rows a class. On several devices it sees the rows of all.
    checkpoint_dir : str or Path, optional
        The folder for checkpoints, made if it is not there; None to write none. The last one stays when
        training is done, so that nothing is lost before the model is saved: then call
        `gossamer.learning.training.remove_checkpoints`.
    checkpoint_every : int, optional
        Steps between two; None for ``config.validate_every``. Only the newest is kept: three times the
        weights in size.
    resume : bool
        Whether to go on from the checkpoint in ``checkpoint_dir``; ``metrics.csv`` is then written anew.
    overwrite : bool
        Whether checkpoints and a ``metrics.csv`` of another run may be replaced.
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
    OutputExistsError
        If there is a checkpoint, or a ``metrics.csv``, of a run that is neither to go on nor to be replaced.
    NotFoundError
        If there is none to go on from.
    MismatchError
        If it is of other images or settings, or another version of Gossamer or torch wrote it.
    FormatError
        If it is damaged.
    """
    device = pick_device(config.device)
    budget = None if encoder_config.activation == "none" else config.budget
    if budget is not None:
        budget.share(encoder_config.dim)  # refuses what is above dim
    data = _data_module(images, config, validation, has_budget=budget is not None)
    encoder_config = _with_pixel_statistics(encoder_config, images.pixels)
    settings = run_settings(encoder_config, config)
    every = config.validate_every if checkpoint_every is None else checkpoint_every
    checkpoints = open_checkpoints(
        checkpoint_dir,
        every=every,
        run=lambda: identity(settings, images, validation),
        resume=resume,
        overwrite=overwrite,
    )
    log = None if log_dir is None else HistoryLog(log_dir, may_replace=resume or overwrite)
    cuda = list(range(torch.cuda.device_count()))
    with (
        quiet_lightning(),
        torch.random.fork_rng(devices=cuda),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
        ended_ranks() if config.devices > 1 else nullcontext(),
    ):
        torch.manual_seed(config.seed)
        encoder = Encoder(encoder_config, backbone)
        task = SparseEmbeddingTask(
            encoder,
            config,
            n_classes=data.n_classes,
            validation_labels=None if validation is None else validation.labels,
            class_shares=data.class_shares if (config.drawn_per_class or 0) > 1 else None,
            objective=objective,
        )
        start = time.perf_counter()
        stop = early_stop(task, validation_labels=None if validation is None else validation.labels)
        bar = TrainingProgress(description) if progress else None
        callbacks = [checkpoints, _watch(task, data), stop, log, bar]
        trainer = _fit(task, data, device, checkpoints, [part for part in callbacks if part is not None])
        if validation is not None and not task.is_validated:
            trainer.validate(task, datamodule=data, verbose=False)
        if stop is not None:
            stop.restore(task)
        outcome = None
        if budget is not None:
            outcome = meet_budget(task, data, images.pixels, budget, device=str(device))
            if validation is not None:
                trainer.validate(task, datamodule=data, verbose=False)
        if log is not None:
            log.finish(task)
        seconds = time.perf_counter() - start + (checkpoints.seconds_before if checkpoints else 0.0)
    metrics = _metrics(task, data, seconds, outcome)
    task.objective.cpu()  # a caller's is back where it came from
    return TrainedEncoder(encoder.cpu().eval(), task.history, metrics)


def _watch(task: SparseEmbeddingTask, data: ImageDataModule) -> HealthWatch | None:
    every = LOG_EVERY if task.controller is None else task.controller.interval
    return None if data.cost_sample is None else HealthWatch(data.cost_sample, every=every)


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


def _fit(
    task: SparseEmbeddingTask,
    data: ImageDataModule,
    device: torch.device,
    checkpoints: Checkpoints | None,
    callbacks: list[Callback],
) -> Trainer:
    config = task.config
    trainer = Trainer(
        accelerator=device.type,
        devices=lightning_devices(config.devices, device),
        strategy="ddp" if config.devices > 1 else "auto",
        use_distributed_sampler=False,  # every rank takes its rows of each batch by itself
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_epochs=1,
        limit_val_batches=0 if data.validation is None else None,
        val_check_interval=min(config.validate_every, config.steps),
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        with nullcontext() if checkpoints is None else checkpoints.interrupts, joined_batch_norms(task):
            trainer.fit(task, datamodule=data, ckpt_path=None if checkpoints is None else checkpoints.resumed)
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt(*stop.__context__.args) from None  # Lightning turns Ctrl-C into an exit
    if checkpoints is not None and checkpoints.interrupts.has_come:
        logger.warning("interrupted after the last step: the model is calibrated and returned all the same")
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


def run_settings(encoder_config: EncoderConfig, config: TrainingConfig) -> dict[str, Any]:
    """Return all that makes two runs of the same images the same, as JSON holds it."""
    return {**dataclasses.asdict(encoder_config), **_settings(config)}


def _settings(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings as JSON holds them, which knows no cost function of a caller's."""
    settings = dataclasses.asdict(dataclasses.replace(config, weight=0.0, budget=None))
    budget = None if config.budget is None else {"unit": config.budget.unit, "target": config.budget.target}
    return settings | {"weight": config.weight, "budget": budget}


def _metrics(
    task: SparseEmbeddingTask, data: ImageDataModule, seconds: float, outcome: BudgetOutcome | None
) -> dict[str, Any]:
    return {
        "n_images": data.n_images,
        "n_classes": data.n_classes,
        "training_seconds": round(seconds, 1),
        "torch": torch.__version__,
        "last": task.history[-1],
        "settings": _settings(task.config),
        "budget": None if outcome is None else outcome._asdict(),
    }
