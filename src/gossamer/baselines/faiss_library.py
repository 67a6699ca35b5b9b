"""What the baselines that FAISS searches share: its import, its results in our form."""

from __future__ import annotations

from typing import Any

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.errors import MissingDependencyError
from gossamer.results import SearchResult, empty_result


def import_faiss(method: str) -> Any:
    """Return the module, or raise `MissingDependencyError` that names the method and the extra."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            f"{method} needs FAISS, which is not installed: pip install 'gossamer[bench]'"
        ) from error
    return faiss


def search_faiss(index: Any, queries: FloatArray, k: int) -> SearchResult:
    """Return what a FAISS index of inner products finds, -inf where it finds nothing, ties by doc_id.

    Which of several documents that tie for the last place is found is FAISS's choice.
    """
    if index.ntotal == 0:
        return empty_result(len(queries), k)
    scores, doc_ids = index.search(np.ascontiguousarray(queries), k)
    scores[doc_ids < 0] = -np.inf
    return ties_by_doc_id(SearchResult(doc_ids.astype(np.int32), scores))


def ties_by_doc_id(found: SearchResult) -> SearchResult:
    """Return results that are ordered by score with equal scores ordered by ascending doc_id."""
    if not (found.scores[:, 1:] == found.scores[:, :-1]).any():  # mostly so, and told faster than sorted
        return found
    order = np.lexsort((found.doc_ids, -found.scores), axis=-1)
    return SearchResult(
        np.take_along_axis(found.doc_ids, order, axis=1), np.take_along_axis(found.scores, order, axis=1)
    )
