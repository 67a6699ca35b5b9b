"""What a search returns, and the protocol that everything which searches obeys."""

from __future__ import annotations

import operator
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from gossamer.arrays import AnyArray, FloatArray, IntArray
from gossamer.errors import ArgumentError, ShapeError

NO_DOCUMENT = -1
"""The doc_id that fills the places of a result for which there is no document."""

QueriesT_contra = TypeVar("QueriesT_contra", contravariant=True)


class SearchResult(NamedTuple):
    """Best documents of each query, best first; rows with fewer than k end in (-1, -inf).

    Equal scores are ordered by ascending ``doc_id``.
    """

    doc_ids: IntArray
    """Shape (n_queries, k), int32."""
    scores: FloatArray
    """Shape (n_queries, k), float32."""


class Searcher(Protocol[QueriesT_contra]):
    """Anything that finds the best documents of queries: an index, a baseline, a remote engine."""

    @property
    def n_docs(self) -> int:
        """The number of documents."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the searcher keeps in memory to answer queries, in bytes."""
        ...

    def search(self, queries: QueriesT_contra, k: int = 10) -> SearchResult:
        """Return the k best documents of each query: arrays of shape (n_queries, k)."""
        ...


def check_k(k: int) -> int:
    """Return ``k``, or raise `ArgumentError` if it is not a whole number of at least 1."""
    return check_count(k, name="k")


def check_count(count: int, *, name: str) -> int:
    """Return ``count``, or raise `ArgumentError` if it is not a whole number of at least 1."""
    if type(count) is int and count > 0:  # the usual one, at once
        return count
    try:
        checked = operator.index(count)
    except TypeError:
        checked = 0
    if checked < 1:
        raise ArgumentError(f"{name}: expected a whole number of at least 1; got {count!r}")
    return checked


def empty_result(n_queries: int, k: int) -> SearchResult:
    """Return a result in which nothing has been found yet: all (-1, -inf)."""
    doc_ids = np.full((n_queries, k), NO_DOCUMENT, np.int32)
    return SearchResult(doc_ids, np.full((n_queries, k), -np.inf, np.float32))


def excluding_self(found: SearchResult, own_ids: AnyArray) -> SearchResult:
    """Drop each query's own document, for collections in which every document is also a query.

    Ask for k + 1; the result has k columns. Where a query's own document is not among its k + 1 best,
    the last one is dropped instead.

    Parameters
    ----------
    found : SearchResult, shape (n_queries, k + 1)
        Results of k + 1.
    own_ids : array, shape (n_queries,), integers
        The doc_id of each query.

    Raises
    ------
    ShapeError
        If there is not one own id for each query.

    Examples
    --------
    >>> found = SearchResult(np.int32([[7, 3, 5]]), np.float32([[0.9, 0.8, 0.7]]))
    >>> excluding_self(found, np.array([3])).doc_ids
    array([[7, 5]], dtype=int32)
    """
    own_ids = np.asarray(own_ids)
    if own_ids.shape != found.doc_ids.shape[:1]:
        raise ShapeError(f"own_ids: expected shape ({len(found.doc_ids)},), one for each query; got {own_ids.shape}")
    is_own = found.doc_ids == own_ids[:, None]
    is_own[:, -1] |= ~is_own.any(axis=1)
    shape = len(own_ids), found.doc_ids.shape[1] - 1
    return SearchResult(found.doc_ids[~is_own].reshape(shape), found.scores[~is_own].reshape(shape))
