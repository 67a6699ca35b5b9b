"""The settings of a study of ratings, and the interactions that it reads."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gossamer.datasets.ratings import read_ratings
from gossamer.errors import ConfigError, DataError
from gossamer.results import check_count
from gossamer.study.protocols.recommendation import Interactions

POPULARITY, ITEM_KNN, DENSE, SPARSE = "popularity", "item-knn", "dense", "sparse"
MODELS = (POPULARITY, ITEM_KNN, DENSE, SPARSE)
"""What may be compared."""
MIN_ITEMS = 5
"""Users with fewer items are learned from, and not asked for."""
QUICK_STEPS = 100

_FEWEST_USERS = 10


@dataclass(frozen=True, kw_only=True)
class RatingsStudyConfig:
    """What a study of ratings measures.

    Parameters
    ----------
    ratings : Path
        A CSV file, as `gossamer.datasets.ratings.read_ratings` reads it.
    models : tuple of str
        Of `MODELS`, each once.
    flops_per_item : tuple of float
        The budgets of the sparse towers, which are trained once for each.
    seeds : tuple of int
        One split, training and measurement of all models for each.
    steps : int
        Batches that the towers learn from.
    min_rating : float, optional
        Ratings below are no interactions; without it every rating is one, whatever its value.
    rounds : int
        How often every user is asked for.

    Raises
    ------
    ConfigError, ArgumentError
        If a setting is unknown, out of range or there twice.
    """

    ratings: Path
    models: tuple[str, ...] = MODELS
    flops_per_item: tuple[float, ...] = (2.0,)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 300
    min_rating: float | None = None
    rounds: int = 3

    def __post_init__(self) -> None:
        for model in self.models:
            if model not in MODELS:
                raise ConfigError(f"models: expected some of {', '.join(MODELS)}; got {model!r}")
        for flops in self.flops_per_item:
            if not 0 < flops < math.inf:
                raise ConfigError(f"flops_per_item: expected finite numbers above 0; got {flops!r}")
        if any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ConfigError(f"seeds: expected whole numbers of at least 0; got {list(self.seeds)}")
        for name in ("models", "flops_per_item", "seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ConfigError(f"{name}: expected at least one, each once; got {list(given)}")
        check_count(self.steps, name="steps")
        check_count(self.rounds, name="rounds")
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise ConfigError(f"min_rating: expected a finite number; got {self.min_rating}")

    def quick(self) -> RatingsStudyConfig:
        """Return a study that takes a few minutes: one seed, 100 steps, one round."""
        steps = min(self.steps, QUICK_STEPS)
        return dataclasses.replace(self, seeds=self.seeds[:1], steps=steps, rounds=1)

    def as_json(self) -> dict[str, Any]:
        """Return all settings as JSON holds them."""
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {**settings, "ratings": str(self.ratings)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Preferences:
    """Who took to what, renumbered without gaps."""

    interactions: Interactions
    n_users: int
    n_items: int
    digest: str
    """16 hexadecimal digits of a SHA-256 over the interactions."""


def read_preferences(config: RatingsStudyConfig) -> Preferences:
    """Read the ratings of a study, and check that they can be studied.

    Raises
    ------
    NotFoundError, FormatError
        As `gossamer.datasets.ratings.read_ratings` does.
    DataError
        If a user rates an item twice, or fewer than ten users have the five items of which one is held out.
    """
    ratings = read_ratings(config.ratings)
    is_kept = np.ones(len(ratings), bool) if config.min_rating is None else ratings.values >= config.min_rating
    numbers = [np.unique(each[is_kept], return_inverse=True) for each in (ratings.users, ratings.items)]
    users, items = (inverse.astype(np.int64) for _, inverse in numbers)
    n_enough = int((np.bincount(users, minlength=1) >= MIN_ITEMS).sum())
    if n_enough < _FEWEST_USERS:
        of_at_least = "" if config.min_rating is None else f" rated {config.min_rating:g} or more"
        raise DataError(
            f"ratings: expected at least {_FEWEST_USERS} users with {MIN_ITEMS} items{of_at_least}, so that some can "
            f"be held out; {config.ratings} has {n_enough}"
        )
    digest = hashlib.sha256(np.stack([users, items]).tobytes()).hexdigest()[:16]
    n_users, n_items = (len(values) for values, _ in numbers)
    return Preferences(interactions=Interactions(users, items), n_users=n_users, n_items=n_items, digest=digest)
