"""Which items each user has, checked once; and the batches of users that two towers learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gossamer.arrays import AnyArray, DoubleArray, OffsetArray
from gossamer.errors import DataError
from gossamer.learning.two_towers.config import TwoTowersConfig

_FEWEST_ITEMS = 2  # of a user: one to see, one to find


class Histories:
    """The items that each user has: a list of numbers for each user, of one catalog.

    Parameters
    ----------
    items : sequence of arrays of integers, one for each user
        The items of each user, from 0 to n_items − 1, in any order, each once. A user may have none.
    n_items : int
        Items in the catalog.

    Raises
    ------
    DataError
        If there are no users, or a user has an item twice or one that is not in the catalog.

    Examples
    --------
    >>> histories = Histories([np.array([3, 1]), np.array([2])], n_items=4)
    >>> len(histories), histories[0]
    (2, array([1, 3]))
    """

    def __init__(self, items: Sequence[AnyArray], *, n_items: int) -> None:
        if len(items) == 0:
            raise DataError("histories: expected those of at least one user; got none")
        self.n_items = n_items
        self._items: list[OffsetArray] = []
        for user, row in enumerate(items):
            own = np.unique(np.asarray(row, np.int64))
            if own.size < np.size(row):
                raise DataError(f"histories: expected each item of a user once; user {user} has one more often")
            if own.size and (own[0] < 0 or own[-1] >= n_items):
                raise DataError(
                    f"histories: expected items from 0 to {n_items - 1}; user {user} has {own[0]} to {own[-1]}"
                )
            self._items.append(own)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, user: int) -> OffsetArray:
        return self._items[user]

    @property
    def learnable(self) -> OffsetArray:
        """The users with at least two items, ascending: one to see and one to find."""
        return np.flatnonzero([len(own) >= _FEWEST_ITEMS for own in self._items]).astype(np.int64)

    def bags(self, users: AnyArray | range) -> tuple[Tensor, Tensor]:
        """Return the items of some users one after the other, and where each user's begin; both int64."""
        return as_bags([self._items[user] for user in users])


class TowerBatch(NamedTuple):
    """What one training step learns from: b users, t targets in all, m drawn items."""

    items: Tensor
    """The items that each user shows, one user after the other, int64."""
    starts: Tensor
    """Where those of each user begin, shape (b,), int64."""
    targets: Tensor
    """The items to find, one user after the other, shape (t,), int64."""
    target_users: Tensor
    """The row of the user of each target, shape (t,), int64, from 0 to b − 1."""
    drawn: Tensor
    """Items drawn evenly from the catalog, shape (m,), int64."""
    is_owned: Tensor
    """Whether a user has an item, of targets and then of drawn items: shape (b, t + m), bool."""
    step: int
    """The number of the step, from 0."""


class UserBatches(Dataset[TowerBatch]):
    """Serve batches of users to Lightning, keyed by seed and step: all users are as likely.

    Parameters
    ----------
    histories : Histories
        With at least one learnable user.
    config : TwoTowersConfig
        Steps, sizes and seed.
    """

    def __init__(self, histories: Histories, config: TwoTowersConfig) -> None:
        self._histories, self._config = histories, config
        self._users = histories.learnable
        self._n_users = min(config.n_users, len(self._users))

    def __len__(self) -> int:
        return self._config.steps

    def __getitem__(self, step: int) -> TowerBatch:
        if not 0 <= step < len(self):
            raise IndexError(step)
        rng = np.random.default_rng((self._config.seed, step))
        users = rng.choice(self._users, self._n_users, replace=False)
        shown, targets = [], []
        for user in users:
            own = rng.permutation(self._histories[user])
            n_targets = _n_targets(len(own), self._config)
            others = own[n_targets:]
            is_shown = rng.random(len(others)) >= self._config.hidden_share
            is_shown[0] |= not is_shown.any()
            shown.append(others[is_shown])
            targets.append(own[:n_targets])
        drawn = rng.integers(self._histories.n_items, size=self._config.n_negatives)
        candidates = np.concatenate([*targets, drawn])
        items, starts = as_bags(shown)
        counts = torch.tensor([len(each) for each in targets])
        return TowerBatch(
            items=items,
            starts=starts,
            targets=torch.from_numpy(np.concatenate(targets)),
            target_users=torch.repeat_interleave(torch.arange(len(users)), counts),
            drawn=torch.from_numpy(drawn),
            is_owned=torch.from_numpy(np.stack([np.isin(candidates, self._histories[user]) for user in users])),
            step=step,
        )

    def expected_targets(self) -> DoubleArray:
        """Return how often each item is a target of a batch, on average: shape (n_items,)."""
        expected = np.zeros(self._histories.n_items)
        for user in self._users:
            own = self._histories[user]
            expected[own] += _n_targets(len(own), self._config) / len(own)
        return expected * self._n_users / len(self._users)


def as_bags(rows: Sequence[OffsetArray]) -> tuple[Tensor, Tensor]:
    """Return lists of items as one, and where each begins; both int64."""
    counts = np.array([len(row) for row in rows], np.int64)
    starts = np.cumsum(counts) - counts
    return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *rows])), torch.from_numpy(starts)


def _n_targets(n_own: int, config: TwoTowersConfig) -> int:
    return min(config.n_targets, n_own // 2)
