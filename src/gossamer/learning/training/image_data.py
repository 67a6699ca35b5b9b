"""Images for training and validation, as batches that depend on the seed and the step alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gossamer.arrays import OffsetArray
from gossamer.errors import DataError, TrainingError
from gossamer.learning.calibration import CostSample
from gossamer.learning.training.holdout import HeldOut
from gossamer.learning.training.sampling import BalancedRows, ShuffledRows

if TYPE_CHECKING:
    from gossamer.datasets.images import LabeledImages

_VALIDATION_BATCH = 512


class ImageBatch(NamedTuple):
    """What one training step learns from."""

    pixels: Tensor
    """Shape (b, channels, size, size), uint8."""
    targets: Tensor
    """The class of each image, shape (b,), int64, from 0 to n_classes − 1."""
    step: int
    """The number of the step, from 0: with the seed, it keys all randomness."""


class ImageDataModule(LightningDataModule):
    """Serve labeled images to Lightning: one epoch is the whole training, of exactly ``steps`` batches.

    Every image is drawn once before any is drawn again, and a batch may span two rounds; or each batch
    holds a set number of images of each of its classes.

    Parameters
    ----------
    images : LabeledImages
        To learn from.
    steps : int
        How many batches.
    batch_size : int
        Images a batch.
    seed : int
        Keys the order of the images.
    rows_per_class : int, optional
        How many images of each of its classes a batch holds; see
        `gossamer.learning.training.sampling.BalancedRows`. None for images in any order.
    validation : LabeledImages, optional
        To measure on, of classes that are not learned from.
    held_out : HeldOut, optional
        Which of the images not to learn from, since costs are measured on them.

    Attributes
    ----------
    rows : array, shape (n_images,), int64
        Which of the images are learned from, ascending.
    cost_sample : CostSample, optional
        Those that are held out.
    n_images, n_classes : int
        How many images and classes there are to learn from.
    class_shares : Tensor, shape (n_classes,), float32
        The share of each class among the images.

    Raises
    ------
    TrainingError
        If the images are of fewer than two classes, or of fewer than a batch is to hold.
    ConfigError
        If the batch size is no multiple of ``rows_per_class``.
    DataError
        If validation is given and empty.
    """

    def __init__(
        self,
        images: LabeledImages,
        *,
        steps: int,
        batch_size: int,
        seed: int = 0,
        rows_per_class: int | None = None,
        validation: LabeledImages | None = None,
        held_out: HeldOut | None = None,
    ) -> None:
        super().__init__()
        self.rows = np.arange(len(images)) if held_out is None else np.delete(np.arange(len(images)), held_out.rows)
        self.cost_sample = None if held_out is None else _cost_sample(images, held_out)
        classes, targets, counts = np.unique(images.labels[self.rows], return_inverse=True, return_counts=True)
        targets = targets.astype(np.int64)
        if len(classes) < 2:
            raise TrainingError(f"images: expected at least two classes to tell apart; got {len(classes)}")
        if validation is not None and len(validation) == 0:
            raise DataError("validation: expected at least one image; got none")
        self.n_images, self.n_classes = len(targets), len(classes)
        self.class_shares = torch.from_numpy(counts / counts.sum()).float()
        rows: Callable[[int], OffsetArray] = (
            ShuffledRows(len(targets), batch_size=batch_size, seed=seed)
            if rows_per_class is None
            else BalancedRows(targets, batch_size=batch_size, rows_per_class=rows_per_class, seed=seed)
        )
        self._batches = _StepBatches(images.pixels, self.rows, targets, steps, rows)
        self.validation = validation

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        """Return the batches in the order of their steps."""
        return DataLoader(self._batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return the pixels to validate on, in order."""
        if self.validation is None:
            raise DataError("validation: expected images to validate on; the data module has none")
        return DataLoader(_PixelBatches(self.validation.pixels), batch_size=None)


def _cost_sample(images: LabeledImages, held_out: HeldOut) -> CostSample:
    pixels = images.pixels[held_out.rows]
    if not held_out.are_whole_classes:
        return CostSample(pixels)
    labels = np.unique(images.labels[held_out.rows], return_inverse=True)[1].astype(np.int64)
    return CostSample(pixels, labels, images.n_classes)


class _StepBatches(Dataset[ImageBatch]):
    def __init__(
        self,
        pixels: NDArray[np.uint8],
        places: OffsetArray,
        targets: OffsetArray,
        steps: int,
        rows: Callable[[int], OffsetArray],
    ) -> None:
        self._pixels, self._places, self._targets, self._steps, self._rows = pixels, places, targets, steps, rows

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> ImageBatch:
        if not 0 <= step < self._steps:
            raise IndexError(step)
        rows = self._rows(step)
        pixels = self._pixels[self._places[rows]]
        return ImageBatch(torch.from_numpy(pixels), torch.from_numpy(self._targets[rows]), step)


class _PixelBatches(Dataset[Tensor]):
    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return math.ceil(len(self._pixels) / _VALIDATION_BATCH)

    def __getitem__(self, batch: int) -> Tensor:
        if not 0 <= batch < len(self):
            raise IndexError(batch)
        # A copy, since torch warns of read-only memory.
        return torch.from_numpy(np.array(self._pixels[batch * _VALIDATION_BATCH : (batch + 1) * _VALIDATION_BATCH]))
