"""Block max: its summaries hold, it opens few blocks, and it finds what the reference finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer import SparseEmbeddings
from gossamer.kernels import block_max, block_summaries
from plans import PART_SIZE, Plan
from rows import csr, integer_embeddings
from search_cases import KINDS, Rows, clustered, difference, draw_rows, reference_search


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("block_size", [1, 8, 64])
@pytest.mark.parametrize("signed", [False, True])
def test_extremes_count_the_zeros_of_rows_that_lack_a_dimension(rng, n, density, block_size, signed):
    rows = integer_embeddings(rng, n=n, dim=7, density=density, signed=signed)
    indptr, dims, highs, lows = block_summaries.summarize_blocks(*csr(rows), rows.dim, block_size)
    dense, n_blocks = rows.to_dense(), -(-n // block_size)
    assert indptr.size == n_blocks + 1
    for block in range(n_blocks):
        own = dense[block * block_size : (block + 1) * block_size]
        present = np.flatnonzero((own != 0).any(axis=0))
        entries = slice(indptr[block], indptr[block + 1])
        assert dims[entries].tolist() == present.tolist()
        np.testing.assert_array_equal(highs[entries], own[:, present].max(axis=0))
        np.testing.assert_array_equal(lows[entries], own[:, present].min(axis=0))


@pytest.mark.parametrize("draw", [
    lambda rng, n: rng.standard_normal(n),
    lambda rng, n: rng.gamma(0.3, 1.0, n) * 1e15,
    lambda rng, n: rng.choice([1e-45, -1e-45, 3e-45], n),
    lambda rng, n: rng.choice([1e-38, 3e-36, 255 * 2.0**-126], n),
    lambda rng, n: rng.choice([1.0, 255.0, 254.99998, 1 / 3], n),
    lambda rng, n: np.exp2(rng.uniform(-140, 60, n)),
])  # fmt: skip
def test_codes_are_never_below_the_extremes_and_less_than_a_step_above(rng, draw):
    indptr = np.append(0, np.cumsum(rng.integers(0, 20, 300)))
    highs = draw(rng, indptr[-1]).astype(np.float32)
    lows = np.minimum(draw(rng, indptr[-1]).astype(np.float32), highs)
    high_codes, low_codes, steps = block_summaries.encode_parts(indptr, highs, lows)
    step = np.repeat(steps, np.diff(indptr)).astype(np.float64)
    assert (low_codes.size > 0) == bool((lows < 0).any())
    for codes, magnitudes in ((high_codes, highs), (low_codes, -lows)):
        if codes.size:
            wanted = np.maximum(magnitudes.astype(np.float64), 0)
            assert (codes * step >= wanted).all()
            assert (codes * step <= (wanted + step) * (1 + 1e-6)).all()
    largest = np.maximum(highs, -lows)
    for part in range(300):
        own = largest[indptr[part] : indptr[part + 1]].max(initial=0)
        assert steps[part] <= max(float(own) / 255 * (1 + 2.0**-21), 2.0**-126)


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from([kind for kind in KINDS if kind != "wide"]),
    block_size=st.sampled_from([8, 32, 64]),
    window=st.sampled_from([1, 8, 64, 1 << 16]),
    k=st.sampled_from([1, 2, 10, 100, 2000]),
    min_score=st.sampled_from([0.0, 0.0, 2.0**-149, 0.5, 30.0, np.inf]),
    share=st.sampled_from([0.0, 0.6]),
    order=st.sampled_from(["as it is", "reversed", "shuffled"]),
    step=st.sampled_from([1, 100]),
    narrow=st.booleans(),
)
@settings(max_examples=150)
def test_block_max_equals_the_reference(*, seed, kind, k, min_score, order, **settings):
    rng = np.random.default_rng(seed)
    rows = draw_rows(rng, kind)
    places = np.arange(len(rows.documents))
    order = {"as it is": places, "reversed": places[::-1], "shuffled": rng.permutation(places)}[order]
    plan = Plan(rows.documents, order=order, **settings)
    found = plan.search(rows.queries, k, min_score=min_score, shares=bool(rng.integers(2)))
    assert difference(found, reference_search(rows, k, min_score, None)) is None
    plan.assert_is_at_rest()


@pytest.mark.parametrize("block_size", [8, 64])
@pytest.mark.parametrize("k", [1, 10])
def test_more_blocks_than_16_bits_can_number_take_several_windows(rng, block_size, k):
    window = 16  # in place of 65,536
    documents, searched = clustered(rng, n=5000, n_classes=100)
    plan = Plan(documents, block_size=block_size, window=window)
    assert plan.n_windows > 4
    rows = Rows("", documents, searched)
    assert difference(plan.search(searched, k), reference_search(rows, k, 0.0, None)) is None


def needs_a_scan(plan, searched, k):
    """Return for how many of the queries something is missing if the lists of the rows are empty."""
    expected, _ = plan.search(searched, k)
    plan.remove_lists()
    found, _ = plan.search(searched, k)
    return np.count_nonzero((found != expected).any(axis=1))


def test_clustered_rows_are_searched_without_a_scan_and_shuffled_ones_are_not():
    documents, searched = clustered(np.random.default_rng(2), n=60_000, n_classes=600, dim=400, n_queries=10)
    order = np.random.default_rng(0).permutation(60_000)
    assert needs_a_scan(Plan(documents, block_size=32), searched, 10) == 0
    assert needs_a_scan(Plan(documents, block_size=32, order=order), searched, 10) == 10


def test_no_block_is_opened_whose_bound_is_below_the_threshold():
    n_best = 32 * block_max._FIRST  # rows of the blocks that are opened in any case
    values = np.repeat(np.float32([0.5, 1.0, 0.5]), [3200, n_best, 3200])
    documents = SparseEmbeddings(np.arange(values.size + 1), np.zeros(values.size, np.int32), values, dim=2)
    query = SparseEmbeddings.from_dense(np.float32([[1, 0]]))
    assert needs_a_scan(Plan(documents, block_size=32), query, 10) == 0
    assert needs_a_scan(Plan(documents, block_size=32), query, n_best + 8) == 1  # the halves tie for the last places
    plan = Plan(documents, block_size=32)
    plan.replace_values(slice(0, 3200), 7)
    plan.replace_values(slice(3200 + n_best, None), 7)
    assert plan.search(query, 10)[0].tolist() == [list(range(3200, 3210))]


def test_blocks_whose_bound_ties_with_the_threshold_are_opened():
    # The first block to be opened has the doc_ids at the end, and those before tie with them.
    documents = SparseEmbeddings.from_dense(np.ones((200, 1), np.float32))
    plan = Plan(documents, block_size=8, order=np.arange(200)[::-1])
    assert plan.search(documents[:1], 10)[0].tolist() == [list(range(10))]


def test_parts_of_an_open_block_stay_closed():
    dense, first = np.zeros((6400, 3), np.float32), 640 + 32 * np.arange(block_max._FIRST)
    dense[:, 1] = 1
    dense[96:128, 0] = 1  # a block of 32 rows
    dense[100, 0], dense[first, 2] = 4, 5  # in its first part of 8, and in the blocks that are opened before it
    documents, query = SparseEmbeddings.from_dense(dense), SparseEmbeddings.from_dense(np.float32([[1, 2**-10, 1]]))
    plan = Plan(documents, block_size=32)  # the second dimension makes a scan dear
    plan.replace_values(np.flatnonzero((documents.dims == 0) & (documents.values == 1)), 9)
    assert PART_SIZE == 8
    assert plan.search(query, 1, min_score=2)[1].tolist() == [[5 + 2**-10]]  # the block stays closed
    for k in (7, 20):
        doc_ids = plan.search(query, k, min_score=2)[0][0]
        assert set(doc_ids.tolist()) - {-1} == ({*range(96, 104), *first} if k == 20 else {*range(96, 104)} - {100})


def test_weights_are_rounded_up_to_integers_whose_products_fit_31_bits(rng):
    for n in (1, 2, 700, 9000, 100_000):
        values = rng.standard_normal(n).astype(np.float32)
        values[0] = 5
        weights = np.zeros(n, np.int32), np.zeros(n, np.int32)
        asked = np.array([0, n]), values, np.arange(n)
        scale = block_max._spread_weights(asked, np.arange(n, dtype=np.int32), 0, weights)
        assert ((weights[0] > 0) == (values > 0)).all()
        assert ((weights[1] > 0) == (values < 0)).all()
        both = weights[0].astype(np.float64) + weights[1]
        assert (both * scale >= np.abs(values.astype(np.float64))).all()
        assert both.sum() * 255 < 2**31
        assert both.max() <= 4095


@pytest.mark.parametrize("min_score", [0.0, 1.0])
@pytest.mark.parametrize("effort", [1.0, 0.7, 0.3])
def test_with_less_effort_scores_are_true_and_none_is_lost_above_the_best_bound(rng, effort, min_score):
    documents, searched = clustered(rng, n=3000, n_classes=100)
    shuffled = {"block_size": 32, "share": 0.5, "order": rng.permutation(3000)}  # needs a scan
    for options in ({"block_size": 32}, {"share": 0.5}, shuffled):
        plan = Plan(documents, **options)
        doc_ids, scores = plan.search(searched, 10, min_score=min_score, effort=effort)
        exact_ids, exact = reference_search(Rows("", documents, searched), 3000, min_score, None)
        for row in range(len(searched)):
            true = dict(zip(exact_ids[row].tolist(), exact[row].tolist(), strict=True))
            assert [true[doc_id] for doc_id in doc_ids[row].tolist()] == scores[row].tolist()
        # What was passed over had a bound, hence a score, of at most the k-th best / effort.
        missed = [set(exact_ids[row, :10]) - set(doc_ids[row]) for row in range(len(searched))]
        for row, doc_id_set in enumerate(missed):
            for doc_id in doc_id_set:
                place = exact_ids[row].tolist().index(doc_id)
                assert exact[row, place] <= scores[row, -1] / effort * (1 + 1e-6)
        assert effort < 1 or not any(missed)
