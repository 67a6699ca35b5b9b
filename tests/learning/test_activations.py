"""Activations against their formula."""

import pytest
import torch

from gossamer.errors import ConfigError
from gossamer.learning import SoftThreshold
from gossamer.learning.activations import make_activation


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


def test_activations_by_name():
    x = torch.tensor([-2.0, 0.3, 2.0])
    assert make_activation("relu", theta=0.5)(x).tolist() == pytest.approx([0, 0.3, 2])
    assert make_activation("soft-threshold", theta=0.5)(x).tolist() == pytest.approx([-1.5, 0, 1.5])
    assert make_activation("none", theta=0.5)(x).tolist() == pytest.approx([-2, 0.3, 2])
    with pytest.raises(ConfigError, match="activation: expected one of relu, soft-threshold, none; got 'gelu'"):
        make_activation("gelu", theta=0.5)
