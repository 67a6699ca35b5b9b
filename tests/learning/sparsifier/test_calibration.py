import numpy as np
import pytest
import torch

from gossamer.learning.sparsifier.calibration import calibrate_network
from gossamer.learning.sparsifier.config import SparsifierConfig
from gossamer.learning.sparsifier.network import SparsifierNetwork


@pytest.fixture
def corpus():
    return torch.nn.functional.normalize(torch.randn(600, 16, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def network(corpus):
    config = SparsifierConfig(
        width=16, dim=128, flops_per_document=1.0, activation="relu", objective="similarity", regularizer="flops",
        steps=1, batch_size=2, learning_rate=0.1, random_state=0, device="cpu",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SparsifierNetwork(config).eval()
    network.settle(corpus)
    return network


@torch.no_grad()
@pytest.mark.parametrize("flops", [0.25, 1.0, 2.0])
def test_unseen_rows_cost_what_was_asked_for_against_the_corpus(network, corpus, flops):
    documents, queries = corpus[:500], corpus[500:]
    said = calibrate_network(network, documents, queries, flops_per_document=flops)
    in_documents, in_queries = ((network(rows) != 0).double().mean(dim=0) for rows in (documents, queries))
    assert said == pytest.approx(float(in_documents @ in_queries), rel=1e-6)
    assert said == pytest.approx(flops, rel=0.05)


@torch.no_grad()
def test_every_dimension_is_used_by_an_equal_share_of_the_corpus(network, corpus):
    calibrate_network(network, corpus, corpus, flops_per_document=1.0)
    counts = (network(corpus) != 0).sum(dim=0)
    # But for the rows' largest entries, which are kept in any case.
    assert counts.float().std() < 0.1 * counts.float().mean()


@torch.no_grad()
def test_a_budget_above_what_the_rows_cost_drops_nothing(network, corpus):
    whole = network(corpus)
    cost = calibrate_network(network, corpus, corpus, flops_per_document=100.0)
    frequencies = (whole != 0).double().mean(dim=0)
    assert cost == pytest.approx(float(frequencies @ frequencies), rel=1e-6)
    torch.testing.assert_close(network(corpus), whole)


@torch.no_grad()
def test_rows_of_zeros_stay_zero_and_others_do_not(network, corpus):
    calibrate_network(network, corpus, corpus, flops_per_document=0.01)
    rows = torch.cat([corpus[:50], torch.zeros(1, 16)])
    np.testing.assert_array_equal(network(rows).any(dim=1).numpy(), [True] * 50 + [False])
