"""Which images a training step learns from: functions of the seed and the step alone."""

from __future__ import annotations

import numpy as np

from gossamer.arrays import OffsetArray
from gossamer.errors import ConfigError, TrainingError


class ShuffledRows:
    """Draw every image once before any is drawn again; a batch may span two rounds.

    Parameters
    ----------
    n_rows : int
        How many images there are.
    batch_size : int
        Images a batch.
    seed : int
        Keys the order of each round.
    """

    def __init__(self, n_rows: int, *, batch_size: int, seed: int) -> None:
        self._n_rows, self._batch_size, self._seed = n_rows, batch_size, seed
        self._rounds: dict[int, OffsetArray] = {}

    def __call__(self, step: int) -> OffsetArray:
        """Return the images of one step, shape (batch_size,)."""
        rounds, places = np.divmod(np.arange(step * self._batch_size, (step + 1) * self._batch_size), self._n_rows)
        orders = {r: self._rounds.get(r, None) for r in np.unique(rounds).tolist()}
        self._rounds = {r: self._order(r) if order is None else order for r, order in orders.items()}
        return np.array([self._rounds[r][place] for r, place in zip(rounds.tolist(), places, strict=True)])

    def _order(self, number: int) -> OffsetArray:
        return np.random.default_rng((self._seed, number)).permutation(self._n_rows)


class BalancedRows:
    """Draw some classes, evenly and without repetition, and as many images of each.

    A class that has fewer images gives each of them as often as it takes, as evenly as that goes.

    Parameters
    ----------
    targets : array, shape (n,), int64
        The class of each image, from 0 to n_classes − 1, none without an image.
    batch_size : int
        Images a batch, a multiple of ``rows_per_class``: twice that or more.
    rows_per_class : int
        Images of each class in a batch, at least 1.
    seed : int
        Keys the draws.

    Raises
    ------
    ConfigError
        If the batch size is no such multiple.
    TrainingError
        If a batch would need more classes than there are.
    """

    def __init__(self, targets: OffsetArray, *, batch_size: int, rows_per_class: int, seed: int) -> None:
        if rows_per_class < 1 or batch_size % rows_per_class or batch_size < 2 * rows_per_class:
            raise ConfigError(
                f"batch_size: expected a multiple of rows_per_class = {rows_per_class}, for at least two classes; "
                f"got {batch_size}"
            )
        ends = np.cumsum(np.bincount(targets))
        self._members = np.split(np.argsort(targets, kind="stable"), ends[:-1])
        self._n_drawn, self._rows_per_class, self._seed = batch_size // rows_per_class, rows_per_class, seed
        if self._n_drawn > len(self._members):
            raise TrainingError(
                f"batch_size: {batch_size} images of {rows_per_class} a class need {self._n_drawn} classes; "
                f"there are {len(self._members)}. Lower batch_size, or raise rows_per_class"
            )

    def __call__(self, step: int) -> OffsetArray:
        """Return the images of one step, shape (batch_size,), class by class."""
        # Three numbers, where the rounds of ShuffledRows have two: their draws share nothing.
        rng = np.random.default_rng((self._seed, step, 0))
        drawn = rng.permutation(len(self._members))[: self._n_drawn]
        return np.concatenate([self._of_class(rng, self._members[label]) for label in drawn])

    def _of_class(self, rng: np.random.Generator, members: OffsetArray) -> OffsetArray:
        n_rounds = -(-self._rows_per_class // len(members))
        return np.concatenate([rng.permutation(members) for _ in range(n_rounds)])[: self._rows_per_class]
