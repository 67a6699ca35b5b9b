"""Images for training and validation, as batches that depend on the seed and the step alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gossamer.arrays import OffsetArray
from gossamer.errors import DataError, TrainingError

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

    Every image is drawn once before any is drawn again; a batch may span two rounds.

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
    validation : LabeledImages, optional
        To measure on, of classes that are not learned from.

    Raises
    ------
    TrainingError
        If the images are of fewer than two classes.
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
        validation: LabeledImages | None = None,
    ) -> None:
        super().__init__()
        classes, targets = np.unique(images.labels, return_inverse=True)
        if len(classes) < 2:
            raise TrainingError(f"images: expected at least two classes to tell apart; got {len(classes)}")
        if validation is not None and len(validation) == 0:
            raise DataError("validation: expected at least one image; got none")
        self.n_classes = len(classes)
        self._batches = _StepBatches(images.pixels, targets.astype(np.int64), steps, batch_size, seed)
        self.validation = validation

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        """Return the batches in the order of their steps."""
        return DataLoader(self._batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return the pixels to validate on, in order."""
        if self.validation is None:
            raise DataError("validation: expected images to validate on; the data module has none")
        return DataLoader(_PixelBatches(self.validation.pixels), batch_size=None)


class _StepBatches(Dataset[ImageBatch]):
    def __init__(self, pixels: NDArray[np.uint8], targets: OffsetArray, steps: int, batch_size: int, seed: int) -> None:
        self._pixels, self._targets = pixels, targets
        self._steps, self._batch_size, self._seed = steps, batch_size, seed
        self._rounds: dict[int, OffsetArray] = {}

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> ImageBatch:
        if not 0 <= step < self._steps:
            raise IndexError(step)
        rows = self.rows(step)
        return ImageBatch(torch.from_numpy(self._pixels[rows]), torch.from_numpy(self._targets[rows]), step)

    def rows(self, step: int) -> OffsetArray:
        """Return the images of one step."""
        rounds, places = np.divmod(np.arange(step * self._batch_size, (step + 1) * self._batch_size), len(self._pixels))
        orders = {r: self._rounds.get(r, None) for r in np.unique(rounds).tolist()}
        self._rounds = {r: self._order(r) if order is None else order for r, order in orders.items()}
        return np.array([self._rounds[r][place] for r, place in zip(rounds.tolist(), places, strict=True)])

    def _order(self, number: int) -> OffsetArray:
        return np.random.default_rng((self._seed, number)).permutation(len(self._pixels))


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
