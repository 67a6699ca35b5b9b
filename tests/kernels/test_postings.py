"""Posting lists against their definition."""

import numpy as np
import pytest

from gossamer.kernels import reference
from gossamer.kernels.postings import build_postings
from rows import csr, integer_embeddings


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 300])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("window", [1, 64, 1 << 16])
def test_posting_lists_equal_the_reference(rng, n, density, window):
    rows = integer_embeddings(rng, n=n, dim=7, density=density)
    built, expected = (
        build_postings(*csr(rows), rows.dim, window),
        reference.build_postings(*csr(rows), rows.dim, window),
    )
    for array, expected_array in zip(built, expected, strict=True):
        assert array.dtype == expected_array.dtype
        np.testing.assert_array_equal(array, expected_array)


def test_a_list_holds_its_dimension_of_its_window():
    indptr, dims = np.array([0, 2, 3, 4]), np.int32([0, 2, 2, 0])
    offsets, ids, values = build_postings(indptr, dims, np.float32([5, 6, 7, 8]), 3, 2)
    assert offsets.tolist() == [0, 1, 1, 3, 4, 4, 4]
    assert ids.tolist() == [0, 0, 1, 0]
    assert values.tolist() == [5, 6, 7, 8]
