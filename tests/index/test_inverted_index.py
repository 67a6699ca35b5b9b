"""The index against scoring every document: ids and scores, to the bit."""

import functools
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
from gossamer.index import contents
from gossamer.index.contents import BLOCK_SIZE, PLANS
from gossamer.kernels import reference
from rows import csr, integer_embeddings
from search_cases import clustered


@pytest.fixture(params=["auto", *PLANS])
def build(request):
    """Build an index under one of the plans; what is tested with it holds under each."""
    return functools.partial(InvertedIndex.build, plan=request.param)


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
def test_search_equals_scoring_every_document(rng, build, density, k, n_threads):
    documents = integer_embeddings(rng, n=300, dim=32, density=density)
    queries = integer_embeddings(rng, n=20, dim=32, density=density)
    index = build(documents)
    for min_score in (0.0, -3.0, 2.0):
        found = index.search(queries, k, min_score=min_score, n_threads=n_threads)
        assert_same(found, exhaustive_search(documents.to_dense(), queries.to_dense(), k, min_score))


@given(
    seed=st.integers(0, 2**32 - 1),
    plan=st.sampled_from(PLANS),
    n=st.integers(0, 100),
    n_queries=st.integers(0, 40),
    k=st.integers(1, 110),
    min_score=st.one_of(st.sampled_from([0.0, -0.0, 1e-300, -1e-300, 0.1, -np.inf, np.inf]), st.floats(-3, 3)),
    n_threads=st.sampled_from([1, 3]),
    share=st.sampled_from([None, 1, 0.5, 0.1, 0]),
)
def test_search_is_exact_on_real_values(*, seed, plan, n, n_queries, k, min_score, n_threads, share):
    rng = np.random.default_rng(seed)
    # Few real values: cancelling sums, sums that nearly tie, and sums that do.
    pool = np.float32([0, 0, 0.1, -0.1, 1 / 3, 1e-30, -1e-38, rng.standard_normal(), rng.standard_normal()])
    documents, queries = rng.choice(pool, (n, 8)), rng.choice(pool, (n_queries, 8))
    index = InvertedIndex.build(SparseEmbeddings.from_dense(documents), plan=plan)
    within = None if share is None else np.flatnonzero(rng.random(n) < share).astype(np.int32)
    options = {"min_score": min_score, "within": within, "n_threads": n_threads}
    found = index.search(SparseEmbeddings.from_dense(queries), k, **options)
    if within is not None:
        documents[np.setdiff1d(np.arange(n), within)] = 0  # what shares no dimension is not found
    assert_same(found, exhaustive_search(documents, queries, k, min_score))


@pytest.fixture(scope="module", params=PLANS)
def two_windows(request):
    """More documents than 16 bits can number, with ties across them, and their index under every plan."""
    rng = np.random.default_rng(5)
    n = 70_000
    dims, values = rng.integers(0, 6, n), rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], n)
    documents = SparseEmbeddings(np.arange(n + 1), dims, values, dim=6)
    return documents, InvertedIndex.build(documents, plan=request.param)


@pytest.fixture(scope="module", params=PLANS)
def many_windows(request):
    """Rows that make blocks worth opening, in windows of 16 of them, and their index under every plan."""
    documents, queries = clustered(np.random.default_rng(6), n=3000, integers=True, n_queries=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gossamer.index.contents.WINDOW", 16)
        return documents, queries, InvertedIndex.build(documents, plan=request.param)


@pytest.mark.parametrize("k", [1, 10, 1000, 70_005])
@pytest.mark.parametrize("min_score", [0.0, -2.5, -np.inf])
def test_search_is_exact_over_several_windows(two_windows, k, min_score):
    documents, index = two_windows
    queries = integer_embeddings(np.random.default_rng(5), n=4, dim=6, density=0.6)
    found = index.search(queries, k, min_score=min_score, n_threads=2)
    assert_same(found, reference.search(csr(documents), csr(queries), k, min_score))


@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("min_score", [0.0, -2.5, 40.0])
def test_search_is_exact_over_many_windows(many_windows, k, min_score):
    documents, queries, index = many_windows
    found = index.search(queries, k, min_score=min_score)
    assert_same(found, reference.search(csr(documents), csr(queries), k, min_score))
    within = np.arange(0, len(documents), 3, dtype=np.int32)
    for asked in (queries, queries[:2]):
        found = index.search(asked, k, min_score=min_score, within=within)
        assert_same(found, reference.search(csr(documents), csr(asked), k, min_score, within))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.001])
def test_results_do_not_depend_on_how_queries_are_shared(two_windows, monkeypatch, share):
    documents, index = two_windows
    rng = np.random.default_rng(7)
    queries = integer_embeddings(rng, n=60, dim=6, density=0.6)
    within = np.flatnonzero(rng.random(len(documents)) < share).astype(np.int32)
    together = index.search(queries, 7, within=within)
    assert_same(together, reference.search(csr(documents), csr(queries), 7, 0.0, within))
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    for n_threads in (2, 3, 1000):
        assert_same(index.search(queries, 7, within=within, n_threads=n_threads), together)
    for size in (1, 5, 12):
        for row in range(0, 60, 20):
            few = index.search(queries[row : row + size], 7, within=within)
            assert_same(few, (together.doc_ids[row : row + size], together.scores[row : row + size]))


@pytest.mark.parametrize(
    "limit", ["inverted_index._MAX_QUERIES_PER_BLOCK", "inverted_index._MAX_RANKS", "searching._MAX_WORK_PER_CALL"]
)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_results_do_not_depend_on_the_limits_of_memory_and_of_a_call(many_windows, monkeypatch, limit, n_threads):
    _, queries, index = many_windows
    expected = index.search(queries, 7)
    for value in (1, 100):
        monkeypatch.setattr(f"gossamer.index.{limit}", value)
        assert_same(index.search(queries, 7, n_threads=n_threads), expected)


def test_more_threads_than_processors_and_than_queries_change_nothing(many_windows):
    _, queries, index = many_windows
    expected = index.search(queries, 7)
    for n_threads in (2, 31, 10_000):
        assert_same(index.search(queries, 7, n_threads=n_threads), expected)


def test_several_threads_may_search_one_index(two_windows):
    documents, index = two_windows  # so many that searches take long enough to overlap
    queries = integer_embeddings(np.random.default_rng(10), n=40, dim=6, density=0.6)
    within = np.arange(5, len(documents), 2, dtype=np.int32)
    settings = [{}, {"n_threads": 2}, {"within": within}, {"min_score": 2.0}, {"effort": 0.9}, {"min_score": -np.inf}]
    jobs = [(queries[first : first + 10], options) for first in (0, 10, 20, 30) for options in settings]
    expected = [index.search(asked, 100, **options) for asked, options in jobs]
    order = np.random.default_rng(0).permutation(4 * len(jobs)) % len(jobs)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda job: index.search(jobs[job][0], 100, **jobs[job][1]), order)
        for job, result in zip(order, found, strict=True):
            assert_same(result, expected[job])


@pytest.mark.parametrize("n_queries", [1, 4, 40])
@pytest.mark.parametrize("min_score", [0.0, -2.5])
def test_a_subset_is_searched_exactly_over_several_windows(two_windows, n_queries, min_score):
    documents, index = two_windows
    queries, n = integer_embeddings(np.random.default_rng(9), n=n_queries, dim=6, density=0.6), len(documents)
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


def test_an_empty_subset_gives_no_results(rng, build):
    rows = integer_embeddings(rng, n=30, dim=4, density=0.5)
    for index in (build(rows), build(rows[:0])):
        found = index.search(rows, 5, min_score=-np.inf, within=np.zeros(0, np.int32))
        assert (found.doc_ids == -1).all()
        assert (found.scores == -np.inf).all()
        assert found.doc_ids.shape == found.scores.shape == (30, 5)


def test_a_subset_may_be_a_view_of_every_second_entry_and_is_left_as_it_was(rng, build):
    rows = integer_embeddings(rng, n=30, dim=4, density=0.5)
    index, every = build(rows), np.arange(30, dtype=np.int32)
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
def test_a_subset_that_is_not_ascending_doc_ids_is_refused(rng, build, within, error, sentence):
    rows = integer_embeddings(rng, n=30, dim=4, density=0.5)
    with pytest.raises(error, match=f"^within: {sentence}"):
        build(rows).search(rows, within=within)


@pytest.mark.parametrize("min_score", [0.1, float(np.float32(0.1)), np.float32(0.1), 1, Fraction(1, 10)])
def test_min_score_is_compared_as_a_real_number(build, min_score):
    # The scores 1 and float32(0.1), which is above the float64 0.1.
    index = build(SparseEmbeddings.from_dense(np.float32([[0.1], [1]])))
    found = index.search(SparseEmbeddings.from_dense(np.float32([[1]])), 2, min_score=min_score)
    expected = [doc_id for doc_id, score in [(1, 1.0), (0, float(np.float32(0.1)))] if score > min_score]
    assert [doc_id for doc_id in found.doc_ids[0].tolist() if doc_id >= 0] == expected


@pytest.mark.parametrize(("min_score", "n_found"), [(-1e300, 2), (1e300, 0), (10**400, 0), (-(10**400), 2)])
def test_min_score_may_lie_beyond_float32(build, min_score, n_found):
    index = build(SparseEmbeddings.from_dense(np.float32([[1e19], [-1e19]])))
    query = SparseEmbeddings.from_dense(np.float32([[1e19]]))
    assert (index.search(query, 2, min_score=min_score).doc_ids >= 0).sum() == n_found


def test_nothing_to_search_and_nothing_to_ask_are_answered(rng, build):
    rows = integer_embeddings(rng, n=3, dim=4, density=0.5)
    for index in (build(rows[:0]), build(rows)):
        assert index.search(rows[:0], 5).doc_ids.shape == (0, 5)
        assert index.search(rows[:0], 5, n_threads=3).scores.shape == (0, 5)
    nothing = build(rows[:0])
    assert (nothing.n_docs, nothing.nnz, nothing.list_lengths.tolist()) == (0, 0, [0] * 4)
    assert (nothing.search(rows, 2).doc_ids == -1).all()


def test_scipy_rows_are_taken_and_explicit_zeros_do_not_count(build):
    rows = sparse.csr_array((np.float32([1, 0, 2]), np.int32([0, 1, 1]), np.int32([0, 2, 3])), shape=(2, 3))
    index = build(rows)
    assert index.nnz == 2
    assert index.search(rows, 2, min_score=-np.inf).doc_ids.tolist() == [[0, -1], [1, -1]]


@pytest.mark.parametrize("dim", [8, 70_000])
def test_rows_without_any_nonzero_are_indexed_and_searched(build, dim):
    rows = SparseEmbeddings(np.zeros(4, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), dim=dim)
    index = build(rows)
    query = SparseEmbeddings(np.int64([0, 2]), np.int32([0, dim - 1]), np.float32([1, -1]), dim=dim)
    assert (index.n_docs, index.nnz, index.list_lengths.sum()) == (3, 0, 0)
    for min_score in (0.0, -np.inf):
        assert (index.search(query, 2, min_score=min_score).doc_ids == -1).all()
    assert index.expected_cost(query).postings.tolist() == [0]


def test_the_facts_of_an_index_are_those_of_its_rows(build, rng):
    rows = integer_embeddings(rng, n=50, dim=8, density=0.3)
    index = build(rows)
    assert (index.n_docs, index.dim, index.nnz) == (50, 8, rows.nnz)
    assert index.list_lengths.tolist() == (rows.to_dense() != 0).sum(axis=0).tolist()
    assert repr(index) == f"InvertedIndex(50 documents, dim 8, {rows.nnz} nonzeros, {index.layout.plan})"
    assert index.catalog.key(3) == "3"


def test_an_index_for_a_scan_stores_every_nonzero_in_eight_bytes(rng):
    rows = integer_embeddings(rng, n=50, dim=8, density=0.3)
    index = InvertedIndex.build(rows, plan="scan")
    n_segments = 8  # as short lists have one each
    per_row, per_list, per_window = 8, 8, 16
    assert index.size_bytes == 8 * rows.nnz + 51 * per_row + 9 * per_list + 2 * per_window + 12 * n_segments


def test_an_index_has_the_catalog_it_was_given(rng, build):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    catalog = Catalog(n=2, keys=["a", "b"])
    assert build(rows, catalog=catalog).catalog is catalog
    with pytest.raises(ShapeError, match="catalog: expected names for 2 rows; got 3"):
        build(rows, catalog=Catalog(n=3))


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None])
@pytest.mark.parametrize("name", ["k", "n_threads"])
def test_counts_below_one_are_refused(rng, build, name, number):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ArgumentError, match=f"{name}: expected a whole number of at least 1; got"):
        build(rows).search(rows, **{name: number})


@pytest.mark.parametrize("min_score", [np.nan, "0", None])
def test_a_min_score_that_is_no_number_is_refused(rng, min_score):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ArgumentError, match="min_score: expected a number"):
        InvertedIndex.build(rows).search(rows, min_score=min_score)


def test_queries_of_another_dim_are_refused(rng, build):
    index = build(integer_embeddings(rng, n=2, dim=8, density=0.3))
    with pytest.raises(ShapeError, match=r"queries: expected 8 dimensions, as in the index; got 9\. Were they encoded"):
        index.search(integer_embeddings(rng, n=2, dim=9, density=0.3))


@pytest.mark.parametrize("plan", ["", "Scan", "blockmax", None, 1])
def test_a_plan_that_is_not_known_is_refused(rng, plan):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ArgumentError, match=f"^plan: expected 'auto', 'scan', 'split', 'block-max'; got {plan!r}$"):
        InvertedIndex.build(rows, plan=plan)


@pytest.mark.parametrize("effort", [0, -0.5, 1.5, np.nan, np.inf, "1", None])
def test_an_effort_that_is_not_a_share_is_refused(build, rng, effort):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ArgumentError, match=r"^effort: expected a number above 0 and at most 1; got"):
        build(rows).search(rows, effort=effort)


def test_an_effort_below_one_needs_a_threshold_of_at_least_zero(build, rng):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(
        ArgumentError, match=r"^effort: below 1 it needs a min_score of at least 0; got effort 0\.5, -1"
    ):
        build(rows).search(rows, effort=0.5, min_score=-1)
    build(rows).search(rows, effort=1, min_score=-1)


def test_a_sample_of_another_dim_or_type_is_refused(rng):
    rows = integer_embeddings(rng, n=2, dim=8, density=0.3)
    with pytest.raises(ShapeError, match=r"^sample_queries: expected 8 dimensions, as in the rows; got 9$"):
        InvertedIndex.build(rows, sample_queries=integer_embeddings(rng, n=2, dim=9, density=0.3))
    with pytest.raises(EmbeddingsError, match="rows: expected SparseEmbeddings or a scipy CSR"):
        InvertedIndex.build(rows, sample_queries=rows.to_dense())


def test_rows_of_another_type_are_refused(rng):
    index = InvertedIndex.build(integer_embeddings(rng, n=2, dim=8, density=0.3))
    for refuse in (InvertedIndex.build, index.search, index.expected_cost):
        with pytest.raises(EmbeddingsError, match="rows: expected SparseEmbeddings or a scipy CSR"):
            refuse(np.ones((2, 8), np.float32))


def test_more_documents_than_int32_can_number_are_refused():
    indptr = np.broadcast_to(np.int64(0), 2**31 + 1)  # takes no memory
    rows = SparseEmbeddings._trusted(indptr, np.zeros(0, np.int32), np.zeros(0, np.float32), 4)
    with pytest.raises(EmbeddingsError, match="rows: expected at most 2147483647; got 2147483648"):
        InvertedIndex.build(rows)


# What is measured, predicted and saved in effort.


@pytest.fixture(scope="module")
def patterns():
    """Return so many rows that every plan is tried, and queries."""
    return clustered(np.random.default_rng(1), n=4096, n_classes=80, n_queries=40, ordered=False)


def test_every_plan_is_measured_and_the_fastest_is_kept(patterns):
    documents, _ = patterns
    layout = InvertedIndex.build(documents).layout
    assert set(layout.measured_us) == set(PLANS)
    assert all(us > 0 for us in layout.measured_us.values())
    assert layout.measured_us[layout.plan] == min(layout.measured_us.values())
    assert layout.n_sample_queries == 100


def test_a_plan_that_was_asked_for_is_kept_and_measured(patterns):
    documents, _ = patterns
    for plan in PLANS:
        layout = InvertedIndex.build(documents[:1000], plan=plan).layout
        assert layout.plan == plan
        assert set(layout.measured_us) == {plan}


def test_few_rows_are_scanned(rng):
    rows = integer_embeddings(rng, n=40, dim=8, density=0.3)
    layout = InvertedIndex.build(rows).layout
    assert (layout.plan, set(layout.measured_us)) == ("scan", {"scan"})
    assert layout.n_sample_queries == np.count_nonzero(rows.nnz_per_row)


@pytest.mark.parametrize("n", [1, 7, 300])
def test_queries_of_a_sample_are_what_is_measured(build, rng, monkeypatch, n):
    from gossamer.index import building

    asked = []
    times = building._times

    def spy(engine, queries):
        queries = list(queries)
        asked.append(np.concatenate([query.to_dense() for query in queries]))
        return times(engine, queries)

    monkeypatch.setattr(building, "_times", spy)
    sample = integer_embeddings(rng, n=n, dim=8, density=0.6)
    index = build(integer_embeddings(rng, n=40, dim=8, density=0.3), sample_queries=sample)
    assert index.layout.n_sample_queries == len(asked[0]) == min(100, np.count_nonzero(sample.nnz_per_row))
    rows = {row.tobytes() for row in sample.to_dense()}
    assert all(row.tobytes() in rows for row in asked[0])


def test_a_sample_of_scipy_rows_and_one_of_nothing_are_taken(build, rng):
    rows = integer_embeddings(rng, n=40, dim=8, density=0.3)
    assert build(rows, sample_queries=sparse.csr_array(rows.to_dense())).layout.n_sample_queries > 0
    nothing = build(rows, sample_queries=rows[:0])
    assert nothing.layout.n_sample_queries == 0
    assert_same(nothing.search(rows, 5), build(rows).search(rows, 5))


def test_expected_postings_are_those_that_a_query_touches(build, rng):
    rows = integer_embeddings(rng, n=300, dim=32, density=0.1)
    queries = integer_embeddings(rng, n=20, dim=32, density=0.2)
    index = build(rows)
    has = rows.to_dense() != 0
    if index.layout.plan == "block-max":
        order = index._contents.arrays["rows.doc_ids"]
        has = np.array([has[order[first : first + BLOCK_SIZE]].any(axis=0) for first in range(0, 300, BLOCK_SIZE)])
    cost = index.expected_cost(queries)
    assert cost.postings.dtype == np.int64
    assert cost.postings.tolist() == (has.sum(axis=0) @ (queries.to_dense() != 0).T).tolist()
    assert cost.microseconds.shape == (20,)
    assert (cost.microseconds >= 0).all()
    assert (cost.microseconds[cost.postings > 0] > 0).all()
    assert (np.diff(cost.microseconds[np.argsort(cost.postings)]) >= 0).all()
    assert index.expected_cost(queries[:0]).postings.shape == (0,)


@pytest.mark.parametrize(("window", "block_size"), [(64, 32), (63, 64), (32, 64), (31, 128), (16, 128), (2, 256)])
def test_blocks_grow_until_one_window_holds_them_all(rng, monkeypatch, window, block_size):
    monkeypatch.setattr(contents, "WINDOW", window)
    documents = integer_embeddings(rng, n=2048, dim=32, density=0.2)
    queries = integer_embeddings(rng, n=20, dim=32, density=0.2)
    index = InvertedIndex.build(documents, plan="block-max")
    assert index.layout.block_size == block_size
    assert_same(index.search(queries, 10), exhaustive_search(documents.to_dense(), queries.to_dense(), 10))


def test_the_cost_of_queries_of_another_dim_is_refused(build, rng):
    index = build(integer_embeddings(rng, n=2, dim=8, density=0.3))
    with pytest.raises(ShapeError, match="queries: expected 8 dimensions"):
        index.expected_cost(integer_embeddings(rng, n=2, dim=9, density=0.3))


def test_less_effort_finds_only_true_scores_and_more_effort_finds_more(build, patterns):
    documents, queries = patterns
    index = build(documents)
    scores = reference.search(csr(documents), csr(queries), len(documents), 0.0)
    true_scores = [dict(zip(*found, strict=True)) for found in zip(*(part.tolist() for part in scores), strict=True)]
    recalls = []
    for effort in (0.05, 0.3, 0.6, 0.9, 1.0):
        found = index.search(queries, 10, effort=effort)
        for ids, values, known in zip(found.doc_ids.tolist(), found.scores.tolist(), true_scores, strict=True):
            assert all(known[doc_id] == score for doc_id, score in zip(ids, values, strict=True))
        assert (np.diff(found.scores) <= 0).all()
        recalls.append(np.mean(found.scores >= scores[1][:, 9:10]))
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1
    assert_same(index.search(queries, 10, effort=1.0), index.search(queries, 10))
    if index.layout.plan == "scan":
        assert recalls[0] == 1  # it is exact at any effort
    if index.layout.plan == "block-max":
        assert recalls[0] < 1


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
