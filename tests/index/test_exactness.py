"""Every plan against the definition of a score: ids and scores to the bit, on thousands of drawn searches."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer import InvertedIndex, SparseEmbeddings
from rows import integer_embeddings
from search_cases import KINDS, PLANS, Rows, clustered, compare_searches, difference, draw_rows, reference_search

SEEDS = st.integers(0, 2**32 - 1)


def assert_equals_reference(index, rows, k, *, min_score=0.0, within=None, **settings):
    found = index.search(rows.queries, k, min_score=min_score, within=within, **settings)
    assert difference(found, reference_search(rows, k, min_score, within)) is None


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_equals_the_reference_on_every_kind_of_rows(kind, plan):
    n_cases = 0

    @given(seed=SEEDS)
    @settings(max_examples=4 if kind in ("wide", "long") else 12)
    def compare(seed):
        nonlocal n_cases
        outcome = compare_searches(seed, kind=kind, plan=plan)
        assert outcome.failure is None
        n_cases += outcome.n_cases

    compare()
    assert n_cases >= (15 if kind in ("wide", "long") else 100)  # of 52 such tests: over 4,000 together


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("traits", list(itertools.product([True, False], repeat=3)))
@pytest.mark.parametrize("window", [64, 1 << 16])
def test_classes_of_rows_are_searched_exactly_in_any_order(rng, monkeypatch, plan, window, traits):
    monkeypatch.setattr("gossamer.index.contents.WINDOW", window)
    monkeypatch.setattr("gossamer.index.building._MIN_DOCS", 0)
    shape = dict(zip(("ordered", "signed", "integers"), traits, strict=True))
    rows = Rows("clustered", *clustered(rng, n=6000, n_classes=150, dim=300, n_queries=12, **shape))
    index = InvertedIndex.build(rows.documents, plan=plan)
    for k in (1, 10, 100):
        assert_equals_reference(index, rows, k)
    assert_equals_reference(index, rows, 10, n_threads=3)
    assert_equals_reference(index, rows, 10, min_score=5.0)
    assert_equals_reference(index, rows, 10, within=np.arange(0, 6000, 3, dtype=np.int32))


@pytest.mark.parametrize("plan", PLANS)
def test_more_blocks_than_a_window_numbers_are_searched_exactly(rng, monkeypatch, plan):
    window = 8
    monkeypatch.setattr("gossamer.index.contents.WINDOW", window)
    monkeypatch.setattr("gossamer.index.building._MIN_DOCS", 0)
    rows = Rows("clustered", *clustered(rng, n=4000, n_classes=60))  # at 64 rows a block 8 windows of blocks
    index = InvertedIndex.build(rows.documents, plan=plan)
    assert index._engine.lists[0].size == 4000 / window + 1
    for k in (1, 10, 5000):
        assert_equals_reference(index, rows, k)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("n", [0, 1, 2, 300])
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("signed", [True, False])
def test_rows_with_and_without_nonzeros_are_searched_exactly(rng, plan, n, density, signed):
    documents = integer_embeddings(rng, n=n, dim=32, density=density, signed=signed)
    rows = Rows("integers", documents, integer_embeddings(rng, n=9, dim=32, density=0.3, signed=signed))
    index = InvertedIndex.build(documents, plan=plan)
    for k in (1, 10, 400):
        for min_score in (0.0, -np.inf, -2.0, 2.0, np.inf):
            assert_equals_reference(index, rows, k, min_score=min_score)


@pytest.mark.parametrize("plan", PLANS)
def test_no_rows_in_a_million_dimensions_find_nothing(plan):
    none = SparseEmbeddings(np.zeros(4, int), [], np.zeros(0), dim=1_000_000)
    queries = SparseEmbeddings([0, 2], [5, 999_999], [1.0, 2.0], dim=1_000_000)
    for documents in (none, none[:0]):
        found = InvertedIndex.build(documents, plan=plan).search(queries, 3, min_score=-np.inf)
        assert found.doc_ids.tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("min_score", [0.0, -np.inf])
def test_rows_and_queries_of_ten_thousands_of_nonzeros_are_searched_exactly(rng, plan, min_score):
    dim = 30_000
    lengths = np.array([10_000, 3, 20_000, 0, 17_000])
    dims = [np.sort(rng.choice(dim, length, replace=False)) for length in lengths]
    for signs in ([1.0], [1.0, -1.0]):
        values = rng.choice(signs, lengths.sum()) * rng.choice(np.float32([1, 0.1, 3]), lengths.sum())
        documents = SparseEmbeddings(np.append(0, np.cumsum(lengths)), np.concatenate(dims), values, dim=dim)
        rows = Rows("long", documents, documents)
        assert_equals_reference(InvertedIndex.build(documents, plan=plan), rows, 4, min_score=min_score)


@pytest.mark.parametrize("plan", PLANS)
def test_results_do_not_depend_on_batches_and_threads(rng, monkeypatch, plan):
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("gossamer.index.contents.WINDOW", 256)
    rows = draw_rows(rng, "clustered")
    queries = rows.documents[rng.integers(0, len(rows.documents), 70)]
    index = InvertedIndex.build(rows.documents, plan=plan)
    together = index.search(queries, 10)
    assert difference(together, reference_search(Rows("", rows.documents, queries), 10, 0.0, None)) is None
    for n_threads in (2, 7, 1000):
        assert difference(index.search(queries, 10, n_threads=n_threads), together) is None
    for size in (1, 5, 40):
        parts = [index.search(queries[row : row + size], 10) for row in range(0, 70, size)]
        stacked = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        assert difference(stacked, together) is None


@pytest.mark.parametrize("plan", ["split", "block-max"])
@pytest.mark.parametrize("effort", [0.9, 0.5, 0.1])
def test_with_less_effort_every_score_is_true(rng, plan, effort):
    rows = Rows("clustered", *clustered(rng, n=3000, n_classes=100))
    found = InvertedIndex.build(rows.documents, plan=plan).search(rows.queries, 10, effort=effort)
    exact = reference_search(rows, 3000, 0.0, None)
    for row in range(len(rows.queries)):
        true = dict(zip(exact[0][row].tolist(), exact[1][row].tolist(), strict=True))
        assert [true[doc_id] for doc_id in found.doc_ids[row].tolist()] == found.scores[row].tolist()
        assert found.scores[row, 0] >= exact[1][row, 0] * effort * 0.9999
