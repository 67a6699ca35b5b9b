"""What embeddings cost, from a sample: against the population, and against an index."""

import numpy as np
import pytest
import torch

from gossamer import InvertedIndex, SparseEmbeddings
from gossamer.errors import ConfigError, DataError, GossamerError
from gossamer.index.cost import ExpectedCost
from gossamer.learning import FlopsBudget, SearchCost, measured_cost
from gossamer.learning import cost as cost_module
from gossamer.learning.cost import core_entries

FLOPS = FlopsBudget(flops_per_document=1.0)


def test_pairs_of_rows_by_hand():
    rows = torch.tensor([[0.5, 0.0, -1.0], [2.0, 0.0, 0.0], [1.0, 3.0, 0.1]])
    # Rows 0 and 1 share one dimension, 0 and 2 two, 1 and 2 one.
    assert measured_cost(FLOPS, rows) == pytest.approx(4 / 3)
    assert measured_cost(FlopsBudget(nnz_per_row=1.0), rows) == pytest.approx(6 / 3)


def test_small_samples_of_independent_rows_cost_what_the_population_does():
    rng = np.random.default_rng(0)
    frequencies = rng.uniform(0, 0.2, 100)
    costs = [measured_cost(FLOPS, torch.from_numpy(rng.random((8, 100)) < frequencies)) for _ in range(2000)]
    assert np.mean(costs) == pytest.approx(np.square(frequencies).sum(), rel=0.02)


def test_whole_classes_cost_what_all_classes_do():
    rng = np.random.default_rng(0)
    n_classes, per_class = 60, 4
    patterns = rng.random((n_classes, 200)) < 0.1
    rows = np.repeat(patterns, per_class, axis=0) & (rng.random((n_classes * per_class, 200)) < 0.8)
    labels = np.repeat(np.arange(n_classes), per_class)
    pairs = rows.astype(float) @ rows.T
    everything = pairs[~np.eye(len(rows), dtype=bool)].mean()
    costs = []
    for _ in range(300):
        chosen = np.isin(labels, rng.choice(n_classes, 6, replace=False))
        sample = torch.from_numpy(rows[chosen])
        costs.append(measured_cost(FLOPS, sample, torch.from_numpy(labels[chosen]), n_classes=n_classes))
    assert np.mean(costs) == pytest.approx(everything, rel=0.03)
    assert measured_cost(FLOPS, sample) > 1.5 * np.mean(costs)  # without labels, far too much


def test_classes_of_one_row_have_no_pairs_within():
    rows = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert measured_cost(FLOPS, rows, torch.tensor([4, 4, 9]), n_classes=2) == pytest.approx(1 / 2)


def test_the_core_of_a_row_is_its_fewest_entries_that_make_a_share_of_its_squared_norm():
    rows = torch.tensor([[0.0, -3.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    # 9 of 14 are 64 %, 13 of 14 are 93 %.
    assert core_entries(rows, share=0.6)[0].tolist() == [False, True, False, False]
    assert core_entries(rows, share=0.7)[0].tolist() == [False, True, False, True]
    assert core_entries(rows, share=1.0)[0].tolist() == [False, True, True, True]
    assert core_entries(rows, share=0.5).sum(dim=1).tolist() == [1, 2, 0]


def test_one_row_has_no_pair():
    with pytest.raises(DataError, match="embeddings: expected at least two rows; got 1"):
        measured_cost(FLOPS, torch.ones(1, 4))


class TimedIndex:
    """An index whose searches take 40 µs and half a microsecond for each posting of a document."""

    list_lengths = np.array([10, 0, 300])

    def expected_cost(self, queries):
        touched = queries.to_scipy().astype(bool) @ self.list_lengths
        return ExpectedCost(touched // 7, 40.0 + 0.5 * touched)


def test_the_line_of_an_index_is_found_from_queries():
    queries = SparseEmbeddings.from_dense(np.float32([[1, 0, 0], [0, 2, 0], [1, 0, -1], [0, 0, 1]]))
    cost = SearchCost.of(TimedIndex(), queries)
    assert (cost.call_us, cost.posting_us) == pytest.approx((40.0, 0.5))
    budget = FlopsBudget(query_us=540.0, n_docs=2000, cost=cost)
    assert budget.target == pytest.approx(1000 / 2000)


def test_queries_of_another_dim_are_refused():
    index = InvertedIndex.build(SparseEmbeddings.from_dense(np.eye(3, dtype=np.float32)))
    with pytest.raises(GossamerError, match="dim"):
        SearchCost.of(index, SparseEmbeddings.from_dense(np.ones((2, 9), np.float32)))


def test_queries_that_all_touch_as_much_give_no_line():
    with pytest.raises(DataError, match="queries: expected some that touch more postings and take longer"):
        SearchCost.of(TimedIndex(), SparseEmbeddings.from_dense(np.ones((4, 3), np.float32)))


def test_without_embeddings_the_line_is_that_of_random_even_rows(monkeypatch):
    line = SearchCost.of_even_rows(20_000, 256)
    assert line.call_us >= 0
    assert 0 < line.posting_us < 1  # a microsecond is thousands of instructions
    built = []
    monkeypatch.setattr(cost_module, "_MOST_DOCS", 1000)
    monkeypatch.setattr(SearchCost, "of", lambda index, queries: built.append((index, queries)) or SearchCost(
        call_us=10.0, posting_us=0.5))  # fmt: skip
    assert SearchCost.of_even_rows(4000, 256) == SearchCost(call_us=40.0, posting_us=0.5)
    ((index, queries),) = built
    assert (index.n_docs, index.list_lengths.sum()) == (1000, 64_000)
    assert sorted(set(queries.nnz_per_row)) == [16, 128]
    frequencies = index.list_lengths / 1000
    assert 256 * (frequencies @ frequencies) / frequencies.sum() ** 2 < 1.01


@pytest.mark.parametrize(("n_docs", "dim", "message"), [(0, 64, "n_docs: .* at least 1; got 0"), (9, 8, "dim: .* 16")])
def test_rows_that_cannot_be_made_are_refused(n_docs, dim, message):
    with pytest.raises(ConfigError, match=message):
        SearchCost.of_even_rows(n_docs, dim)
