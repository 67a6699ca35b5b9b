"""Two-stage search against plain NumPy: candidates, threshold, dense scores by explicit loops."""

import copy
import tracemalloc

import numpy as np
import pytest

from gossamer import InvertedIndex, SparseEmbeddings, TwoStageSearcher, rerank
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.rerank import TwoStageQueries
from gossamer.results import empty_result
from gossamer.study.evaluation import search_in_turns
from rows import integer_embeddings

DIM, DENSE_DIM = 24, 7


def sequential_sum(products):
    """Add float32 numbers up one by one."""
    total = np.float32(0)
    for product in products:
        total = np.float32(total + product)
    return total


def two_stage(documents, dense, queries, *, k, candidates, min_score):
    """Search by loops over every pair, and argsort."""
    found = empty_result(len(queries), k)
    sparse_documents, sparse_queries = documents.to_dense(), queries.sparse.to_dense()
    for row, (query, dense_query) in enumerate(zip(sparse_queries, queries.dense, strict=True)):
        scores = sparse_documents @ query  # small integers: exact in any order
        eligible = np.flatnonzero(((sparse_documents != 0) & (query != 0)).any(axis=1) & (scores > min_score))
        chosen = np.sort(eligible[np.argsort(-scores[eligible], kind="stable")[:candidates]])
        dense_scores = np.array(
            [sequential_sum(dense[doc_id].astype(np.float32) * dense_query) for doc_id in chosen], np.float32
        )
        order = np.argsort(-dense_scores, kind="stable")[:k]
        found.doc_ids[row, : order.size] = chosen[order]
        found.scores[row, : order.size] = dense_scores[order]
    return found


def assert_equal_results(found, expected):
    assert (found.doc_ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(found.doc_ids, expected.doc_ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def draw(rng, *, n=80, m=9, dense="real", dtype=np.float32):
    """Draw documents, their dense embeddings, and queries; ``dense`` values are real or tie often."""
    documents = integer_embeddings(rng, n=n, dim=DIM, density=0.2)
    sparse_queries = integer_embeddings(rng, n=m, dim=DIM, density=0.2)
    shapes = (n, DENSE_DIM), (m, DENSE_DIM)
    if dense == "real":
        rows, query_rows = (rng.standard_normal(shape) for shape in shapes)
    else:
        rows, query_rows = (rng.integers(-1, 2, shape) for shape in shapes)
    return documents, rows.astype(dtype), TwoStageQueries(sparse_queries, query_rows.astype(np.float32))


def mapped(dense, path):
    written = np.memmap(path, dense.dtype, "w+", shape=dense.shape)
    written[:] = dense
    written.flush()
    return np.memmap(path, dense.dtype, "r", shape=dense.shape)


@pytest.mark.parametrize("min_score", [-np.inf, 0.0, 3.0])
@pytest.mark.parametrize(("k", "candidates"), [(1, 1), (5, 20), (10, 3), (3, 10**9)])
@pytest.mark.parametrize("dense", ["real", "ties"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_results_are_the_best_candidates_by_dense_score(rng, tmp_path, *, dtype, dense, k, candidates, min_score):
    documents, rows, queries = draw(rng, dense=dense, dtype=dtype)
    expected = two_stage(documents, rows, queries, k=k, candidates=candidates, min_score=min_score)
    assert (expected.doc_ids >= 0).any()
    index = InvertedIndex.build(documents)
    for stored in (rows, mapped(rows, tmp_path / "dense"), np.asfortranarray(rows)):
        searcher = TwoStageSearcher(index, rerank=stored, candidates=candidates)
        assert_equal_results(searcher.search(queries, k, min_score=min_score), expected)


def test_equal_scores_are_ordered_by_doc_id():
    documents = SparseEmbeddings.from_dense(np.float32([[1], [5], [2], [4], [3]]))
    searcher = TwoStageSearcher(
        InvertedIndex.build(documents), rerank=np.float16([[1], [1], [2], [1], [1]]), candidates=4
    )
    found = searcher.search(TwoStageQueries(documents[:1], np.ones((1, 1))), k=4)
    assert found.doc_ids.tolist() == [[2, 1, 3, 4]]
    assert found.scores.tolist() == [[2, 1, 1, 1]]


@pytest.mark.parametrize("dense_dim", [1, 2, 9, 130, 20_000])
@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_scores_are_summed_in_ascending_order_whatever_the_shape(rng, n, dense_dim):
    documents = SparseEmbeddings.from_dense(np.ones((n, 1), np.float32))
    rows, query = rng.standard_normal((n, dense_dim)).astype(np.float32), rng.standard_normal((1, dense_dim))
    queries = TwoStageQueries(documents[:1], query)
    found = TwoStageSearcher(InvertedIndex.build(documents), rerank=rows, candidates=n).search(queries, n)
    expected = two_stage(documents, rows, queries, k=n, candidates=n, min_score=0)
    assert_equal_results(found, expected)


def test_the_embeddings_of_the_index_as_dense_ones_change_no_bit(rng):
    values = rng.standard_normal((60, DIM)) * (rng.random((60, DIM)) < 0.4)
    documents = SparseEmbeddings.from_dense(values)
    queries = TwoStageQueries(documents, documents.to_dense())
    index = InvertedIndex.build(documents)
    searcher = TwoStageSearcher(index, rerank=documents.to_dense(), candidates=60)
    for min_score in (0.0, -np.inf):
        found = searcher.search(queries, 8, min_score=min_score)
        assert_equal_results(found, index.search(documents, 8, min_score=min_score))


def test_results_do_not_depend_on_batches_threads_or_blocks(rng, monkeypatch):
    documents, rows, queries = draw(rng, m=11)
    searcher = TwoStageSearcher(InvertedIndex.build(documents), rerank=rows, candidates=12)
    expected = searcher.search(queries, 5)
    timed = search_in_turns({"two stages": (searcher, queries)}, k=5, rounds=1)
    assert_equal_results(timed["two stages"].found, expected)
    assert_equal_results(searcher.search(queries, 5, n_threads=3), expected)
    monkeypatch.setattr(rerank, "_QUERIES_PER_BLOCK", 4)
    assert_equal_results(searcher.search(queries, 5), expected)


def test_queries_are_selected_like_rows(rng):
    _, _, queries = draw(rng, m=6)
    for rows in (slice(2, 4), np.array([5, 0]), np.arange(6) % 2 == 0, slice(3, 3)):
        selected = queries[rows]
        np.testing.assert_array_equal(selected.dense, queries.dense[rows])
        np.testing.assert_array_equal(selected.sparse.to_dense(), queries.sparse.to_dense()[rows])
        assert len(selected) == len(queries.dense[rows])
        assert not selected.dense.flags.writeable
    with pytest.raises(ShapeError, match=r"For one row, take \[\[2\]\]"):
        queries[2]
    again = copy.deepcopy(queries)
    np.testing.assert_array_equal(again.dense, queries.dense)


def test_queries_lose_their_small_sparse_entries_alone(rng):
    _, _, queries = draw(rng, m=6)
    kept = queries.at_least(2)
    sparse = queries.sparse.to_dense()
    np.testing.assert_array_equal(kept.sparse.to_dense(), np.where(np.abs(sparse) >= 2, sparse, 0))
    assert kept.dense is queries.dense


def test_queries_are_a_copy_that_cannot_be_written(rng):
    sparse, dense = integer_embeddings(rng, n=2, dim=DIM, density=0.5), np.ones((2, 3), np.float32)
    queries = TwoStageQueries(sparse.to_scipy(), dense)
    dense[0, 0] = np.nan
    assert (queries.dense == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        queries.dense[0, 0] = 2


def test_queries_without_candidates_find_nothing():
    documents = SparseEmbeddings.from_dense(np.float32([[1, 0, 0], [0, 2, 0]]))
    searcher = TwoStageSearcher(InvertedIndex.build(documents), rerank=np.ones((2, 2), np.float32), candidates=5)
    sparse = SparseEmbeddings.from_dense(np.float32([[0, 0, 1], [0, 0, 0], [1, 1, 0]]))
    found = searcher.search(TwoStageQueries(sparse, -np.ones((3, 2))), k=3)
    assert found.doc_ids.tolist() == [[-1, -1, -1], [-1, -1, -1], [0, 1, -1]]
    assert found.scores.tolist() == [[-np.inf] * 3, [-np.inf] * 3, [-2, -2, -np.inf]]
    assert (searcher.search(TwoStageQueries(sparse, np.ones((3, 2))), k=3, min_score=2).doc_ids == -1).all()


def test_no_documents_and_no_queries_are_answered(rng):
    documents, rows, queries = draw(rng, n=5)
    empty = TwoStageSearcher(InvertedIndex.build(documents[:0]), rerank=rows[:0], candidates=3)
    assert (empty.search(queries, k=4).doc_ids == -1).all()
    searcher = TwoStageSearcher(InvertedIndex.build(documents), rerank=rows, candidates=3)
    assert searcher.search(queries[:0], k=4).doc_ids.shape == (0, 4)


def test_a_memory_map_is_not_read_as_a_whole(tmp_path):
    n, dense_dim = 200_000, 64
    path = tmp_path / "dense"
    mapped_rows = np.memmap(path, np.float32, "w+", shape=(n, dense_dim))  # zeros: takes no room on the disk
    mapped_rows[[7, n - 1]] = 1
    sparse = np.zeros((n, 1), np.float32)
    sparse[[7, n - 2, n - 1]] = 1
    index = InvertedIndex.build(SparseEmbeddings.from_dense(sparse))
    queries = TwoStageQueries(SparseEmbeddings.from_dense(np.ones((1, 1), np.float32)), np.ones((1, dense_dim)))
    TwoStageSearcher(index, rerank=mapped_rows, candidates=10).search(queries)  # compiles outside the count
    tracemalloc.start()
    try:
        searcher = TwoStageSearcher(index, rerank=mapped_rows, candidates=10)
        found = searcher.search(queries, k=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.doc_ids.tolist() == [[7, n - 1, n - 2]]
    assert found.scores.tolist() == [[64, 64, 0]]
    assert peak < mapped_rows.nbytes / 10
    assert (searcher.n_docs, searcher.size_bytes) == (n, index.size_bytes + mapped_rows.nbytes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_candidate_without_a_finite_score_is_refused_by_name(bad):
    documents = SparseEmbeddings.from_dense(np.float32([[1, 0], [1, 0], [1, 0], [0, 1]]))
    rows = np.ones((4, 2), np.float32)
    rows[2] = bad
    searcher = TwoStageSearcher(InvertedIndex.build(documents), rerank=rows, candidates=4)
    queries = TwoStageQueries(documents, np.ones((4, 2)))
    with pytest.raises(EmbeddingsError, match="document 2 scores"):
        searcher.search(queries, k=1)
    assert searcher.search(queries[3:], k=2).doc_ids.tolist() == [[3, -1]]  # 2 is no candidate: not read


def test_bad_documents_are_refused(rng):
    documents, rows, _ = draw(rng, n=5)
    index = InvertedIndex.build(documents)
    for bad in (rows[:4], rows[0], rows[:, :0], rows[None]):
        with pytest.raises(ShapeError, match=r"rerank: expected shape \(5, dense_dim\)"):
            TwoStageSearcher(index, rerank=bad, candidates=3)
    for dtype in (np.float64, np.int32, np.complex64, object, ">f4"):
        with pytest.raises(EmbeddingsError, match="rerank: expected float16 or float32; got dtype"):
            TwoStageSearcher(index, rerank=rows.astype(dtype), candidates=3)
    with pytest.raises(EmbeddingsError, match="rerank: expected a NumPy array or memory map; got list"):
        TwoStageSearcher(index, rerank=rows.tolist(), candidates=3)
    for bad in (0, -1, 2.5, "3"):
        with pytest.raises(ArgumentError, match="candidates: expected a whole number of at least 1"):
            TwoStageSearcher(index, rerank=rows, candidates=bad)


def test_bad_queries_are_refused(rng):
    sparse, dense = integer_embeddings(rng, n=3, dim=DIM, density=0.3), np.ones((3, DENSE_DIM))
    for bad in (dense[:2], dense[0], dense[None]):
        with pytest.raises(ShapeError, match=r"dense: expected shape \(3, dense_dim\)"):
            TwoStageQueries(sparse, bad)
    for dtype in (np.int64, np.complex64, object):
        with pytest.raises(EmbeddingsError, match="dense: expected float16, float32 or float64; got dtype"):
            TwoStageQueries(sparse, dense.astype(dtype))
    for value in (np.nan, np.inf, 1e300):
        dense[1, 2] = value
        with pytest.raises(EmbeddingsError, match="dense: expected finite float32 values; row 1 holds others"):
            TwoStageQueries(sparse, dense)


def test_bad_searches_are_refused_even_without_queries(rng):
    documents, rows, queries = draw(rng, n=5)
    searcher = TwoStageSearcher(InvertedIndex.build(documents), rerank=rows, candidates=3)
    other = integer_embeddings(rng, n=len(queries), dim=DIM + 1, density=0.3)
    for part in (slice(None), slice(0, 0)):
        with pytest.raises(ShapeError, match="queries: expected 7 dense dimensions, as in rerank; got 6"):
            searcher.search(TwoStageQueries(queries.sparse, queries.dense[:, 1:])[part])
        with pytest.raises(ShapeError, match="queries: expected 24 dimensions, as in the index; got 25"):
            searcher.search(TwoStageQueries(other, queries.dense)[part])
        with pytest.raises(ArgumentError, match="k: expected"):
            searcher.search(queries[part], k=0)
        with pytest.raises(ArgumentError, match="min_score: expected a number"):
            searcher.search(queries[part], min_score=np.nan)
        with pytest.raises(ArgumentError, match="n_threads: expected"):
            searcher.search(queries[part], n_threads=0)
    with pytest.raises(ArgumentError, match=r"queries: expected TwoStageQueries\(sparse, dense\); got SparseEmb"):
        searcher.search(queries.sparse)
