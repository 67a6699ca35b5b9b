"""Codes against all possible ones and against a linear program; the loss against a loop over triplets."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from gossamer.errors import ConfigError, ShapeError
from gossamer.learning.deep_hashing import DeepHashingLoss, assign_codes, masked_distances, train_deep_hashing
from gossamer.learning.training import TrainingConfig


def cost(codes, outputs, collision_weight):
    """The objective as the paper writes it, pair by pair."""
    total = -sum(output @ code for output, code in zip(outputs, codes, strict=True))
    for p, q in product(range(len(codes)), repeat=2):
        total += collision_weight * (codes[p] @ codes[q]) if p != q else 0
    return total


def every_code(dim, n_active):
    return [np.isin(np.arange(dim), chosen).astype(float) for chosen in combinations(range(dim), n_active)]


@pytest.mark.parametrize("collision_weight", [0.0, 0.05, 0.3, 10.0])
@pytest.mark.parametrize(("n_classes", "dim", "n_active"), [(3, 4, 2), (4, 5, 1), (2, 4, 3), (3, 3, 3), (1, 4, 2)])
def test_codes_cost_as_little_as_the_best_of_all(rng, n_classes, dim, n_active, collision_weight):
    for _ in range(5):
        outputs = rng.standard_normal((n_classes, dim))
        codes = assign_codes(outputs, n_active=n_active, collision_weight=collision_weight)
        assert (codes.sum(axis=1) == n_active).all()
        least = min(cost(z, outputs, collision_weight) for z in product(every_code(dim, n_active), repeat=n_classes))
        assert cost(codes.astype(float), outputs, collision_weight) == pytest.approx(least)


def least_cost_by_linear_program(outputs, n_active, collision_weight):
    """The flow as a linear program: class to bucket, and the t-th place of a bucket at 2 λ (t − 1)."""
    n, dim = outputs.shape
    places = np.tile(2 * collision_weight * np.arange(n), (dim, 1))
    sums = np.zeros((n + dim, 2 * n * dim))
    for p, j in product(range(n), range(dim)):
        sums[p, p * dim + j] = 1  # k buckets for each class
        sums[n + j, p * dim + j] = 1  # what enters a bucket takes its places
        sums[n + j, n * dim + j * n + p] = -1
    goal = np.concatenate([np.full(n, n_active), np.zeros(dim)])
    solved = linprog(np.concatenate([-outputs.ravel(), places.ravel()]), A_eq=sums, b_eq=goal, bounds=(0, 1))
    assert solved.success
    return solved.fun


def test_codes_cost_as_little_as_a_linear_program_finds(rng):
    for n, dim, n_active, weight in [(8, 6, 2, 0.1), (12, 10, 3, 0.02), (6, 16, 4, 0.5), (20, 5, 1, 0.1)]:
        outputs = rng.standard_normal((n, dim)) / np.sqrt(dim)
        codes = assign_codes(outputs, n_active=n_active, collision_weight=weight)
        expected = least_cost_by_linear_program(outputs, n_active, weight)
        assert cost(codes.astype(float), outputs, weight) == pytest.approx(expected)


def test_ties_and_equal_classes_are_shared_out():
    codes = assign_codes(np.ones((4, 8)), n_active=2, collision_weight=0.1)
    assert codes.sum(axis=0).tolist() == [1] * 8  # room for all without a collision


def test_without_collisions_codes_are_the_largest_outputs(rng):
    outputs = rng.standard_normal((10, 20))
    codes = assign_codes(outputs, n_active=3, collision_weight=0.0)
    largest = np.argsort(-outputs, axis=1)[:, :3]
    assert [sorted(row.nonzero()[0].tolist()) for row in codes] == np.sort(largest, axis=1).tolist()


def loss_by_loop(embeddings, targets, codes, margin):
    losses, n = [], len(targets)
    distance = [
        [(np.abs(embeddings[i] - embeddings[j])[codes[i] | codes[j]]).sum() for j in range(n)] for i in range(n)
    ]
    for a, p, other in product(range(n), repeat=3):
        if a != p and targets[a] == targets[p] != targets[other]:
            gap = distance[a][other] - distance[a][p]
            losses += [margin - gap] if 0 < gap < margin else []
    return np.mean(losses) if losses else 0.0


def test_the_loss_is_that_of_semi_hard_triplets_in_the_dimensions_of_codes(rng):
    embeddings = rng.standard_normal((12, 6))
    targets = np.repeat([3, 0, 7], 4)
    loss = DeepHashingLoss(n_active=2, collision_weight=0.2, margin=1.5)
    rows, classes = torch.tensor(embeddings), torch.tensor(targets)
    codes = loss.codes(rows, classes).numpy()
    assert (codes[:4] == codes[0]).all()
    expected = loss_by_loop(embeddings, targets, codes, 1.5)
    assert expected > 0
    assert loss(rows, classes).item() == pytest.approx(expected)


def test_gradients_flow_only_where_a_code_of_the_pair_is_set():
    embeddings = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 4.0, 8.0]], dtype=torch.float64, requires_grad=True)
    codes = torch.tensor([[True, False, False, False], [False, False, True, False]])
    distances = masked_distances(embeddings, codes)
    assert distances.tolist() == [[0, 5], [5, 0]]
    distances[0, 1].backward()
    assert embeddings.grad.tolist() == [[-1, 0, -1, 0], [1, 0, 1, 0]]
    assert torch.autograd.gradcheck(lambda x: masked_distances(x, codes)[0, 1], embeddings)


def test_a_batch_of_one_class_has_no_loss():
    embeddings = torch.randn(4, 5, requires_grad=True)
    loss = DeepHashingLoss(n_active=2)(embeddings, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()


def test_training_puts_images_of_one_class_into_the_same_buckets_and_others_into_others(config, images):
    settings = TrainingConfig(steps=60, batch_size=32, rows_per_class=4, device="cpu", augmentation=None)
    loss = DeepHashingLoss(n_active=4, collision_weight=0.05)
    trained = train_deep_hashing(images, replace(config, activation="none", dim=32), settings, loss=loss)
    with torch.no_grad():
        outputs = trained.encoder(torch.from_numpy(images.pixels))
    active = outputs.topk(4, dim=1).indices.numpy()
    shared = np.array([[np.intersect1d(a, b).size for a in active] for b in active])
    same = images.labels[:, None] == images.labels[None, :]
    assert shared[same].mean() > 3  # of 4; before training about as many
    assert shared[~same].mean() < 1  # before training above 2
    assert trained.history[-1]["step"] == 60


def test_bad_settings_are_refused(config, images):
    with pytest.raises(ConfigError, match="n_active: expected at most dim = 3; got 4"):
        assign_codes(np.ones((2, 3)), n_active=4, collision_weight=0.1)
    with pytest.raises(ConfigError, match="collision_weight: expected a finite number of at least 0; got -1"):
        assign_codes(np.ones((2, 3)), n_active=1, collision_weight=-1)
    with pytest.raises(ShapeError, match="outputs: expected finite numbers"):
        assign_codes([[np.nan, 1.0]], n_active=1, collision_weight=0.1)
    with pytest.raises(ConfigError, match="margin: expected a finite number above 0; got 0"):
        DeepHashingLoss(n_active=1, margin=0)
    loss, settings = DeepHashingLoss(n_active=4), TrainingConfig(steps=1, rows_per_class=4)
    with pytest.raises(ConfigError, match="activation: expected 'none' for hash codes; got 'relu'"):
        train_deep_hashing(images, config, settings, loss=loss)
    dense = replace(config, activation="none")
    with pytest.raises(ConfigError, match="rows_per_class: expected at least 2 for hash codes; got None"):
        train_deep_hashing(images, dense, TrainingConfig(steps=1), loss=loss)
    with pytest.raises(ConfigError, match="n_active: expected at most dim = 3; got 4"):
        train_deep_hashing(images, replace(dense, dim=3), settings, loss=loss)


def test_outputs_of_any_size_are_assigned(rng):
    outputs = rng.standard_normal((6, 8))
    small = assign_codes(outputs, n_active=3, collision_weight=0.5)
    np.testing.assert_array_equal(assign_codes(outputs * 2.0**60, n_active=3, collision_weight=0.5 * 2.0**60), small)
