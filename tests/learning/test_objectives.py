"""Losses by name, against their formulas."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from gossamer.errors import ConfigError
from gossamer.learning.objectives import OBJECTIVES, CustomObjective, make_objective


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


# Two rows of each of three classes, on the unit sphere.
EMBEDDINGS = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])
SCORES = (EMBEDDINGS @ EMBEDDINGS.T).tolist()
SQUARED = [[2 - 2 * score for score in row] for row in SCORES]
SAME = [(i, k) for i in range(6) for k in range(6) if i != k and TARGETS[i] == TARGETS[k]]
OTHER = [(i, k) for i in range(6) for k in range(6) if TARGETS[i] != TARGETS[k]]


def mean(values):
    return sum(values) / len(values)


def loss_of(name, **settings):
    return make_objective(name, n_classes=3, dim=4, **settings)(EMBEDDINGS, TARGETS).item()


@pytest.mark.parametrize("margin", [0.1, 0.2, 1.0])
def test_semi_hard_triplets_are_those_whose_negative_is_farther_by_less_than_the_margin(margin):
    gaps = [SQUARED[a][n] - SQUARED[a][p] for a, p in SAME for b, n in OTHER if a == b]
    semi_hard = [margin - gap for gap in gaps if 0 < gap <= margin]
    assert 0 < len(semi_hard) < len(gaps)
    assert loss_of("semi-hard-triplet", margin=margin) == pytest.approx(mean(semi_hard), rel=1e-6)


def test_n_pairs_is_cross_entropy_over_scaled_scores_of_one_pair_a_class():
    """Which of a pair is the anchor is left to the library: one of the eight choices it is."""
    choices = []
    for flips in itertools.product([0, 3], repeat=3):
        anchors, positives = [i + flip for i, flip in enumerate(flips)], [i + 3 - flip for i, flip in enumerate(flips)]
        logits = torch.tensor([[16.0 * SCORES[a][p] for p in positives] for a in anchors])
        choices.append(F.cross_entropy(logits, torch.arange(3)).item())
    found = loss_of("n-pairs", scale=16.0)
    assert min(abs(found - choice) for choice in choices) < 1e-5


def test_multi_similarity_weighs_the_pairs_that_its_miner_keeps():
    rows = []
    for i in range(6):
        positives = [SCORES[i][k] for a, k in SAME if a == i]
        negatives = [SCORES[i][k] for a, k in OTHER if a == i]
        hard_positives = [score for score in positives if score - 0.1 < max(negatives)]
        hard_negatives = [score for score in negatives if score + 0.1 > min(positives)]
        of_positives = math.log1p(sum(math.exp(-2 * (score - 0.4)) for score in hard_positives)) / 2
        rows.append(of_positives + math.log1p(sum(math.exp(30 * (score - 0.4)) for score in hard_negatives)) / 30)
    assert loss_of("multi-similarity", margin=0.4, scale=30.0) == pytest.approx(mean(rows), rel=1e-6)


def test_contrastive_is_the_distance_within_classes_and_what_it_lacks_to_the_margin_between_them():
    within = mean([SQUARED[i][k] ** 0.5 for i, k in SAME])
    between = mean([0.9 - SQUARED[i][k] ** 0.5 for i, k in OTHER if SQUARED[i][k] ** 0.5 < 0.9])
    assert loss_of("contrastive", margin=0.9) == pytest.approx(within + between, rel=1e-6)


def test_proxy_anchor_pulls_each_class_to_its_proxy_and_pushes_the_others():
    torch.manual_seed(0)
    objective = make_objective("proxy-anchor", n_classes=4, dim=4, margin=0.2, scale=8.0)
    cosines = (EMBEDDINGS.float() @ F.normalize(objective.proxies).T).tolist()
    pulls, pushes = [], []
    for proxy in range(4):
        own = [math.exp(-8 * (cosines[i][proxy] - 0.2)) for i in range(6) if TARGETS[i] == proxy]
        others = [math.exp(8 * (cosines[i][proxy] + 0.2)) for i in range(6) if TARGETS[i] != proxy]
        pushes.append(math.log1p(sum(others)))
        pulls += [math.log1p(sum(own))] if own else []  # class 3 has no row
    found = objective(EMBEDDINGS.float(), TARGETS).item()
    assert found == pytest.approx(mean(pulls) + mean(pushes), rel=1e-5)


def test_margin_and_scale_of_arcface_are_the_papers_units():
    torch.manual_seed(0)
    objective = make_objective("arcface", n_classes=3, dim=4, margin=0.5, scale=64.0)
    embeddings = EMBEDDINGS.float()
    cosines = (embeddings @ F.normalize(objective.W, dim=0)).detach()
    for row, target in enumerate(TARGETS.tolist()):
        cosines[row, target] = math.cos(math.acos(cosines[row, target].item()) + 0.5)
    expected = F.cross_entropy(64 * cosines, TARGETS).item()
    assert objective(embeddings, TARGETS).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_loss_has_a_finite_gradient_even_where_rows_are_zero_or_alone(name):
    for rows, targets in (
        (EMBEDDINGS.float(), TARGETS),
        (torch.zeros(6, 4), TARGETS),
        (EMBEDDINGS.float()[:2], TARGETS[:2]),
    ):
        embeddings = rows.clone().requires_grad_()
        make_objective(name, n_classes=3, dim=4)(embeddings, targets).backward()
        assert embeddings.grad.isfinite().all()


def test_a_loss_of_the_callers_is_called_and_one_that_is_a_module_has_its_parameters():
    module = torch.nn.Bilinear(4, 4, 1)
    assert list(CustomObjective(module).parameters()) == list(module.parameters())
    assert CustomObjective(lambda rows, targets: rows.sum() + targets.sum())(torch.ones(2, 3), torch.ones(2)) == 8


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="loss: expected one of arcface, cosface, .*contrastive; got 'mse'"):
        make_objective("mse", n_classes=3, dim=4)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("arcface", {"margin": 0.0}, "margin: expected a finite number above 0; got 0.0"),
        ("arcface", {"scale": math.inf}, "scale: expected a finite number above 0; got inf"),
        ("contrastive", {"scale": 3.0}, "scale: the loss 'contrastive' has none; got 3.0"),
        ("n-pairs", {"margin": 0.1}, "margin: the loss 'n-pairs' has none; got 0.1"),
    ],
)
def test_settings_that_a_loss_cannot_take_are_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_objective(name, n_classes=3, dim=4, **settings)
