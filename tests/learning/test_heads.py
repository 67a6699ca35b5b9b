"""The head: unit rows, exact zeros, no NaN."""

import pytest
import torch

from gossamer.learning import SparseHead


def features(n=256, width=20, scale=1.0):
    return scale * torch.randn(n, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", ["relu", "soft-threshold", "none"])
def test_rows_have_unit_length(activation):
    embeddings = SparseHead(20, 512, activation=activation)(features())
    assert embeddings.norm(dim=1).tolist() == pytest.approx([1.0] * 256, abs=1e-5)


@pytest.mark.parametrize(("activation", "share"), [("relu", 0.16), ("soft-threshold", 0.32), ("none", 1.0)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 1e3])
def test_the_share_of_nonzeros_at_the_start_does_not_depend_on_the_features_scale(activation, share, scale):
    embeddings = SparseHead(20, 512, activation=activation)(features(scale=scale))
    assert (embeddings != 0).float().mean().item() == pytest.approx(share, abs=0.03)


def test_soft_threshold_keeps_both_signs():
    embeddings = SparseHead(20, 64, activation="soft-threshold")(features())
    assert (embeddings > 0).any()
    assert (embeddings < 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_the_activation_zeroes_stays_zero_with_a_finite_gradient(dtype):
    head = SparseHead(20, 8).eval()
    torch.nn.init.constant_(head.norm.bias, -100.0)
    x = features(n=3).requires_grad_()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        embeddings = head(x)
    embeddings.sum().backward()
    assert embeddings.dtype == torch.float32
    assert embeddings.eq(0).all()
    assert x.grad.isfinite().all()


def test_thresholds_drop_small_entries_of_unit_rows_in_evaluation_only():
    head = SparseHead(20, 256)
    for _ in range(50):  # moves the running statistics
        in_training = head(features())
    whole = head.eval()(features())
    head.thresholds[:128] = 0.2
    expected = whole.clone()
    expected[:, :128][whole[:, :128] <= 0.2] = 0
    expected = expected / expected.norm(dim=1, keepdim=True)
    found = head(features())
    assert torch.equal(found != 0, expected != 0)
    assert torch.allclose(found, expected)
    assert (found != 0).sum() < (whole != 0).sum()
    assert torch.equal(head.train()(features()), in_training)


def test_thresholds_of_zero_change_no_bit():
    head = SparseHead(20, 64, activation="none").eval()
    activations = head.norm(head.linear(features()))
    assert torch.equal(head(features()), torch.nn.functional.normalize(activations))
