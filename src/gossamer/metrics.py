"""How good a search is, and what it costs: accuracy of result lists, FLOPs and evenness of embeddings.

Every accuracy is a mean over queries, in [0, 1]. Result lists are arrays of doc_ids, shape (n_queries,
at least k), best first; −1 marks a missing result and never counts as right.
"""

from collections.abc import Sequence

import numpy as np

from gossamer.arrays import AnyArray, DoubleArray, IntArray, OffsetArray
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import ArgumentError, ShapeError
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


def count_same_label(query_labels: AnyArray, document_labels: AnyArray) -> OffsetArray:
    """Return how many documents share each query's label, shape (n_queries,).

    >>> count_same_label(np.array(["b", "z"]), np.array(["a", "b", "b"]))
    array([2, 0])
    """
    classes, counts = np.unique(document_labels, return_counts=True)
    n_of_class = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    return np.array([n_of_class.get(label, 0) for label in np.asarray(query_labels).tolist()], np.int64)


def item_recall_at_k(doc_ids: IntArray, held_out: Sequence[AnyArray], k: int) -> float:
    r"""Return the share of a user's held-out items among the first k, averaged over users.

    .. math:: \frac{1}{|U|} \sum_{u \in U} \frac{|\text{top}_k(u) \cap H_u|}{|H_u|}

    with H_u the held-out items of user u, each counted once, and U the users that have any; NaN if none has.
    A user with more than k held-out items cannot reach 1: Liang et al. (below) divide by min(k, \|H_u\|).

    Parameters
    ----------
    doc_ids : array, shape (n_users, at least k)
        The items found for each user, best first.
    held_out : sequence of n_users arrays of integers
        The doc_ids of each user's held-out items, in any order.
    k : int
        How many of the items found count.

    Raises
    ------
    ShapeError
        If the lists have fewer than k columns, or there is not one array of held-out items for each user.

    References
    ----------
    Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018, arXiv:1802.05814.

    Examples
    --------
    >>> found = np.int32([[4, 7, 1], [2, 0, 3]])
    >>> item_recall_at_k(found, [np.array([7, 9]), np.array([2])], 3)  # one of two, one of one
    0.75
    """
    shares = [right.sum() / n_held for right, n_held in _held_out_found(doc_ids, held_out, k)]
    return float(np.mean(shares)) if shares else float("nan")


def ndcg_at_k(doc_ids: IntArray, held_out: Sequence[AnyArray], k: int) -> float:
    r"""Return the normalized discounted cumulative gain of the first k, averaged over users.

    .. math:: \sum_{r=1}^{k} \frac{[\text{item at rank } r \in H_u]}{\log_2(r + 1)} \Bigg/
        \sum_{r=1}^{\min(k, |H_u|)} \frac{1}{\log_2(r + 1)}

    An item is relevant or not. Parameters, errors and users without held-out items as in
    `item_recall_at_k`. Source: Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques",
    ACM TOIS 20(4), 2002, in the binary form of Liang et al. (there).

    Examples
    --------
    >>> ndcg_at_k(np.int32([[4, 7, 1]]), [np.array([7])], 3)  # 1 / log2(3), of at best 1
    0.6309297535714575
    """
    discounts = 1 / np.log2(np.arange(2, check_k(k) + 2))
    gains = [right @ discounts / discounts[:n_held].sum() for right, n_held in _held_out_found(doc_ids, held_out, k)]
    return float(np.mean(gains)) if gains else float("nan")


def true_accept_rate(genuine_scores: AnyArray, impostor_scores: AnyArray, false_accept_rate: float) -> float:
    """Return the share of genuine pairs accepted at a threshold that accepts few enough impostor pairs.

    A pair is accepted if its score exceeds the threshold: the lowest at which at most the share
    ``false_accept_rate`` of the impostor pairs is accepted. Impostor scores that tie there are all rejected,
    so a rate below one pair in ``impostor_scores.size`` puts the threshold at the best impostor. NaN if
    either kind of pair is missing. Source: Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016.

    Parameters
    ----------
    genuine_scores, impostor_scores : arrays, shape (n,)
        Scores of pairs of the same class, and of pairs of different classes; -inf is a score like any other.
    false_accept_rate : float
        From 0 to 1.

    Raises
    ------
    ArgumentError
        If the rate is not from 0 to 1.

    Examples
    --------
    >>> true_accept_rate(np.float32([0.9, 0.6, 0.5]), np.float32([0.8, 0.5, 0.3, 0.1]), 0.25)  # above 0.5
    0.6666666666666666
    """
    if not 0 <= false_accept_rate <= 1:
        raise ArgumentError(f"false_accept_rate: expected a number from 0 to 1; got {false_accept_rate!r}")
    genuine, impostors = np.asarray(genuine_scores), np.asarray(impostor_scores)
    if not genuine.size or not impostors.size:
        return float("nan")
    n_accepted = allowed_false_accepts(impostors.size, false_accept_rate)
    if n_accepted == impostors.size:
        return 1.0
    threshold = np.partition(impostors, impostors.size - n_accepted - 1)[impostors.size - n_accepted - 1]
    return float(np.mean(genuine > threshold))


def allowed_false_accepts(n_impostors: int, false_accept_rate: float) -> int:
    """Return how many impostor pairs a false accept rate allows: the whole number at or below the product."""
    return int(n_impostors * false_accept_rate + 1e-9)  # 100 * 0.29 is 28.999…


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


def class_suboptimality_ratio(dim: int, nnz_per_row: float, n_classes: int) -> float:
    r"""Return the `suboptimality_ratio` to expect of few classes, however even the dimensions are by themselves.

    .. math:: 1 + \frac{d / s - 1}{C}

    Each of C classes uses s of d dimensions, a set drawn at random, in all of its rows, of which every class has as
    many. Then each p_j is the mean of C draws that are 1 with probability q = s/d, so that its square is
    :math:`q^2 + q (1 - q) / C` on average, while :math:`\sum_j p_j = s`. A ratio near it says that there are few
    classes, not that training left dimensions uneven. No bound: rows of one class that differ go below it, and so
    would classes that share the dimensions out between them.

    Parameters
    ----------
    dim : int
        d, at least 1.
    nnz_per_row : float
        s, above 0 and at most d.
    n_classes : int
        C, at least 1.

    Raises
    ------
    ArgumentError
        If a number is out of its range.

    Examples
    --------
    >>> class_suboptimality_ratio(512, 16, 31)
    2.0
    >>> class_suboptimality_ratio(512, 512, 1)  # dense rows are even
    1.0
    """
    if dim < 1 or n_classes < 1 or not 0 < nnz_per_row <= dim:
        raise ArgumentError(
            "dim, nnz_per_row, n_classes: expected at least one dimension and class, and nonzeros above 0 and at most "
            f"dim; got {dim}, {nnz_per_row} and {n_classes}"
        )
    return float(1 + (dim / nnz_per_row - 1) / n_classes)


def dead_dims(embeddings: SparseEmbeddings) -> IntArray:
    """Return the dimensions in which every row is zero, ascending, int32."""
    return np.flatnonzero(dim_frequencies(embeddings) == 0).astype(np.int32)


def _top(doc_ids: IntArray, k: int) -> IntArray:
    k, doc_ids = check_k(k), np.asarray(doc_ids)
    if doc_ids.ndim != 2 or doc_ids.shape[1] < k:
        raise ShapeError(f"doc_ids: expected shape (n_queries, at least k = {k}); got {doc_ids.shape}")
    return doc_ids[:, :k]


def _held_out_found(doc_ids: IntArray, held_out: Sequence[AnyArray], k: int) -> list[tuple[AnyArray, int]]:
    """Return, of each user with held-out items, which of the first k are among them, and how many there are."""
    found = _top(doc_ids, k)
    if len(held_out) != len(found):
        raise ShapeError(f"held_out: expected one array for each of {len(found)} users; got {len(held_out)}")
    rows = []
    for row, items in zip(found, held_out, strict=True):
        wanted = np.unique(items)
        if wanted.size:
            rows.append((np.isin(row, wanted) & (row != NO_DOCUMENT), wanted.size))
    return rows
