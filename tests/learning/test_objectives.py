"""Losses by name, against their formulas."""

import math

import pytest
import torch
from torch.nn import functional as F

from gossamer.errors import ConfigError
from gossamer.learning.objectives import make_objective


def margin_arcface(cosine):
    return math.cos(math.acos(cosine) + math.radians(15))


def margin_cosface(cosine):
    return cosine - 0.2


@pytest.mark.parametrize(("name", "margin"), [("arcface", margin_arcface), ("cosface", margin_cosface)])
def test_the_loss_is_cross_entropy_over_scaled_cosines_with_a_margin_on_the_true_class(name, margin):
    torch.manual_seed(0)
    objective = make_objective(name, n_classes=3, dim=4)
    embeddings, targets = F.normalize(torch.randn(5, 4)), torch.tensor([0, 1, 2, 0, 1])
    cosines = (embeddings @ F.normalize(objective.W, dim=0)).detach()
    for row, target in enumerate(targets.tolist()):
        cosines[row, target] = margin(cosines[row, target].item())
    expected = F.cross_entropy(32 * cosines, targets).item()
    assert objective(embeddings, targets).item() == pytest.approx(expected, rel=1e-4)


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="loss: expected one of arcface, cosface; got 'mse'"):
        make_objective("mse", n_classes=3, dim=4)
