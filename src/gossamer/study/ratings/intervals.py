"""How sure a difference of two methods is, over users and over seeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gossamer.arrays import DoubleArray
from gossamer.errors import DataError

N_DRAWS = 10_000


class Interval(NamedTuple):
    """A mean and the interval of 95 % around it."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def paired_interval(differences: DoubleArray) -> Interval:
    """Return the mean difference of two methods and its 95 % interval, by a bootstrap over users and seeds.

    Seeds and users are each drawn with repetition, 10,000 times, and all differences of those drawn averaged: of
    one user in all seeds they are not independent, nor are those of one seed (the pigeonhole bootstrap: Owen, "The
    Pigeonhole Bootstrap", Annals of Applied Statistics 1(2), 2007, which tends to be too wide rather than too narrow).
    With one seed, over users alone. The same differences give the same interval.

    Parameters
    ----------
    differences : array, shape (n_seeds, n_users)
        One method's accuracy minus the other's, for the same user and seed.

    Raises
    ------
    DataError
        If there are none.

    Examples
    --------
    >>> paired_interval(np.full((2, 30), 0.25))
    Interval(mean=0.25, low=0.25, high=0.25)
    """
    n_seeds, n_users = differences.shape
    if differences.size == 0:
        raise DataError(f"differences: expected those of at least one seed and user; got shape {differences.shape}")
    rng = np.random.default_rng(0)
    means = np.empty(N_DRAWS)
    for draw in range(N_DRAWS):
        of_users = differences[rng.integers(n_seeds, size=n_seeds)].mean(axis=0)
        means[draw] = of_users[rng.integers(n_users, size=n_users)].mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(differences.mean()), float(low), float(high))
