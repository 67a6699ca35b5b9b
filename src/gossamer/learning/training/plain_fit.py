"""Training that leaves no checkpoints: the steps of a Lightning task, on one device."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from gossamer.learning.training.progress import TrainingProgress


def take_steps(
    task: LightningModule,
    batches: Dataset[Any],
    device: torch.device,
    bar: TrainingProgress | None,
) -> None:
    """Run a task over its batches once, each of which is an item of ``batches``; Ctrl-C raises KeyboardInterrupt."""
    trainer = Trainer(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=1,
        callbacks=[bar] if bar else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(task, DataLoader(batches, batch_size=None))
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None  # Lightning turns Ctrl-C into an exit
