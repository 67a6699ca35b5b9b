"""How good a search is, and what it costs: accuracy of result lists, FLOPs and evenness of embeddings.

Every accuracy is a mean over queries, in [0, 1]. Result lists are arrays of doc_ids, shape (n_queries,
at least k), best first; −1 marks a missing result and never counts as right.
"""

import numpy as np

from gossamer.arrays import AnyArray, DoubleArray, IntArray
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import ShapeError
from gossamer.results import NO_DOCUMENT, check_k


def recall_at_k(doc_ids: IntArray, exact_doc_ids: IntArray, k: int) -> float:
    """Return the share of the exact top k that was found; 1.0 for no queries.

    Missing places (−1) of the exact lists do not count. Ties are compared by doc_id: give lists that
    obey one tie rule.

    Raises
    ------
    ShapeError
        If the lists have fewer than k columns, or are of different numbers of queries.
    """
    found, exact = _top(doc_ids, k), _top(exact_doc_ids, k)
    if len(found) != len(exact):
        raise ShapeError(f"doc_ids: expected {len(exact)} queries, as in exact_doc_ids; got {len(found)}")
    n_wanted = np.count_nonzero(exact != NO_DOCUMENT)
    if n_wanted == 0:
        return 1.0
    hits = sum(np.intersect1d(f[f != NO_DOCUMENT], e).size for f, e in zip(found, exact, strict=True))
    return float(hits / n_wanted)


def hit_rate_at_k(doc_ids: IntArray, query_labels: AnyArray, document_labels: AnyArray, k: int) -> float:
    """Return the share of queries with a same-label document among their first k; NaN for no queries.

    This is what metric learning and MegaFace call Recall@K (Jégou et al. 2011; Kemelmacher-Shlizerman
    et al., "The MegaFace Benchmark", CVPR 2016).

    Raises
    ------
    ShapeError
        If the lists have fewer than k columns, or there is not one label for each query.
    """
    right = same_label(doc_ids, query_labels, document_labels, k)
    return float(right.any(axis=1).mean()) if len(right) else float("nan")


def precision_at_k(doc_ids: IntArray, query_labels: AnyArray, document_labels: AnyArray, k: int) -> float:
    """Return the share of same-label documents among the first k, missing ones counted as wrong.

    Errors as in `hit_rate_at_k`; NaN for no queries.
    """
    right = same_label(doc_ids, query_labels, document_labels, k)
    return float(right.mean()) if len(right) else float("nan")


def same_label(doc_ids: IntArray, query_labels: AnyArray, document_labels: AnyArray, k: int) -> AnyArray:
    """Return which of the first k results carry the query's label: shape (n_queries, k), bool."""
    found = _top(doc_ids, k)
    query_labels, document_labels = np.asarray(query_labels), np.asarray(document_labels)
    if query_labels.shape != (len(found),):
        raise ShapeError(f"query_labels: expected shape ({len(found)},); got {query_labels.shape}")
    if found.size and found.max() >= len(document_labels):
        raise ShapeError(
            f"document_labels: expected one for each document; got {len(document_labels)}, and doc_id {found.max()}"
        )
    if len(document_labels) == 0:
        return np.zeros(found.shape, bool)
    right: AnyArray = np.equal(document_labels[found], query_labels[:, None])
    right &= found != NO_DOCUMENT
    return right


def dim_frequencies(embeddings: SparseEmbeddings) -> DoubleArray:
    """Return p_j, the share of rows whose entry j is not zero: shape (dim,); zeros for no rows."""
    counts = np.bincount(embeddings.dims, minlength=embeddings.dim)
    return counts / max(len(embeddings), 1)


def flops_per_document(queries: SparseEmbeddings, documents: SparseEmbeddings) -> float:
    r"""Return the multiply-adds that scoring one document costs a query, on average.

    .. math:: \sum_{j=1}^{d} p_j^{query} p_j^{document}

    with p_j the share of rows whose entry j is not zero: the postings that an inverted index touches,
    divided by ``n_docs``. The paper's measure of speed (Paria et al., "Minimizing FLOPs to Learn
    Efficient Sparse Representations", ICLR 2020, arXiv:2004.05665, section 3).

    Raises
    ------
    ShapeError
        If the two have different numbers of dimensions.
    """
    if queries.dim != documents.dim:
        raise ShapeError(f"queries: expected {documents.dim} dimensions, as in the documents; got {queries.dim}")
    return float(dim_frequencies(queries) @ dim_frequencies(documents))


def suboptimality_ratio(embeddings: SparseEmbeddings) -> float:
    r"""Return how much more FLOPs these rows cost than equally sparse, perfectly even ones; at least 1.

    .. math:: R_{sub} = d \sum_j p_j^2 \Big/ \Bigl(\sum_j p_j\Bigr)^2

    Rows without any nonzero give NaN. Source: as `flops_per_document`, section 5.
    """
    p = dim_frequencies(embeddings)
    total = p.sum()
    return float(embeddings.dim * np.square(p).sum() / total**2) if total > 0 else float("nan")


def dead_dims(embeddings: SparseEmbeddings) -> IntArray:
    """Return the dimensions in which every row is zero, ascending, int32."""
    return np.flatnonzero(dim_frequencies(embeddings) == 0).astype(np.int32)


def _top(doc_ids: IntArray, k: int) -> IntArray:
    k, doc_ids = check_k(k), np.asarray(doc_ids)
    if doc_ids.ndim != 2 or doc_ids.shape[1] < k:
        raise ShapeError(f"doc_ids: expected shape (n_queries, at least k = {k}); got {doc_ids.shape}")
    return doc_ids[:, :k]
