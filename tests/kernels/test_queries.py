"""What is prepared of queries: which dimensions are added first, and the norms of those left out."""

import numpy as np
import pytest

from gossamer import SparseEmbeddings
from gossamer.kernels import bounds, queries
from rows import csr, integer_embeddings


def prepared(
    searched, lengths, *, capacity=2.0, longest=3, share=0.5, n_windows=4, lowest=0.0, min_score=-1, narrow=False
):
    indptr, dims, values = csr(searched)
    list_dims, query_lists = np.unique(dims, return_inverse=True)
    state = np.full((len(searched), queries.N_COLUMNS), np.nan)
    entries = np.full((2, dims.size + len(searched)), np.nan)
    asked = indptr, values, query_lists
    shape = searched.dim, 1 << 16, longest, capacity, 1.0, lowest
    queries.prepare(
        asked, list_dims, lengths, shape, n_windows, share, narrow, np.float32(min_score), state, entries
    )  # fmt: skip
    return state, entries


def test_the_state_of_a_query_is_what_its_entries_say(rng):
    searched, lengths = integer_embeddings(rng, n=20, dim=12, density=0.3), rng.integers(0, 50, 12)
    state, _ = prepared(searched, lengths)
    for query, row in zip(searched.to_dense().astype(float), state, strict=True):
        n_shared, norm = min(np.count_nonzero(query), 3), np.linalg.norm(query)
        steps = bounds.steps_per_score(norm, 2.0, n_shared, bounds.WIDE)
        share = 0.5 if steps > 0 else 0
        work = lengths[query != 0].sum() / 4
        lowest = query[query != 0].min(initial=np.inf)
        np.testing.assert_allclose(row, [0, -1, steps, bounds.WIDE, n_shared, share, work, norm, lowest], rtol=1e-14)


@pytest.mark.parametrize(
    ("changed", "is_narrow"),
    [({}, True), ({"narrow": False}, False), ({"lowest": -0.1}, False), ({"min_score": -1}, False),
     ({"capacity": 1e38}, False), ({"capacity": 0.0}, False)],
)  # fmt: skip
def test_sums_are_narrow_only_where_no_product_is_negative(changed, is_narrow):
    searched = SparseEmbeddings.from_dense(np.float32([[1, 2, 0], [1, -2, 0], [0, 0, 3], [0, 0, 0]]))
    state, _ = prepared(searched, np.ones(3, np.int64), **{"narrow": True, "min_score": 0, **changed})
    most = [bounds.NARROW if is_narrow else bounds.WIDE, bounds.WIDE] * 2
    assert state[:, queries.MOST].tolist() == most
    for row in state[:3] if is_narrow else []:
        assert row[queries.STEPS] * row[queries.NORM] * 2 + row[queries.SHARED] == pytest.approx(row[queries.MOST])


def test_queries_that_share_too_many_dimensions_for_8_bits_have_wide_sums():
    for n, most in ((127, bounds.NARROW), (128, bounds.WIDE)):
        searched = SparseEmbeddings.from_dense(np.ones((1, n), np.float32))
        state, _ = prepared(searched, np.ones(n, np.int64), longest=500, min_score=0, narrow=True)
        assert state[0, queries.MOST] == most
        assert state[0, queries.STEPS] > 0


def test_entries_are_ordered_by_their_square_per_posting(rng):
    searched, lengths = integer_embeddings(rng, n=30, dim=12, density=0.4), rng.integers(0, 50, 12)
    _, entries = prepared(searched, lengths)
    for q in range(len(searched)):
        first, last = searched.indptr[q : q + 2]
        order = entries[0, first:last].astype(int)
        assert sorted(order) == list(range(first, last))
        promise = searched.values[order] ** 2 / (1.0 + lengths[searched.dims[order]])
        assert (np.diff(promise) <= 0).all()
        rests = entries[1, first + q : last + q + 1]
        expected = [np.linalg.norm(searched.values[order[place:]].astype(float)) for place in range(order.size + 1)]
        np.testing.assert_allclose(rests, expected, rtol=1e-14)


def test_entries_of_a_scan_stay_in_their_order(rng):
    searched = integer_embeddings(rng, n=5, dim=12, density=0.4)
    _, entries = prepared(searched, np.ones(12, np.int64), share=0.0)
    assert entries[0, : searched.nnz].tolist() == list(range(searched.nnz))


@pytest.mark.parametrize(
    ("most", "n"), [(-1, 4), (0, 4), (0.5, 4), (1, 3), (1.5, 3), (4, 1), (7, 0), (np.inf, 0), (np.nan, 4)]
)
def test_as_many_entries_are_added_as_leave_a_small_rest(most, n):
    assert queries.n_entries_for(np.float64([5, 4, 3, 1, 0]), most) == n
