"""Verification: which pairs of a query and a document are accepted as of one class.

True accepts at given rates of false accepts, over all pairs of queries and documents, as in Kemelmacher-
Shlizerman et al., "The MegaFace Benchmark", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossamer.arrays import AnyArray, TextArray
from gossamer.errors import ArgumentError, DataError
from gossamer.metrics import allowed_false_accepts, count_same_label, same_label, true_accept_rate
from gossamer.results import SearchResult, excluding_self

KS = (200,)
FALSE_ACCEPT_RATES = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How many pairs of one class are accepted."""

    true_accept_rate: dict[float, float]
    """By false accept rate."""
    n_genuine: int
    """Pairs of one class."""
    n_impostors: int
    """Pairs of two classes."""


def verification(
    found: SearchResult,
    query_labels: TextArray,
    document_labels: TextArray,
    *,
    own_ids: AnyArray | None = None,
    false_accept_rates: Sequence[float] = FALSE_ACCEPT_RATES,
) -> Verification:
    """Compute the true accepts of all pairs of a query and a document from the results of a search.

    A pair that is not in the lists is known only to score no more than the last of its query's list, or, where
    the list ends in missing places, to score below all thresholds. So a rate is answered where its threshold
    lies at or above the last scores of all full lists, and refused where it does not: ask for more results.

    Parameters
    ----------
    found : SearchResult, shape (n_queries, k), or one more where own_ids are given
        The very lists that were timed.
    query_labels, document_labels : arrays of str
        The classes.
    own_ids : array, shape (n_queries,), optional
        Where the queries are documents themselves: their doc_ids, left out of the lists and of the pairs.
    false_accept_rates : sequence of float
        Which, each from 0 to 1.

    Raises
    ------
    DataError
        If there are no pairs of one class, or none of two.
    ArgumentError
        If the lists are too short to tell.
    ShapeError
        If labels are missing.
    """
    n_own = 0 if own_ids is None else 1
    if own_ids is not None:
        found = excluding_self(found, own_ids)
    n_queries, k = found.doc_ids.shape
    is_genuine = same_label(found.doc_ids, query_labels, document_labels, k)
    n_documents = len(document_labels) - n_own
    n_genuine = int((count_same_label(query_labels, document_labels) - n_own).sum())
    n_impostors = n_queries * n_documents - n_genuine
    if n_genuine == 0 or n_impostors == 0:
        raise DataError(
            f"labels: expected pairs of one class and of two; got {n_genuine} of one and {n_impostors} of two"
        )
    is_listed = found.doc_ids >= 0
    genuine = _with_unlisted(found.scores[is_listed & is_genuine], n_genuine)
    impostors = _with_unlisted(found.scores[is_listed & ~is_genuine], n_impostors)
    # The best score that a pair outside the lists may have.
    last = np.max(found.scores[:, -1], initial=-np.inf) if k < n_documents else -np.inf
    for rate in false_accept_rates:
        n_allowed = allowed_false_accepts(n_impostors, rate)
        if n_allowed < n_impostors and np.partition(impostors, -n_allowed - 1)[-n_allowed - 1] < last:
            raise ArgumentError(
                f"found: expected lists long enough for a false accept rate of {rate:g}; got k = {k}, and pairs "
                "outside the lists could pass. Search for more results"
            )
        if n_allowed == n_impostors and k < n_documents:
            raise ArgumentError(f"found: expected all {n_documents} documents for a rate of 1; got k = {k}")
    rates = {rate: true_accept_rate(genuine, impostors, rate) for rate in false_accept_rates}
    return Verification(true_accept_rate=rates, n_genuine=n_genuine, n_impostors=n_impostors)


def _with_unlisted(scores: AnyArray, n_pairs: int) -> AnyArray:
    """Return the scores of all pairs: of those not listed, -inf stands for one below all thresholds."""
    return np.concatenate([scores, np.full(n_pairs - scores.size, -np.inf, np.float32)])
