"""The scan and the split against the definition of a score: ids and scores, to the bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gossamer import SparseEmbeddings
from gossamer.kernels import bounds, window_scan
from plans import Plan
from rows import integer_embeddings
from search_cases import Rows, difference, reference_search

SHARES = [0.0, 0.3, 0.9]


def assert_equals_reference(documents, searched, *, k, min_score=0.0, within=None, shares=True, **settings):
    """Compare searches with the reference; ``min_score`` must be a float32, and ``within`` not empty."""
    plan, rows = Plan(documents, **settings), Rows("", documents, searched)
    expected = reference_search(rows, k, min_score, within)
    for plan.narrow in (True, False):
        found = plan.search(searched, k, min_score=min_score, within=within, shares=shares)
        assert difference(found, expected) is None
        plan.assert_is_at_rest()
    return plan


@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("k", [1, 10, 400])
@pytest.mark.parametrize("min_score", [-np.inf, -2, 0, 3, np.inf])
def test_the_scan_and_the_split_equal_the_reference_on_integers(rng, n, density, k, min_score):
    documents = integer_embeddings(rng, n=n, dim=16, density=density)
    searched = integer_embeddings(rng, n=8, dim=16, density=density)
    for share in SHARES:
        assert_equals_reference(documents, searched, k=k, min_score=min_score, window=128, share=share)


floats = st.floats(width=32, allow_nan=False, min_value=-(2.0**30), max_value=2.0**30)
near_ties = st.sampled_from([1.0, 1 + 2.0**-23, -1.0, 1 / 3, 2.0**-140, -(2.0**-149), 0.1, 3e4, -3e4])
values = st.one_of(st.just(0.0), near_ties, floats)


@given(
    documents=arrays.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(6)), elements=values),
    searched=arrays.arrays(np.float32, st.tuples(st.integers(0, 3), st.just(6)), elements=values),
    k=st.sampled_from([1, 2, 5, 25]),
    min_score=st.one_of(st.sampled_from([0.0, -np.inf, np.inf, -(2.0**-149), 2.0**-149]), floats),
    window=st.sampled_from([1, 3, 8, 1 << 16]),
    subset=st.one_of(st.none(), st.sets(st.integers(0, 19), min_size=1)),
    shares=st.booleans(),
    share=st.sampled_from([0.0, 0.0, 0.3, 0.6, 0.95]),
    expected=st.sampled_from([0.0, 0.3, 1.0]),
    step=st.sampled_from([1, 2, 20]),
)
@example(
    documents=np.float32([[1, -1], [0, 0], [2.0**-100, 0]]),
    searched=np.float32([[1, 1], [-(2.0**-100), 0]]),
    k=5,
    min_score=-np.inf,
    window=2,
    subset=None,
    shares=True,
    share=0.0,
    expected=0.0,
    step=1,
)
@settings(max_examples=100)
def test_the_scan_and_the_split_equal_the_reference_on_reals(*, documents, searched, subset, **settings):
    documents, searched = SparseEmbeddings.from_dense(documents), SparseEmbeddings.from_dense(searched)
    within = subset and np.array(sorted(doc_id for doc_id in subset if doc_id < len(documents)), np.int32)
    assert_equals_reference(documents, searched, within=within, **settings)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(16_000, 70_000),
    n_queries=st.integers(1, 20),
    k=st.sampled_from([1, 10, 1000]),
    min_score=st.sampled_from([0.0, -np.inf, -0.25, 1.5]),
    window=st.sampled_from([16_384, 1 << 16]),
    part=st.sampled_from([1, 1, 0.9, 0.1, 0.01, 0.001]),
    share=st.sampled_from(SHARES),
)
@settings(max_examples=20)
def test_large_windows_and_subsets_equal_the_reference_on_reals(*, seed, n, n_queries, part, **settings):
    rng = np.random.default_rng(seed)
    # Few real values, so that there are near ties and ties; a rare dimension beside common ones.
    pool = np.float32([0.1, -0.1, 1 / 3, 1e-30, 1, rng.standard_normal()])
    documents = rng.choice(pool, (n, 5)) * (rng.random((n, 5)) < [0.5, 0.3, 0.1, 0.1, 0.001])
    searched = rng.choice(pool, (n_queries, 5)) * (rng.random((n_queries, 5)) < 0.7)
    documents, searched = SparseEmbeddings.from_dense(documents), SparseEmbeddings.from_dense(searched)
    within = None if part == 1 else np.flatnonzero(rng.random(n) < part).astype(np.int32)
    assert_equals_reference(documents, searched, within=within, **settings)


@pytest.mark.parametrize("share", SHARES)
def test_many_real_values_are_added_in_ascending_order_without_fusing(rng, share):
    documents = SparseEmbeddings.from_dense(rng.standard_normal((500, 64), np.float32))
    searched = SparseEmbeddings.from_dense(rng.standard_normal((20, 64), np.float32))
    assert_equals_reference(documents, searched, k=500, min_score=-np.inf, window=100, share=share)


@pytest.mark.parametrize("share", SHARES)
def test_ties_across_windows_go_to_the_smaller_doc_id(rng, share):
    documents = SparseEmbeddings.from_dense(np.ones((50, 1), np.float32))
    for order in (None, np.arange(50)[::-1], rng.permutation(50)):
        doc_ids, scores = Plan(documents, window=5, share=share, order=order).search(documents[:1], 12)
        assert doc_ids.tolist() == [list(range(12))]
        assert (scores == 1).all()


@pytest.mark.parametrize("share", SHARES)
def test_a_sum_that_cancels_to_zero_is_found_below_zero_and_not_above(share):
    documents = SparseEmbeddings.from_dense(np.float32([[1, -1, 0], [0, 0, 1], [-1, 0, 0]]))
    query, plan = SparseEmbeddings.from_dense(np.float32([[1, 1, 0]])), Plan(documents, share=share)
    assert plan.search(query, 3, min_score=-0.5)[0].tolist() == [[0, -1, -1]]
    assert plan.search(query, 3, min_score=-1.5)[0].tolist() == [[0, 2, -1]]
    assert plan.search(query, 3, min_score=0)[0].tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("share", SHARES)
def test_queries_of_one_call_do_not_disturb_each_other(rng, share):
    documents = integer_embeddings(rng, n=200, dim=8, density=0.5)
    query = documents[:1]
    nothing = SparseEmbeddings.from_dense(np.zeros((1, 8), np.float32))
    both = SparseEmbeddings.from_dense(np.vstack([query.to_dense(), nothing.to_dense(), query.to_dense()]))
    for min_score in (0, -5):
        plan = assert_equals_reference(documents, both, k=5, min_score=min_score, window=64, share=share)
        doc_ids, _ = plan.search(both, 5, min_score=min_score)
        assert (doc_ids[1] == -1).all()
        assert doc_ids[0].tolist() == doc_ids[2].tolist()


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("min_score", [-np.inf, -1, 0, 5])
def test_rows_of_more_dimensions_than_there_are_steps_are_scored_one_by_one(share, k, min_score):
    dim = bounds.WIDE // 2 + 1
    dims = np.tile(np.arange(dim), 3)
    documents = SparseEmbeddings(np.arange(0, 3 * dim + 1, dim), dims, np.repeat([1.0, 2.0, -1.0], dim), dim=dim + 5)
    assert_equals_reference(documents, documents[:2], k=k, min_score=min_score, window=2, share=share)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("min_score", [-np.inf, -1e30, 0, 1e30, 1e38])
def test_scores_too_large_for_steps_are_found(share, min_score):
    documents = SparseEmbeddings.from_dense(np.float32([[9.9e18, 0], [0, 9.9e18], [6e18, 6e18], [-9e18, 1]]))
    for window in (1, 4):
        settings = {"min_score": min_score, "window": window, "share": share}
        assert_equals_reference(documents, documents[:3], k=3, **settings)


@pytest.mark.parametrize("share", SHARES)
def test_a_scan_scores_no_row_whose_bound_is_too_small(share):
    documents = SparseEmbeddings.from_dense(np.repeat(np.float32([[1, 2], [2, 1]]), 300, axis=0))
    query = SparseEmbeddings.from_dense(np.float32([[1, 0]]))
    plan = Plan(documents, window=300, share=share)
    plan.replace_values(slice(0, 600), 1e9)  # the lists, and so the bounds, stay as they were
    assert plan.search(query, 3, min_score=1.5)[0].tolist() == [[300, 301, 302]]
    plan.replace_values(slice(1000, 1200), 1e9)
    assert plan.search(query, 3, min_score=1.5)[0].tolist() == [[500, 501, 502]]


def test_a_split_does_not_need_the_lists_that_it_leaves_out(rng):
    # Few documents have much of dimension 0, and all have little of dimension 1, which decides.
    dense = np.zeros((60_000, 2), np.float32)
    dense[::500, 0] = 1
    dense[:, 1] = 0.1 * rng.random(60_000)
    documents, query = SparseEmbeddings.from_dense(dense), SparseEmbeddings.from_dense(np.float32([[1, 0.3]]))
    expected = reference_search(Rows("", documents, query), 10, 0.0, None)
    dense[:, 1] = 0
    lists = Plan(SparseEmbeddings.from_dense(dense)).lists
    for share, is_left_out in ((0.5, True), (0.0, False)):
        plan = Plan(documents, share=share)
        assert difference(plan.search(query, 10), expected) is None
        plan.lists = lists
        assert (difference(plan.search(query, 10), expected) is None) == is_left_out


def test_rows_wait_to_be_scored_as_long_as_there_is_room():
    pending, units = np.zeros(1 + 2 * 5, np.int32), np.int32([7, 3])
    assert window_scan._postpone(units, 100, 1, pending)
    assert window_scan._postpone(units[:1], 200, 4, pending)
    assert not window_scan._postpone(np.int32([1, 2, 3]), 300, 5, pending)
    assert pending[:4].tolist() == [3, 107, 103, 207]
    assert pending[6:9].tolist() == [1, 1, 4]
    assert window_scan._postpone(units, 300, 5, pending)
    assert pending.tolist() == [5, 107, 103, 207, 307, 303, 1, 1, 4, 5, 5]
    assert not window_scan._postpone(units[:1], 300, 5, pending)
    assert not window_scan._postpone(units[:0], 300, 5, pending[:0])


BOUNDS_CHECKED = """
import numpy as np
from gossamer import SparseEmbeddings
from gossamer.kernels.bounds import collect
from plans import Plan
from rows import integer_embeddings
from search_cases import KINDS, Rows, difference, draw_rows, reference_search

rng = np.random.default_rng(1)

def compare(rows, k, min_score, within=None, **settings):
    plan, expected = Plan(rows.documents, **settings), reference_search(rows, k, min_score, within)
    for plan.narrow in (True, False):
        found = plan.search(rows.queries, k, min_score=min_score, within=within)
        assert difference(found, expected) is None

kinds = [kind for kind in KINDS if kind != "wide"] * 2  # which takes another compilation
drawn = [draw_rows(rng, kind) for kind in kinds]
for n, density in [(0, 0.5), (1, 1.0), (300, 0.0), (300, 0.3), (1000, 0.9)]:
    shape = {"dim": 9, "density": density}
    drawn.append(Rows("", integer_embeddings(rng, n=n, **shape), integer_embeddings(rng, n=5, **shape)))
for rows in drawn:
    n = len(rows.documents)
    for window in (4, 64, 1 << 16):
        for k, min_score in [(1, 0.0), (10, -4.0), (n + 5, -np.inf), (10, 2.0)]:
            for within in (None, np.arange(n, dtype=np.int32), np.arange(n // 2, n, 3, np.int32), np.int32([n - 1])):
                if within is None or within.size and within[0] >= 0:
                    for share in (0.0, 0.6):
                        compare(rows, k, min_score, within, window=window, share=share)
            if min_score >= 0:
                order = rng.permutation(n)
                compare(rows, k, min_score, window=window, block_size=32, order=order)
                compare(rows, k, min_score, window=window, block_size=8, order=order, share=0.6)
documents, queries = (integer_embeddings(rng, n=n, dim=4, density=0.5) for n in (70_000, 4))
rows = Rows("", documents, queries)
for within in (None, np.arange(0, 70_000, 7, np.int32), np.int32([69_999])):
    compare(rows, 10, 0.0, within)
compare(rows, 10, 0.0, block_size=32)
try:
    collect(np.ones(5, np.int16), np.int16(0), np.empty(0, np.uint64), np.zeros(3, np.int32), False)
except IndexError:
    print("checked")
"""


def test_no_kernel_reads_or_writes_out_of_bounds(tmp_path):
    # On a warm cache bounds checking does nothing, so that this takes a process and a cache of its own.
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", BOUNDS_CHECKED], env=environment, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout == "checked\n"
