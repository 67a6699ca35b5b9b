"""Subsets searched again and again: each way of searching them, and what is kept between searches."""

import numpy as np
import pytest

from gossamer import InvertedIndex
from gossamer.index import contents, subsets
from gossamer.index.building import restrict
from gossamer.index.contents import PLANS
from gossamer.kernels import reference
from rows import csr, integer_embeddings
from search_cases import clustered

PER_POSTING = subsets._US_PER_POSTING


@pytest.fixture(scope="module", params=PLANS)
def searched(request):
    """Documents in classes, under one of the plans, and queries of their kind."""
    documents, queries = clustered(np.random.default_rng(3), n=3000, dim=64, n_queries=12)
    return documents, InvertedIndex.build(documents, plan=request.param), queries


def assert_is_exact(rows, index, queries, within, k=10):
    found, expected = index.search(queries, k, within=within), reference.search(csr(rows), csr(queries), k, 0, within)
    np.testing.assert_array_equal(found.doc_ids, expected[0])
    np.testing.assert_array_equal(found.scores, expected[1])


def repaid_after(n_queries, within, index, monkeypatch):
    """Make an index of a subset cost what so many queries save by it."""
    subset = subsets.Subset(within, index._engine.contents)
    monkeypatch.setattr(subsets, "_US_PER_POSTING", n_queries * subset._saved_us / subset._build_us * PER_POSTING)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_subset_is_searched_exactly_however_often(searched, monkeypatch, share, k):
    rows, index, queries = searched
    within = np.flatnonzero(np.random.default_rng(5).random(len(rows)) < share).astype(np.int32)
    repaid_after(5.5, within, index, monkeypatch)
    for place in range(12):  # from scoring it or its bits to lists of its own
        assert_is_exact(rows, index, queries[place : place + 1], within, k)


def test_a_subset_repays_lists_of_its_own_after_some_queries(searched, monkeypatch):
    rows, index, queries = searched
    built = []
    monkeypatch.setattr(subsets, "restrict", lambda *args: built.append(1) or restrict(*args))
    within = np.arange(0, len(rows), 3, dtype=np.int32)
    repaid_after(31.5, within, index, monkeypatch)
    for count in range(40):
        index.search(queries[:1], within=within)
        assert len(built) == (count >= 31)
    index.search(queries[:1], within=within[1:])
    index.search(queries[:1], within=within)
    assert len(built) == 1


@pytest.mark.parametrize("min_score", [-np.inf, -2.0, 0.0, 3.0])
def test_signed_values_and_thresholds_are_exact_in_lists_of_its_own(monkeypatch, min_score):
    rows = integer_embeddings(np.random.default_rng(8), n=2000, dim=50, density=0.1)
    monkeypatch.setattr(contents, "WINDOW", 300)
    index = InvertedIndex.build(rows, plan="scan")
    within = np.arange(0, 2000, 4, dtype=np.int32)
    repaid_after(0, within, index, monkeypatch)
    found = index.search(rows[:20], 600, within=within, min_score=min_score)
    assert "_own_engine" in vars(index._subsets.get(within))
    expected = reference.search(csr(rows), csr(rows[:20]), 600, np.float32(min_score), within)
    np.testing.assert_array_equal(found.doc_ids, expected[0])
    np.testing.assert_array_equal(found.scores, expected[1])


def test_a_subset_that_its_owner_changes_is_another(searched):
    rows, index, queries = searched
    within = np.arange(0, 600, 2, dtype=np.int32)
    assert_is_exact(rows, index, queries, within)
    within += 1
    assert_is_exact(rows, index, queries, within)
    within[-1] = 2999
    assert_is_exact(rows, index, queries, within)


def test_an_array_that_nobody_writes_to_is_compared_once(searched, monkeypatch):
    rows, index, queries = searched
    compared = []
    compare = subsets._is_same
    monkeypatch.setattr(subsets, "_is_same", lambda *args: compared.append(1) or compare(*args))
    within = np.arange(0, 700, 2, dtype=np.int32)
    index.search(queries[:1], within=np.arange(5, dtype=np.int32))
    index.search(queries[:1], within=within.copy())
    compared.clear()
    within.flags.writeable = False
    for _ in range(3):
        assert_is_exact(rows, index, queries[:1], within)
    assert len(compared) == 1


def test_all_documents_are_no_subset(searched):
    rows, index, queries = searched
    assert_is_exact(rows, index, queries, np.arange(len(rows), dtype=np.int32))
