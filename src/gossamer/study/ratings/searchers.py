"""Searchers of items for users, who are not to find what they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from gossamer.arrays import AnyArray, OffsetArray
from gossamer.results import Searcher, SearchResult, empty_result

_ITEMS_PER_BLOCK = 512


@dataclass(frozen=True, eq=False)
class UserQueries:
    """Users to find items for: what a searcher asks with, and the items that each has. Slices as rows do."""

    rows: Any
    """Of any kind that the searcher takes, one for each user."""
    seen: Sequence[OffsetArray]
    """The items of each user."""

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, chosen: slice) -> UserQueries:
        return UserQueries(self.rows[chosen], self.seen[chosen])


class UnseenSearcher:
    """Find items that a user does not have: ask for as many more as the user has, and leave those out.

    Parameters
    ----------
    searcher : Searcher
        Of items.
    """

    def __init__(self, searcher: Searcher[Any]) -> None:
        self._searcher, self.n_docs = searcher, searcher.n_docs
        self._is_seen = np.zeros(searcher.n_docs + 1, bool)  # the last one is that of missing results, −1

    @property
    def size_bytes(self) -> int:
        """The bytes of the searcher."""
        return self._searcher.size_bytes

    def search(self, queries: UserQueries, k: int = 10) -> SearchResult:
        """Return the k best items that each user does not have, shape (n_users, k)."""
        most = max((len(own) for own in queries.seen), default=0)
        found, unseen = self._searcher.search(queries.rows, k + most), empty_result(len(queries), k)
        for row, own in enumerate(queries.seen):
            self._is_seen[own] = True
            chosen = np.flatnonzero(~self._is_seen[found.doc_ids[row]])[:k]
            self._is_seen[own] = False
            unseen.doc_ids[row, : len(chosen)] = found.doc_ids[row, chosen]
            unseen.scores[row, : len(chosen)] = found.scores[row, chosen]
        return unseen


def owned_rows(histories: Sequence[AnyArray], n_items: int) -> sparse.csr_array:
    """Return who has what: shape (n_users, n_items), float32, ones and zeros; items in ascending order."""
    indptr = np.cumsum([0, *(len(own) for own in histories)])
    items = np.concatenate([np.sort(own) for own in histories])
    return sparse.csr_array((np.ones(len(items), np.float32), items, indptr), shape=(len(histories), n_items))


def item_neighbours(owned: sparse.csr_array, *, n_neighbours: int) -> sparse.csr_array:
    r"""Return each item's most similar items by :math:`|U_i \cap U_j| / \sqrt{|U_i| |U_j|}`, of users who have them.

    The inner product of a user's row of ``owned`` and an item's row is the score of item-based nearest neighbours
    (Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 22(1), 2004).

    Parameters
    ----------
    owned : CSR array, shape (n_users, n_items)
        Who has what, ones and zeros.
    n_neighbours : int
        How many of an item's neighbors count; those that share no user do not.

    Returns
    -------
    CSR array, shape (n_items, n_items), float32
        Row i: the similarities of item i's neighbors, i itself left out.
    """
    counts = np.maximum(owned.sum(axis=0), 1.0)
    columns = (owned @ sparse.diags_array(1 / np.sqrt(counts))).tocsr().astype(np.float32)
    rows = columns.T.tocsr()
    blocks = []
    for start in range(0, rows.shape[0], _ITEMS_PER_BLOCK):
        similar = (rows[start : start + _ITEMS_PER_BLOCK] @ columns).toarray()
        places = np.arange(len(similar))
        similar[places, start + places] = 0
        if n_neighbours < similar.shape[1]:
            others = np.argpartition(-similar, n_neighbours, axis=1)[:, n_neighbours:]
            np.put_along_axis(similar, others, 0, axis=1)
        blocks.append(sparse.csr_array(similar))
    neighbours: sparse.csr_array = sparse.vstack(blocks, format="csr").astype(np.float32)
    return neighbours
