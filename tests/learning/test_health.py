"""The health report, by hand and against a real search."""

import numpy as np
import pytest
import torch

from gossamer import SparseEmbeddings
from gossamer.errors import DataError
from gossamer.learning.health import examine


def test_a_batch_by_hand():
    rows = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.8, 0.6, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    report = examine(rows, np.array(["a", "a", "b", "b"]))
    # Row 0 finds 1 (a, right), row 1 finds 0 (right), row 2 finds 1 (wrong), row 3 finds nothing.
    assert report.hit_rate_at_1 == 2 / 4
    assert report.nnz_per_row == 1.0
    assert report.flops_per_document == 0.5**2 + 0.5**2
    assert report.suboptimality_ratio == 4 * 0.5 / 1.0
    assert report.class_suboptimality_ratio == 1 + (4 / 1.0 - 1) / 2  # two classes, one of four dimensions a row
    assert (report.dead_dims, report.zero_rows) == (2, 1)
    assert (report.hottest_dims, report.hottest_frequencies) == ((0, 1), (0.5, 0.5))


def test_the_five_hottest_dimensions_come_first():
    rows = torch.zeros(4, 9)
    for dim, n in {8: 4, 2: 3, 5: 3, 0: 2, 1: 1, 7: 1}.items():
        rows[:n, dim] = -1.0
    report = examine(rows)
    assert report.hottest_dims == (8, 2, 5, 0, 1)
    assert report.hottest_frequencies == (1.0, 0.75, 0.75, 0.5, 0.25)


def test_without_labels_nothing_is_searched():
    report = examine(torch.eye(3))
    assert (report.hit_rate_at_1, report.class_suboptimality_ratio) == (None, None)
    assert report.flops_per_document == pytest.approx(1 / 3)


def test_rows_alone_in_their_class_ask_no_question():
    rows = torch.tensor([[1.0, 0.2], [1.0, 0.1], [1.0, 0.0]])
    assert examine(rows, np.array(["a", "a", "b"])).hit_rate_at_1 == 1.0
    assert examine(rows, np.array(["a", "b", "c"])).hit_rate_at_1 is None


def test_collapsed_rows_are_reported_not_divided_by():
    report = examine(torch.zeros(3, 5), np.array(["a", "a", "b"]))
    assert report.hit_rate_at_1 == 0.0
    assert (report.suboptimality_ratio, report.class_suboptimality_ratio) == (None, None)
    assert (report.dead_dims, report.zero_rows) == (5, 3)
    assert report.hottest_dims == report.hottest_frequencies == ()


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="embeddings: expected at least one row"):
        examine(torch.zeros(0, 5), np.array([], dtype=str))


def test_the_hit_rate_is_that_of_the_inverted_index(monkeypatch):
    index = pytest.importorskip("gossamer.index")
    from gossamer.learning import health
    from gossamer.metrics import hit_rate_at_k
    from gossamer.results import excluding_self

    monkeypatch.setattr(health, "_SCORES_PER_BLOCK", 1000)  # several blocks
    rng = np.random.default_rng(0)
    dense = (rng.random((150, 40)) * (rng.random((150, 40)) < 0.2)).astype(np.float32)
    labels = rng.integers(0, 10, 150).astype(str)
    rows = SparseEmbeddings.from_dense(dense)
    found = excluding_self(index.InvertedIndex.build(rows).search(rows, 2), np.arange(150))
    expected = hit_rate_at_k(found.doc_ids, labels, labels, 1)
    assert examine(torch.from_numpy(dense), labels).hit_rate_at_1 == pytest.approx(expected)
