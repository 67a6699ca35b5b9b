"""Activations against their formulas."""

import math

import pytest
import torch

from gossamer.errors import ConfigError, ShapeError
from gossamer.learning import AbsoluteTopK, JumpReLU, LearnedSoftThreshold, SoftThreshold
from gossamer.learning.activations import ACTIVATIONS, make_activation


def test_soft_threshold_shrinks_both_signs_and_makes_exact_zeros():
    x = torch.tensor([-3.0, -0.5, -0.25, 0.0, 0.5, 0.75, 2.0])
    formula = torch.sign(x) * (x.abs() - 0.5).clamp(min=0)
    assert SoftThreshold(0.5)(x).tolist() == formula.tolist() == [-2.5, 0, 0, 0, 0, 0.25, 1.5]


def test_soft_threshold_passes_gradients_outside_the_threshold_only():
    x = torch.tensor([-2.0, -0.2, 0.2, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SoftThreshold(0.5), x)
    SoftThreshold(0.5)(x).sum().backward()
    assert x.grad.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("theta", [0.0, -0.1, float("nan"), float("inf")])
def test_a_threshold_that_zeroes_nothing_is_refused(theta):
    with pytest.raises(ConfigError, match="theta: expected a finite number above 0"):
        SoftThreshold(theta)


def test_a_learned_threshold_shrinks_each_dimension_by_its_own():
    activation = LearnedSoftThreshold(3, 0.5)
    x = torch.tensor([[-2.0, 0.4, 0.6], [2.0, -0.6, 0.0]])
    assert torch.allclose(activation(x), SoftThreshold(0.5)(x))
    with torch.no_grad():
        activation.log_theta.copy_(torch.tensor([1.0, 0.1, 0.3]).log())
    assert activation(x).flatten().tolist() == pytest.approx([-1.0, 0.3, 0.3, 1.0, -0.5, 0.0])


def test_a_learned_threshold_has_the_gradient_of_its_formula():
    activation = LearnedSoftThreshold(3, 0.5).double()
    x = torch.tensor([[-2.0, 0.2, 0.7], [1.5, -0.9, -0.1]], dtype=torch.float64, requires_grad=True)
    log_theta = torch.tensor([0.1, -0.5, -1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, log_theta: torch.func.functional_call(activation, {"log_theta": log_theta}, x), (x, log_theta)
    )


def test_jump_relu_keeps_what_is_above_the_threshold_as_it_is():
    x = torch.tensor([[-2.0, 0.49, 0.51, 3.0]], requires_grad=True)
    activation = JumpReLU(4, 0.5, bandwidth=1e-3)
    assert activation(x).tolist() == [pytest.approx([0, 0, 0.51, 3.0])]
    activation(x).sum().backward()
    assert x.grad.tolist() == [[0, 0, 1, 1]]


def test_jump_relu_in_a_linear_loss_has_the_gradient_of_the_mean():
    rows = torch.linspace(-1, 2, 30_001, dtype=torch.float64)[:, None]
    activation = JumpReLU(1, 0.5, bandwidth=0.05).double()
    activation(rows).mean().backward()
    assert activation.log_theta.grad.item() / 0.5 == pytest.approx(-0.5 / 3, rel=1e-2)  # −θ p(θ), p = 1/3


def test_top_k_keeps_the_largest_magnitudes_of_each_row():
    x = torch.randn(20, 9, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(x)
    for row in range(20):
        for j in sorted(range(9), key=lambda j: -abs(x[row, j].item()))[:4]:
            expected[row, j] = x[row, j]
    assert torch.equal(AbsoluteTopK(4)(x), expected)


def test_top_k_passes_gradients_to_what_it_keeps_and_keeps_k_of_ties():
    x = torch.tensor([[-2.0, 0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(AbsoluteTopK(2), x)
    AbsoluteTopK(2)(x).sum().backward()
    assert x.grad.tolist() == [[1, 0, 1]]
    assert AbsoluteTopK(2)(torch.ones(1, 5)).sum() == 2


def test_settings_that_cannot_be_right_are_refused():
    for make in (lambda: LearnedSoftThreshold(4, 0.0), lambda: JumpReLU(4, math.nan)):
        with pytest.raises(ConfigError, match="theta: expected a finite number above 0"):
            make()
    with pytest.raises(ConfigError, match="bandwidth: expected a finite number above 0; got 0"):
        JumpReLU(4, 1.0, bandwidth=0.0)
    with pytest.raises(ConfigError, match="dim: expected at least 1"):
        LearnedSoftThreshold(0, 1.0)
    with pytest.raises(ConfigError, match="k: expected at least 1; got 0"):
        AbsoluteTopK(0)
    for activation in (LearnedSoftThreshold(4, 1.0), JumpReLU(4, 1.0), AbsoluteTopK(4)):
        with pytest.raises(ShapeError, match="x: expected"):
            activation(torch.zeros(2, 3))


def test_activations_by_name():
    x = torch.tensor([[-2.0, 0.3, 2.0]])
    expected = {
        "relu": [0, 0.3, 2],
        "soft-threshold": [-1.5, 0, 1.5],
        "learned-soft-threshold": [-1.5, 0, 1.5],
        "jump-relu": [0, 0, 2],
        "top-k": [-2, 0, 2],
        "none": [-2, 0.3, 2],
    }
    assert tuple(expected) == ACTIVATIONS
    for name, values in expected.items():
        activation = make_activation(name, dim=3, theta=0.5, nnz_per_row=2 if name == "top-k" else None)
        assert activation(x)[0].tolist() == pytest.approx(values)
    with pytest.raises(ConfigError, match="activation: expected one of relu, soft-threshold, .*none; got 'gelu'"):
        make_activation("gelu", dim=3)
    with pytest.raises(ConfigError, match="nnz_per_row: expected a number if and only if activation is 'top-k'"):
        make_activation("relu", dim=3, nnz_per_row=2)
    with pytest.raises(ConfigError, match="nnz_per_row: expected at most dim = 3; got 4"):
        make_activation("top-k", dim=3, nnz_per_row=4)
