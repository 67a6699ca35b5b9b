"""Restricted posting lists against picking the members' postings one by one."""

import numpy as np
import pytest

from gossamer.embeddings import SparseEmbeddings
from gossamer.kernels import subset
from gossamer.kernels.postings import build_postings
from rows import csr, integer_embeddings


@pytest.mark.parametrize(("n", "n_members"), [(1, 1), (300, 1), (300, 4), (300, 299), (65_536, 5), (65_536, 65_535)])
@pytest.mark.parametrize("first", [0, 65_536])
def test_restricted_lists_hold_the_members_of_a_window(rng, n, n_members, first):
    # Uneven, so that members are not where they are looked for first.
    density = np.stack([np.linspace(1, 0, n) ** 4, np.linspace(0, 1, n) ** 4, np.full(n, 0.8)], axis=1)
    rows = integer_embeddings(rng, n=n, dim=3, density=density)
    rows = SparseEmbeddings.from_dense(np.pad(rows.to_dense(), ((0, 0), (0, 1))))  # an empty list
    offsets, ids, values = build_postings(*csr(rows), rows.dim, 1 << 16)
    members = np.sort(rng.choice(n, n_members, replace=False))
    starts, ends = offsets[:-1].copy(), offsets[1:].copy()
    marks, slots = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint16)
    kept = subset.restrict_lists(ids, values, starts, ends, (members + first).astype(np.int32), first, n, marks, slots)
    for j in range(rows.dim):
        column = rows.to_dense()[members, j]
        assert kept[0][starts[j] : ends[j]].tolist() == np.flatnonzero(column).tolist()
        assert kept[1][starts[j] : ends[j]].tolist() == column[column != 0].tolist()
    assert not marks.any()  # ready for the next window


def test_the_first_place_not_below_a_bound_is_found():
    ascending = np.int32([1, 3, 3, 8])
    assert [subset.first_not_below(ascending, 0, 4, bound) for bound in (0, 1, 2, 3, 4, 8, 9)] == [0, 0, 1, 1, 3, 3, 4]
    assert subset.first_not_below(ascending, 2, 3, 9) == 3
    assert subset.first_not_below(ascending, 2, 2, 0) == 2
