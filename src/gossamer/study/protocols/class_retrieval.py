"""Class retrieval: how many of the first results are of the query's class.

The protocol of Jeong and Song (ICML 2018, arXiv:1805.05809) and of Paria et al. (arXiv:2004.05665, section
5.2) on CIFAR-100: precision@{1, 4, 16, 64} of the test images, once against the training images and once
against the test images themselves, each query's own image left out. The speed-up over exhaustive search, which
they also give, is in the records of a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gossamer.arrays import AnyArray, TextArray
from gossamer.metrics import precision_at_k
from gossamer.results import SearchResult, excluding_self

KS = (1, 4, 16, 64)


@dataclass(frozen=True, kw_only=True)
class ClassRetrieval:
    """How right the first results are."""

    precision: dict[int, float]
    """By k: the share of the query's class among the first k results, averaged over all queries."""
    n_queries: int
    n_documents: int


def class_retrieval(
    found: SearchResult,
    query_labels: TextArray,
    document_labels: TextArray,
    *,
    own_ids: AnyArray | None = None,
    ks: Sequence[int] = KS,
) -> ClassRetrieval:
    """Compute precision@k of all queries, those of a class that no document has included.

    Parameters
    ----------
    found : SearchResult, shape (n_queries, at least max(ks)), or one more where own_ids are given
        The very lists that were timed.
    query_labels, document_labels : arrays of str
        The classes.
    own_ids : array, shape (n_queries,), optional
        Where the queries are documents themselves (test against test): their doc_ids, left out of the lists.
    ks : sequence of int
        At which numbers of results.

    Raises
    ------
    ShapeError
        If the lists are too short, or labels are missing.
    """
    if own_ids is not None:
        found = excluding_self(found, own_ids)
    return ClassRetrieval(
        precision={k: precision_at_k(found.doc_ids, query_labels, document_labels, k) for k in ks},
        n_queries=len(query_labels),
        n_documents=len(document_labels),
    )
