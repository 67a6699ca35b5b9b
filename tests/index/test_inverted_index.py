"""The index against scoring every document: ids and scores, to the bit."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from gossamer import Catalog, InvertedIndex, SparseEmbeddings
from gossamer.errors import ArgumentError, EmbeddingsError, ShapeError
from gossamer.kernels import reference
from rows import csr, integer_embeddings


def exhaustive_search(documents, queries, k, min_score=0.0):
    """Score every document from dense rows, one rounded product and one rounded sum at a time."""
    doc_ids, scores = np.full((len(queries), k), -1, np.int32), np.full((len(queries), k), -np.inf, np.float32)
    for row, query in enumerate(queries):
        sums = np.zeros(len(documents), np.float32)
        for j in range(documents.shape[1]):
            sums += documents[:, j] * query[j]
        shares = ((documents != 0) & (query != 0)).any(axis=1)
        results = sorted((-float(sums[i]), i) for i in np.flatnonzero(shares) if float(sums[i]) > min_score)[:k]
        doc_ids[row, : len(results)] = [i for _, i in results]
        scores[row, : len(results)] = [-negative for negative, _ in results]
    return doc_ids, scores


def assert_same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert (found[0].dtype, found[1].dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("k", [1, 10, 300, 305])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_search_equals_scoring_every_document(rng, density, k, n_threads):
    documents = integer_embeddings(rng, n=300, dim=32, density=density)
    queries = integer_embeddings(rng, n=20, dim=32, density=density)
    index = InvertedIndex.build(documents)
    for min_score in (0.0, -3.0, 2.0):
        found = index.search(queries, k, min_score=min_score, n_threads=n_threads)
        assert_same(found, exhaustive_search(documents.to_dense(), queries.to_dense(), k, min_score))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    n_queries=st.integers(0, 20),
    k=st.integers(1, 70),
    min_score=st.one_of(st.sampled_from([0.0, -0.0, 1e-300, -1e-300, 0.1, -np.inf, np.inf]), st.floats(-3, 3)),
    n_threads=st.sampled_from([1, 3]),
    share=st.sampled_from([None, 1, 0.5, 0.1, 0]),
)
def test_search_is_exact_on_real_values(*, seed, n, n_queries, k, min_score, n_threads, share):
    rng = np.random.default_rng(seed)
    # Few real values: cancelling sums, sums that nearly tie, and sums that do.
    pool = np.float32([0, 0, 0.1, -0.1, 1 / 3, 1e-30, -1e-38, rng.standard_normal(), rng.standard_normal()])
    documents, queries = rng.choice(pool, (n, 8)), rng.choice(pool, (n_queries, 8))
    index = InvertedIndex.build(SparseEmbeddings.from_dense(documents))
    within = None if share is None else np.flatnonzero(rng.random(n) < share).astype(np.int32)
    options = {"min_score": min_score, "within": within, "n_threads": n_threads}
    found = index.search(SparseEmbeddings.from_dense(queries), k, **options)
    if within is not None:
        documents[np.setdiff1d(np.arange(n), within)] = 0  # what shares no dimension is not found
    assert_same(found, exhaustive_search(documents, queries, k, min_score))


@pytest.fixture(scope="module")
def two_windows():
    """More documents than 16 bits can number, with ties across them."""
    rng = np.random.default_rng(5)
    n = 70_000
    dims, values = rng.integers(0, 6, n), rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], n)
    documents = SparseEmbeddings(np.arange(n + 1), dims, values, dim=6)
    return documents, integer_embeddings(rng, n=4, dim=6, density=0.6)


@pytest.mark.parametrize("k", [1, 10, 1000, 70_005])
@pytest.mark.parametrize("min_score", [0.0, -2.5, -np.inf])
def test_search_is_exact_over_several_windows(two_windows, k, min_score):
    documents, queries = two_windows
    found = InvertedIndex.build(documents).search(queries, k, min_score=min_score, n_threads=2)
    assert_same(found, reference.search(csr(documents), csr(queries), k, min_score))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.001])
def test_results_do_not_depend_on_how_queries_are_shared(two_windows, monkeypatch, share):
    documents, _ = two_windows
    rng = np.random.default_rng(7)
    queries = integer_embeddings(rng, n=60, dim=6, density=0.6)
    within = np.flatnonzero(rng.random(len(documents)) < share).astype(np.int32)
    index = InvertedIndex.build(documents)
    together = index.search(queries, 7, within=within)
    assert_same(together, reference.search(csr(documents), csr(queries), 7, 0.0, within))
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    for n_threads in (2, 3, 1000):
        assert_same(index.search(queries, 7, within=within, n_threads=n_threads), together)
    for size in (1, 5, 12):
        for row in range(0, 60, 20):
            few = index.search(queries[row : row + size], 7, within=within)
            assert_same(few, (together.doc_ids[row : row + size], together.scores[row : row + size]))


@pytest.mark.parametrize("limit", ["_MAX_QUERIES_PER_BLOCK", "_MAX_RANKS", "_MAX_WORK_PER_CALL"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_results_do_not_depend_on_the_limits_of_memory_and_of_a_call(two_windows, monkeypatch, limit, n_threads):
    documents, _ = two_windows
    queries = integer_embeddings(np.random.default_rng(8), n=25, dim=6, density=0.6)
    index = InvertedIndex.build(documents)
    expected = index.search(queries, 7)
    for value in (1, 100):
        monkeypatch.setattr(f"gossamer.index.inverted_index.{limit}", value)
        assert_same(index.search(queries, 7, n_threads=n_threads), expected)


def test_several_threads_may_search_one_index(rng):
    documents = integer_embeddings(rng, n=2000, dim=16, density=0.3)
    index = InvertedIndex.build(documents)
    expected = index.search(documents[:50], 5)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: index.search(documents[:50], 5, n_threads=2), range(40)):
            assert_same(found, expected)


@pytest.mark.parametrize("n_queries", [1, 4, 30])
@pytest.mark.parametrize("min_score", [0.0, -2.5])
def test_a_subset_is_searched_exactly_over_several_windows(two_windows, n_queries, min_score):
    documents, _ = two_windows
    queries = integer_embeddings(np.random.default_rng(9), n=n_queries, dim=6, density=0.6)
    index, n = InvertedIndex.build(documents), len(documents)
    for subset in (
        range(n),
        range(n - 1),
        range(65_536),
        range(65_530, 65_540),
        range(0, n, 2),
        range(3, n, 5000),
        [n - 1],
    ):
        within = np.array(subset, np.int32)
        found = index.search(queries, 7, min_score=min_score, within=within)
        assert_same(found, reference.search(csr(documents), csr(queries), 7, min_score, within))


def test_an_empty_subset_gives_no_results(rng):
    rows = integer_embeddings(rng, n=30, dim=4, density=0.5)
    for index in (InvertedIndex.build(rows), InvertedIndex.build(rows[:0])):
        found = index.search(rows, 5, min_score=-np.inf, within=np.zeros(0, np.int32))
        assert (found.doc_ids == -1).all()
        assert (found.scores == -np.inf).all()
        assert found.doc_ids.shape == found.scores.shape == (30, 5)


def test_a_subset_may_be_a_view_of_every_second_entry_and_is_left_as_it_was(rng):
    rows = integer_embeddings(rng, n=30, dim=4, density=0.5)
    index, every = InvertedIndex.build(rows), np.arange(30, dtype=np.int32)
    assert_same(index.search(rows, 5, within=every[::2]), index.search(rows, 5, within=every[::2].copy()))
    assert every.flags.writeable
    assert every.tolist() == list(range(30))


@pytest.mark.parametrize(
    ("within", "error", "sentence"),
    [
        (np.int32([3, 1]), ArgumentError, "expected ascending doc_ids; got 1 after 3. Use numpy.unique"),
        (np.int32([1, 3, 3]), ArgumentError, "expected ascending doc_ids; got 3 after 3"),
        (np.int32([-1, 3]), ArgumentError, "expected doc_ids from 0 to n_docs - 1 = 29; got -1"),
        (np.int32([3, 30]), ArgumentError, "expected doc_ids from 0 to n_docs - 1 = 29; got 30"),
        (np.array([1, 2]), ArgumentError, "expected doc_ids of dtype int32; got int64. Convert with"),
        (np.zeros(0), ArgumentError, "expected doc_ids of dtype int32; got float64"),
        (np.ones(30, bool), ArgumentError, "expected doc_ids of dtype int32; got bool"),
        ([1, 2], ArgumentError, "expected doc_ids of dtype int32; got int64"),
        (np.int32([[1, 2]]), ShapeError, r"expected a vector of doc_ids; got shape \(1, 2\)"),
        (np.int32(1), ShapeError, r"expected a vector of doc_ids; got shape \(\)"),
    ],
)
def test_a_subset_that_is_not_ascending_doc_ids_is_refused(rng, within, error, sentence):
    rows = integer_embeddings(rng, n=30, dim=4, density=0.5)
    with pytest.raises(error, match=f"^within: {sentence}"):
        InvertedIndex.build(rows).search(rows, within=within)


@pytest.mark.parametrize("min_score", [0.1, float(np.float32(0.1)), np.float32(0.1), 1, Fraction(1, 10)])
def test_min_score_is_compared_as_a_real_number(min_score):
    # The scores 1 and float32(0.1), which is above the float64 0.1.
    index = InvertedIndex.build(SparseEmbeddings.from_dense(np.float32([[0.1], [1]])))
    found = index.search(SparseEmbeddings.from_dense(np.float32([[1]])), 2, min_score=min_score)
    expected = [doc_id for doc_id, score in [(1, 1.0), (0, float(np.float32(0.1)))] if score > min_score]
    assert [doc_id for doc_id in found.doc_ids[0].tolist() if doc_id >= 0] == expected


@pytest.mark.parametrize(("min_score", "n_found"), [(-1e300, 2), (1e300, 0), (10**400, 0), (-(10**400), 2)])
def test_min_score_may_lie_beyond_float32(min_score, n_found):
    index = InvertedIndex.build(SparseEmbeddings.from_dense(np.float32([[1e19], [-1e19]])))
    query = SparseEmbeddings.from_dense(np.float32([[1e19]]))
    assert (index.search(query, 2, min_score=min_score).doc_ids >= 0).sum() == n_found


def test_nothing_to_search_and_nothing_to_ask_are_answered(rng):
    rows = integer_embeddings(rng, n=3, dim=4, density=0.5)
    for index in (InvertedIndex.build(rows[:0]), InvertedIndex.build(rows)):
        assert index.search(rows[:0], 5).doc_ids.shape == (0, 5)
        assert index.search(rows[:0], 5, n_threads=3).scores.shape == (0, 5)
    nothing = InvertedIndex.build(rows[:0])
    assert (nothing.n_docs, nothing.nnz, nothing.list_lengths.tolist()) == (0, 0, [0] * 4)
    assert (nothing.search(rows, 2).doc_ids == -1).all()


def test_scipy_rows_are_taken_and_explicit_zeros_do_not_count():
    rows = sparse.csr_array((np.float32([1, 0, 2]), np.int32([0, 1, 1]), np.int32([0, 2, 3])), shape=(2, 3))
    index = InvertedIndex.build(rows)
    assert index.nnz == 2
    assert index.search(rows, 2, min_score=-np.inf).doc_ids.tolist() == [[0, -1], [1, -1]]


def test_the_facts_of_an_index_are_those_of_its_rows(rng):
    rows = integer_embeddings(rng, n=50, dim=8, density=0.3)
    index = InvertedIndex.build(rows)
    assert (index.n_docs, index.dim, index.nnz) == (50, 8, rows.nnz)
    assert index.list_lengths.tolist() == (rows.to_dense() != 0).sum(axis=0).tolist()
    assert index.size_bytes == 6 * rows.nnz + 8 * (8 + 1)
    assert repr(index) == f"InvertedIndex(50 documents, dim 8, {rows.nnz} postings)"
    assert index.catalog.key(3) == "3"


def test_an_index_has_the_catalog_it_was_given(rng):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    catalog = Catalog(n=2, keys=["a", "b"])
    assert InvertedIndex.build(rows, catalog=catalog).catalog is catalog
    with pytest.raises(ShapeError, match="catalog: expected names for 2 rows; got 3"):
        InvertedIndex.build(rows, catalog=Catalog(n=3))


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None])
@pytest.mark.parametrize("name", ["k", "n_threads"])
def test_counts_below_one_are_refused(rng, name, number):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ArgumentError, match=f"{name}: expected a whole number of at least 1; got"):
        InvertedIndex.build(rows).search(rows, **{name: number})


@pytest.mark.parametrize("min_score", [np.nan, "0", None])
def test_a_min_score_that_is_no_number_is_refused(rng, min_score):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ArgumentError, match="min_score: expected a number"):
        InvertedIndex.build(rows).search(rows, min_score=min_score)


def test_queries_of_another_dim_are_refused(rng):
    index = InvertedIndex.build(integer_embeddings(rng, n=2, dim=8, density=0.3))
    with pytest.raises(ShapeError, match=r"queries: expected 8 dimensions, as in the index; got 9\. Were they encoded"):
        index.search(integer_embeddings(rng, n=2, dim=9, density=0.3))


def test_rows_of_another_type_are_refused(rng):
    index = InvertedIndex.build(integer_embeddings(rng, n=2, dim=8, density=0.3))
    for refuse in (InvertedIndex.build, index.search):
        with pytest.raises(EmbeddingsError, match="rows: expected SparseEmbeddings or a scipy CSR"):
            refuse(np.ones((2, 8), np.float32))


def test_more_documents_than_int32_can_number_are_refused():
    indptr = np.broadcast_to(np.int64(0), 2**31 + 1)  # takes no memory
    rows = SparseEmbeddings._trusted(indptr, np.zeros(0, np.int32), np.zeros(0, np.float32), 4)
    with pytest.raises(EmbeddingsError, match="rows: expected at most 2147483647; got 2147483648"):
        InvertedIndex.build(rows)


def test_importing_the_index_loads_no_compiler():
    program = "import sys, gossamer.index; print('numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_compiling_is_announced_once_and_cached_kernels_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    program = (
        "import logging, numpy as np, gossamer\n"
        "logging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s')\n"
        "rows = gossamer.SparseEmbeddings.from_dense(np.eye(2, dtype=np.float32))\n"
        "gossamer.InvertedIndex.build(rows).search(rows)\n"
    )
    logs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
        for _ in range(2)
    ]
    assert logs[0].startswith("gossamer.kernels: Compiling the search kernels")
    assert logs[0].count("\n") == 1
    assert logs[1] == ""
