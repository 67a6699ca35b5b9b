"""The window scan against the definition of a score: ids and scores, to the bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gossamer.embeddings import SparseEmbeddings
from gossamer.kernels import reference, window_scan
from gossamer.kernels.postings import build_postings
from rows import csr, integer_embeddings


def scan(documents, queries, *, k, min_score=0.0, window=1 << 16, within=None, shares=True, step=1):
    """Search as an index does, ``step`` windows a call; ``min_score`` must be a float32."""
    n_docs, n_queries, places = len(documents), len(queries), min(k, len(documents))
    found = np.zeros((n_queries, k), np.int32), np.zeros((n_queries, k), np.float32)
    lists = build_postings(*csr(documents), documents.dim, window)
    if shares:
        list_dims, query_lists = np.unique(queries.dims, return_inverse=True)
    else:
        list_dims, query_lists = queries.dims, np.arange(queries.nnz)
    workspace = (  # comes as it is
        np.full(1 << 16, np.nan, np.float32),
        np.full(n_queries, -7),
        np.full(n_queries, np.nan, np.float32),
        np.zeros((n_queries, 2 * places), np.uint64),
    )
    within = np.zeros(0, np.int32) if within is None else within
    n_windows = max(1, -(-n_docs // window))
    for first in range(0, n_windows, step):
        window_scan.search(
            *lists, n_docs, documents.dim, window, first, min(first + step, n_windows),
            queries.indptr, queries.values, query_lists, list_dims, within, np.float32(min_score), *workspace, *found
        )  # fmt: skip
    return found


def assert_equals_reference(documents, queries, *, k, min_score=0.0, within=None, **settings):
    found = scan(documents, queries, k=k, min_score=min_score, within=within, **settings)
    expected = reference.search(csr(documents), csr(queries), k, min_score, within)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1].view(np.uint32), expected[1].view(np.uint32))


@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("k", [1, 10, 400])
@pytest.mark.parametrize("min_score", [-np.inf, -2, 0, 3, np.inf])
def test_the_scan_equals_the_reference_on_integers(rng, n, density, k, min_score):
    documents = integer_embeddings(rng, n=n, dim=16, density=density)
    queries = integer_embeddings(rng, n=8, dim=16, density=density)
    assert_equals_reference(documents, queries, k=k, min_score=min_score, window=128)


floats = st.floats(width=32, allow_nan=False, min_value=-(2.0**30), max_value=2.0**30)
near_ties = st.sampled_from([1.0, 1 + 2.0**-23, -1.0, 1 / 3, 2.0**-140, -(2.0**-149), 0.1, 3e4, -3e4])
values = st.one_of(st.just(0.0), near_ties, floats)


@given(
    documents=arrays.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(6)), elements=values),
    queries=arrays.arrays(np.float32, st.tuples(st.integers(0, 3), st.just(6)), elements=values),
    k=st.sampled_from([1, 2, 5, 25]),
    min_score=st.one_of(st.sampled_from([0.0, -np.inf, np.inf, -(2.0**-149), 2.0**-149]), floats),
    window=st.sampled_from([1, 3, 8, 1 << 16]),
    subset=st.one_of(st.none(), st.sets(st.integers(0, 19), min_size=1)),
    shares=st.booleans(),
    step=st.sampled_from([1, 2, 20]),
)
@example(
    documents=np.float32([[1, -1], [0, 0], [2.0**-100, 0]]),
    queries=np.float32([[1, 1], [-(2.0**-100), 0]]),
    k=5,
    min_score=-np.inf,
    window=2,
    subset=None,
    shares=True,
    step=1,
)
def test_the_scan_equals_the_reference_on_reals(*, documents, queries, subset, **settings):
    documents, queries = SparseEmbeddings.from_dense(documents), SparseEmbeddings.from_dense(queries)
    within = subset and np.array(sorted(doc_id for doc_id in subset if doc_id < len(documents)), np.int32)
    if within is not None and within.size == 0:  # the kernel's word for all documents
        within = None
    assert_equals_reference(documents, queries, within=within, **settings)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(16_000, 50_000),
    n_queries=st.integers(1, 40),
    k=st.sampled_from([1, 10, 1000]),
    min_score=st.sampled_from([0.0, -np.inf, -0.25, 1.5]),
    window=st.sampled_from([16_384, 1 << 16]),
    share=st.sampled_from([1, 1, 0.9, 0.1, 0.01, 0.001]),
)
@settings(max_examples=40)
def test_large_windows_and_subsets_equal_the_reference_on_reals(*, seed, n, n_queries, share, **settings):
    rng = np.random.default_rng(seed)
    # Few real values, so that there are near ties and ties; a rare dimension beside common ones.
    pool = np.float32([0.1, -0.1, 1 / 3, 1e-30, 1, rng.standard_normal()])
    documents = rng.choice(pool, (n, 5)) * (rng.random((n, 5)) < [0.5, 0.3, 0.1, 0.1, 0.001])
    queries = rng.choice(pool, (n_queries, 5)) * (rng.random((n_queries, 5)) < 0.7)
    documents, queries = SparseEmbeddings.from_dense(documents), SparseEmbeddings.from_dense(queries)
    within = None if share == 1 else np.flatnonzero(rng.random(n) < share).astype(np.int32)
    assert_equals_reference(documents, queries, within=within, **settings)


def test_many_real_values_are_added_in_ascending_order_without_fusing(rng):
    documents = SparseEmbeddings.from_dense(rng.standard_normal((500, 64), np.float32))
    queries = SparseEmbeddings.from_dense(rng.standard_normal((20, 64), np.float32))
    assert_equals_reference(documents, queries, k=500, min_score=-np.inf, window=100)


def test_ties_across_windows_go_to_the_smaller_doc_id():
    documents = SparseEmbeddings.from_dense(np.ones((50, 1), np.float32))
    doc_ids, scores = scan(documents, documents[:1], k=12, window=5)
    assert doc_ids.tolist() == [list(range(12))]
    assert (scores == 1).all()


def test_a_sum_that_cancels_to_zero_is_found_below_zero_and_not_above():
    documents = SparseEmbeddings.from_dense(np.float32([[1, -1, 0], [0, 0, 1], [-1, 0, 0]]))
    query = SparseEmbeddings.from_dense(np.float32([[1, 1, 0]]))
    assert scan(documents, query, k=3, min_score=-0.5)[0].tolist() == [[0, -1, -1]]
    assert scan(documents, query, k=3, min_score=-1.5)[0].tolist() == [[0, 2, -1]]
    assert scan(documents, query, k=3, min_score=0)[0].tolist() == [[-1, -1, -1]]


def test_workspace_is_left_at_rest_between_queries_of_one_call(rng):
    documents = integer_embeddings(rng, n=200, dim=8, density=0.5)
    query = documents[:1]
    nothing = SparseEmbeddings.from_dense(np.zeros((1, 8), np.float32))
    both = SparseEmbeddings.from_dense(np.vstack([query.to_dense(), nothing.to_dense(), query.to_dense()]))
    for min_score in (0, -5):
        doc_ids, _ = scan(documents, both, k=5, min_score=min_score, window=64)
        assert (doc_ids[1] == -1).all()
        assert doc_ids[0].tolist() == doc_ids[2].tolist()


BOUNDS_CHECKED = """
import numpy as np
from test_window_scan import assert_equals_reference
from gossamer.embeddings import SparseEmbeddings
from gossamer.kernels.postings import fill_postings
from rows import integer_embeddings

rng = np.random.default_rng(1)
for n, density, window in [(0, 0.5, 4), (1, 1.0, 4), (300, 0.0, 64), (300, 0.3, 64), (1000, 0.9, 1 << 16)]:
    documents = integer_embeddings(rng, n=n, dim=9, density=density)
    queries = integer_embeddings(rng, n=5, dim=9, density=density)
    for k, min_score in [(1, 0.0), (10, -4.0), (n + 5, -np.inf), (10, 2.0)]:
        for within in (None, np.arange(n, dtype=np.int32), np.arange(n // 2, n, 3, np.int32), np.int32([n - 1])):
            if within is None or within.size and within[0] >= 0:
                assert_equals_reference(documents, queries, k=k, min_score=min_score, window=window, within=within)
documents, queries = (integer_embeddings(rng, n=n, dim=4, density=0.5) for n in (20_000, 40))
for within in (None, np.arange(0, 20_000, 7, np.int32), np.int32([19_999])):
    assert_equals_reference(documents, queries, k=10, within=within)
too_small = np.zeros(10, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32)
try:
    fill_postings(np.array([0, 1]), np.int32([3]), np.float32([1]), 9, 4, *too_small)
except IndexError:
    print("checked")
"""


def test_no_kernel_reads_or_writes_out_of_bounds(tmp_path):
    # On a warm cache bounds checking does nothing, so that this takes a process and a cache of its own.
    folders = os.pathsep.join([os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))])
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": folders
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", BOUNDS_CHECKED], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout == "checked\n"
