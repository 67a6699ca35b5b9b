"""Regularizers as modules, alone and in the slots of other libraries."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, MultiSimilarityLoss
from torch import nn

from gossamer import SparseEmbeddings
from gossamer.errors import ConfigError, ShapeError
from gossamer.learning.regularizers import (
    L1,
    REGULARIZERS,
    CorpusFlops,
    Flops,
    UnbiasedFlops,
    flops,
    l1,
    make_regularizer,
    unbiased_flops,
)
from gossamer.metrics import flops_per_document

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def sparse_rows(n=6, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, dim, generator=generator) * (torch.rand(n, dim, generator=generator) < 0.4)
    return nn.functional.normalize(rows).requires_grad_()


@pytest.mark.parametrize(("module", "function"), [(Flops, flops), (L1, l1), (UnbiasedFlops, unbiased_flops)])
def test_modules_compute_their_functions(module, function):
    rows = sparse_rows()
    assert module()(rows).item() == module().eval()(rows).item() == function(rows).item()


def test_labels_are_read_by_those_that_tell_classes_apart():
    rows, shares = sparse_rows(), torch.full((3,), 1 / 3)
    for name in REGULARIZERS:
        regularizer = make_regularizer(name, dim=8)
        assert (regularizer(rows, LABELS).item() != regularizer(rows).item()) == (name == "unbiased-flops")
    weighted = UnbiasedFlops(shares)(rows, LABELS).item()
    assert weighted == unbiased_flops(rows, LABELS, class_shares=shares).item()


@pytest.mark.parametrize("name", REGULARIZERS)
def test_what_is_no_batch_is_refused_by_every_regularizer(name):
    for rows in (torch.zeros(0, 4), torch.zeros(4), torch.zeros(2, 3, 4)):
        with pytest.raises(ShapeError, match="embeddings: expected shape"):
            make_regularizer(name, dim=4)(rows)


def test_corpus_flops_are_the_flops_per_document_where_entries_are_one():
    rng = np.random.default_rng(0)
    queries, documents = ((rng.random((n, 16)) < share).astype(np.float32) for n, share in ((40, 0.2), (90, 0.4)))
    penalty = CorpusFlops(16, half_life=10**12, observes_batch=False)
    for part in np.split(documents, 3):
        penalty.observe(torch.from_numpy(part))
    measured = flops_per_document(SparseEmbeddings.from_dense(queries), SparseEmbeddings.from_dense(documents))
    assert penalty(torch.from_numpy(queries)).item() == pytest.approx(measured, rel=1e-5)


def test_two_corpus_flops_track_what_queries_and_documents_cost():
    queries, documents = sparse_rows(seed=1), sparse_rows(seed=2)
    of_queries, of_documents = CorpusFlops(8), CorpusFlops(8)
    of_queries.observe(queries)
    of_documents.observe(documents)
    measured = flops_per_document(SparseEmbeddings.from_torch(queries), SparseEmbeddings.from_torch(documents))
    assert torch.dot(of_queries.frequencies, of_documents.frequencies).item() == pytest.approx(measured, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_an_observation_counts_half_after_the_half_life_whatever_the_batches(batch_size):
    penalty = CorpusFlops(2, half_life=16)
    penalty.observe(torch.tensor([[1.0, 0.0]]).expand(160, 2))
    for _ in range(16 // batch_size):
        penalty.observe(torch.tensor([[0.0, 1.0]]).expand(batch_size, 2))
    older = 0.5 * (1 - 2**-10)  # after ten half-lives, of which the first is preceded by nothing
    assert penalty.frequencies.tolist() == pytest.approx([older / (older + 0.5), 0.5 / (older + 0.5)])


def test_corpus_flops_penalize_common_dimensions_and_have_no_gradient_into_the_corpus():
    penalty = CorpusFlops(2, observes_batch=False)
    documents = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    penalty.observe(documents)
    query = torch.tensor([[0.5, -2.0]], requires_grad=True)
    penalty(query).backward()
    assert query.grad.tolist() == [[1.0, -0.5]]  # the frequencies, with the signs of the entries
    assert documents.grad is None


def test_corpus_flops_observe_batches_in_training_only_and_are_saved():
    penalty = CorpusFlops(8)
    penalty(sparse_rows())
    seen = penalty.frequencies.clone()
    assert torch.equal(seen, (sparse_rows() != 0).float().mean(dim=0))
    penalty.eval()(sparse_rows(seed=3))
    assert torch.equal(penalty.frequencies, seen)
    loaded = CorpusFlops(8)
    assert loaded.frequencies.eq(0).all()
    loaded.load_state_dict(penalty.state_dict())
    assert torch.equal(loaded.frequencies, seen)


def test_settings_and_rows_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="half_life: expected at least 1; got 0"):
        CorpusFlops(4, half_life=0)
    with pytest.raises(ConfigError, match="dim: expected at least 1; got 0"):
        CorpusFlops(0)
    with pytest.raises(ShapeError, match=r"expected shape \(b >= 1, 4\); got \(2, 5\)"):
        CorpusFlops(4).observe(torch.zeros(2, 5))


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "none"])
@pytest.mark.parametrize("loss", [ContrastiveLoss, MultiSimilarityLoss])
def test_they_fit_the_embedding_regularizer_slot_of_pytorch_metric_learning(name, loss):
    rows = sparse_rows()
    slotted = loss(embedding_regularizer=make_regularizer(name, dim=8), embedding_reg_weight=3.0)(rows, LABELS)
    by_hand = loss()(rows, LABELS) + 3.0 * make_regularizer(name, dim=8)(rows)
    assert slotted.item() == pytest.approx(by_hand.item(), rel=1e-5)
    (slotted_gradient,) = torch.autograd.grad(slotted, rows)
    (expected_gradient,) = torch.autograd.grad(by_hand, rows)
    assert torch.allclose(slotted_gradient, expected_gradient, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "none"])
def test_they_fit_the_regularizer_slots_of_sentence_transformers_splade_loss(name):
    losses = pytest.importorskip("sentence_transformers.sparse_encoder.losses")

    class Columns(nn.Module):
        """In place of a language model: columns whose rows are embeddings already."""

        def forward(self, column):
            return {"sentence_embedding": column["rows"]}

    model, columns = Columns(), [{"rows": sparse_rows(seed=seed)} for seed in (4, 5)]
    base = losses.SparseMultipleNegativesRankingLoss(model)
    splade = losses.SpladeLoss(
        model, base, document_regularizer_weight=3.0, query_regularizer_weight=2.0,
        document_regularizer=make_regularizer(name, dim=8), query_regularizer=make_regularizer(name, dim=8),
    )  # fmt: skip
    found = splade(columns)
    queries, documents = (column["rows"] for column in columns)
    assert found["document_regularizer_loss"].item() == pytest.approx(
        3 * make_regularizer(name, dim=8)(documents).item()
    )
    assert found["query_regularizer_loss"].item() == pytest.approx(2 * make_regularizer(name, dim=8)(queries).item())
    sum(found.values()).backward()
    assert documents.grad.isfinite().all()
