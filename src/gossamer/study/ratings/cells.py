"""The cells of a study of ratings: one model for one seed each, and how it is trained and built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gossamer.arrays import OffsetArray
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.baselines.flat import FlatSearcher
from gossamer.embeddings import SparseEmbeddings, as_embeddings
from gossamer.index import InvertedIndex
from gossamer.learning.two_towers import Histories, TwoTowers, TwoTowersConfig, train_two_towers
from gossamer.metrics import flops_per_document
from gossamer.results import Searcher
from gossamer.study.evaluation import Built, build_timed
from gossamer.study.protocols.recommendation import K, items_of_users, split_interactions
from gossamer.study.ratings.config import (
    DENSE,
    ITEM_KNN,
    MIN_ITEMS,
    POPULARITY,
    SPARSE,
    Preferences,
    RatingsStudyConfig,
)
from gossamer.study.ratings.searchers import UnseenSearcher, UserQueries, item_neighbours, owned_rows

N_NEIGHBOURS = 100
DENSE_DIM, SPARSE_DIM = 128, 512
"""Dimensions of the codes."""
_DENSE_TEMPERATURE, _SPARSE_TEMPERATURE = 0.3, 0.25  # codes without negative entries score within half the range


class Cell(NamedTuple):
    """One model of one seed: what is trained and measured."""

    label: str
    model: str
    flops_per_item: float | None


class Split(NamedTuple):
    """What is learned from and asked for with one seed."""

    histories: Histories
    """Of all users, without what is held out."""
    asked: OffsetArray
    """The users with held-out items."""
    seen: list[OffsetArray]
    """What each user asked for has."""
    held_out: list[OffsetArray]
    """What each user asked for is to find."""


class Ready(NamedTuple):
    """A model that was built, and the users to ask it for."""

    built: Built
    queries: UserQueries
    figures: dict[str, Any]
    """What its codes cost."""


def cells_of(config: RatingsStudyConfig) -> list[Cell]:
    """Return what is measured for each seed: a cell for each model, and for each budget of the sparse towers."""
    cells = []
    for model in config.models:
        if model == SPARSE:
            cells += [
                Cell(f"sparse towers, {flops:g} FLOPs per item", SPARSE, flops) for flops in config.flops_per_item
            ]
        else:
            label = {DENSE: f"dense towers, {DENSE_DIM}-d", ITEM_KNN: f"item-kNN, {N_NEIGHBOURS} neighbours"}
            cells.append(Cell(label.get(model, model), model, None))
    return cells


def split_preferences(preferences: Preferences, *, seed: int) -> Split:
    """Hold out a fifth of the items of every user with at least five, at random."""
    kept, held_out = split_interactions(preferences.interactions, min_items=MIN_ITEMS, seed=seed)
    seen, wanted = (items_of_users(each, preferences.n_users) for each in (kept, held_out))
    asked = np.flatnonzero([len(items) > 0 for items in wanted])
    histories = Histories(seen, n_items=preferences.n_items)
    return Split(histories, asked, [seen[user] for user in asked], [wanted[user] for user in asked])


class Cells:
    """The cells of one seed, and how each is made.

    Parameters
    ----------
    config : RatingsStudyConfig
        Steps, models and budgets.
    split : Split
        What is learned from and asked for.
    seed : int
        Of the training.
    folder : Path
        Where trained towers are kept.
    progress : bool
        Whether training draws progress bars on stderr.
    """

    def __init__(self, config: RatingsStudyConfig, split: Split, seed: int, folder: Path, *, progress: bool) -> None:
        self.config, self.split, self.seed = config, split, seed
        self._folder, self._progress = folder, progress
        self._owned = owned_rows(
            [split.histories[user] for user in range(len(split.histories))], split.histories.n_items
        )

    def ready(self, cell: Cell) -> Ready:
        """Return a cell's searcher, built on the clock, and queries; train its towers if they are not there."""
        n_items = self.split.histories.n_items
        if cell.model == POPULARITY:
            counts = np.asarray(self._owned.sum(axis=0), np.float32)[:, None]
            rows = np.ones((len(self.split.asked), 1), np.float32)
            return self._made(lambda: ExhaustiveSearcher(counts), rows, {})
        if cell.model == ITEM_KNN:
            similar = item_neighbours(self._owned, n_neighbours=N_NEIGHBOURS)
            queries, documents = as_embeddings(self._owned[self.split.asked]), as_embeddings(similar)
            return self._made(lambda: InvertedIndex.build(documents, plan="scan"), queries, _costs(queries, documents))
        towers = self._towers(cell)
        users = towers.encode_users(Histories(self.split.seen, n_items=n_items))
        items = towers.encode_items()
        figures = {**_costs(users, items), "training_s": towers.metrics["training_seconds"]}
        if cell.model == SPARSE:
            return self._made(lambda: InvertedIndex.build(items, sample_queries=users[:100]), users, figures)
        dense_items = items.to_dense()
        return self._made(lambda: FlatSearcher(dense_items), users.to_dense(), figures)

    def _made(self, build: Callable[[], Searcher[Any]], rows: Any, figures: dict[str, Any]) -> Ready:
        built = build_timed(lambda: UnseenSearcher(build()))
        queries = UserQueries(rows, self.split.seen)
        built.searcher.search(queries[:1], K)  # what cannot search fails here, alone
        return Ready(built, queries, figures)

    def _towers(self, cell: Cell) -> TwoTowers:
        """Return the towers of a cell: those in the study's folder, or trained now and put there."""
        budget = "" if cell.flops_per_item is None else f"-{cell.flops_per_item:g}"
        folder = self._folder / f"seed-{self.seed}-{cell.model}{budget}"
        if not folder.exists():
            sizes: dict[str, Any] = {"dim": DENSE_DIM, "temperature": _DENSE_TEMPERATURE}
            if cell.model == SPARSE:
                sizes = {"dim": SPARSE_DIM, "temperature": _SPARSE_TEMPERATURE, "activation": "relu"}
                sizes["flops_per_item"] = cell.flops_per_item
            settings = TwoTowersConfig(
                n_items=self.split.histories.n_items, steps=self.config.steps, seed=self.seed, **sizes
            )
            towers = train_two_towers(self.split.histories, settings, progress=self._progress)
            self._folder.mkdir(exist_ok=True)
            towers.save_pretrained(folder)
        return TwoTowers.from_pretrained(folder)


def _costs(users: SparseEmbeddings, items: SparseEmbeddings) -> dict[str, float]:
    return {
        "flops_per_item": flops_per_document(users, items),
        "nnz_per_user": users.nnz / len(users),
        "nnz_per_item": items.nnz / len(items),
    }
