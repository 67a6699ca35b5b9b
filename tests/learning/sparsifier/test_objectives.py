"""Objectives against sums written out by loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from gossamer.errors import ConfigError
from gossamer.learning.sparsifier.objectives import LABEL_BONUS, OBJECTIVES, TEMPERATURE, make_objective


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    dense = F.normalize(torch.randn(6, 5, generator=generator, dtype=torch.float64))
    sparse = F.normalize(torch.relu(torch.randn(6, 9, generator=generator, dtype=torch.float64)))
    return sparse, dense


def softmax(scores):
    exponents = [math.exp(score) for score in scores]
    return [exponent / sum(exponents) for exponent in exponents]


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 0, 1, 2, 2])])
def test_similarity_is_the_divergence_over_the_other_rows(batch, labels):
    sparse, dense = batch
    total = 0.0
    for i in range(6):
        others = [k for k in range(6) if k != i]
        bonus = [0.0 if labels is None or labels[i] != labels[k] else LABEL_BONUS for k in others]
        wanted = softmax([(float(dense[i] @ dense[k]) + b) / TEMPERATURE for k, b in zip(others, bonus, strict=True)])
        found = softmax([float(sparse[i] @ sparse[k]) / TEMPERATURE for k in others])
        total += sum(w * math.log(w / f) for w, f in zip(wanted, found, strict=True)) / 6
    objective = make_objective("similarity", width=5, dim=9).double()
    assert float(objective(sparse, dense, labels).detach()) == pytest.approx(total)


def test_squared_similarity_is_the_mean_over_pairs(batch):
    sparse, dense = batch
    pairs = [(i, k) for i in range(6) for k in range(6) if i != k]
    mean = sum((float(sparse[i] @ sparse[k]) - float(dense[i] @ dense[k])) ** 2 for i, k in pairs) / len(pairs)
    assert float(make_objective("squared-similarity", width=5, dim=9)(sparse, dense)) == pytest.approx(mean)


def test_contrastive_wants_the_nearest_dense_row(batch):
    sparse, dense = batch
    total = 0.0
    for i in range(6):
        others = [k for k in range(6) if k != i]
        nearest = max(others, key=lambda k, i=i: float(dense[i] @ dense[k]))
        found = softmax([float(sparse[i] @ sparse[k]) / TEMPERATURE for k in others])
        total -= math.log(found[others.index(nearest)]) / 6
    assert float(make_objective("contrastive", width=5, dim=9).double()(sparse, dense).detach()) == pytest.approx(total)


def test_reconstruction_is_the_squared_distance_of_what_a_layer_makes(batch):
    sparse, dense = batch
    objective = make_objective("reconstruction", width=5, dim=9).double()
    decoder = objective.decoder.requires_grad_(False)
    made = sparse @ decoder.weight.T + decoder.bias
    expected = sum(float((made[i] - dense[i]) @ (made[i] - dense[i])) for i in range(6)) / 6
    assert float(objective(sparse, dense)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["similarity", "squared-similarity"])
def test_rows_that_are_alike_in_both_spaces_need_no_change(name, batch):
    _, dense = batch
    assert float(make_objective(name, width=5, dim=5).double()(dense, dense).detach()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_reaches_the_sparse_rows(name, batch):
    sparse, dense = batch
    sparse.requires_grad_()
    make_objective(name, width=5, dim=9).double()(sparse, dense).backward()
    assert (sparse.grad != 0).any(dim=1).all()


def test_an_unknown_objective_is_refused():
    with pytest.raises(ConfigError, match="objective: expected one of similarity, squared-similarity"):
        make_objective("magic", width=5, dim=9)
