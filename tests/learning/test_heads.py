"""The head: unit rows, exact zeros, no NaN."""

import pytest
import torch

from gossamer.learning import SparseHead
from gossamer.learning.activations import ACTIVATIONS


def features(n=256, width=20, scale=1.0):
    return scale * torch.randn(n, width, generator=torch.Generator().manual_seed(0))


def head_of(activation, dim=512):
    return SparseHead(20, dim, activation=activation, nnz_per_row=32 if activation == "top-k" else None)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_have_unit_length(activation):
    embeddings = head_of(activation)(features())
    assert embeddings.norm(dim=1).tolist() == pytest.approx([1.0] * 256, abs=1e-5)


SHARES = {  # of a standard normal: above 1, beyond ±1, or as asked for
    "relu": 0.16,
    "soft-threshold": 0.32,
    "learned-soft-threshold": 0.32,
    "jump-relu": 0.16,
    "top-k": 32 / 512,
    "none": 1.0,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scale", [1e-3, 0.02, 1.0, 1e3])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_share_of_nonzeros_at_the_start_does_not_depend_on_the_features_scale(activation, scale, offset):
    share = SHARES[activation]
    embeddings = head_of(activation)(features(scale=scale) + scale * offset)
    assert (embeddings != 0).float().mean().item() == pytest.approx(share, abs=0.03)


def test_features_that_are_all_the_same_make_no_noise():
    head = head_of("none")
    head(torch.full((64, 20), 3.7))
    assert head.norm(head.linear(torch.full((64, 20), 3.7))).abs().max() < 0.2


@pytest.mark.parametrize("activation", ["soft-threshold", "learned-soft-threshold", "top-k"])
def test_soft_thresholds_and_top_k_keep_both_signs(activation):
    embeddings = head_of(activation, dim=64)(features())
    assert (embeddings > 0).any()
    assert (embeddings < 0).any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_embeddings_are_float32_and_gradients_are_about_the_same(activation, dtype):
    head, embeddings, gradients = head_of(activation, dim=64), [], []
    direction = torch.randn(256, 64, generator=torch.Generator().manual_seed(1))
    for is_enabled in (False, True):
        head.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=is_enabled):
            embeddings.append(head(features()))
        (embeddings[-1] * direction).sum().backward()
        gradients.append(torch.cat([weights.grad.flatten() for weights in head.parameters()]))
    assert embeddings[1].dtype == torch.float32
    assert (embeddings[1] - embeddings[0]).norm() < 0.1 * embeddings[0].norm()
    assert (gradients[1] - gradients[0]).norm() < 0.2 * gradients[0].norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
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


def test_rows_of_zeros_do_not_move_the_thresholds_that_made_them():
    head = SparseHead(20, 8, activation="jump-relu")
    torch.nn.init.constant_(head.norm.weight, 0.0)
    torch.nn.init.constant_(head.norm.bias, 0.95)  # within the window of a threshold of 1, and below it
    embeddings = head(features())
    (embeddings * torch.arange(1.0, 9)).sum().backward()
    assert embeddings.eq(0).all()
    assert all(weights.grad.abs().max() < 1e6 for weights in head.parameters())


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


@pytest.mark.parametrize("activation", ["relu", "learned-soft-threshold", "jump-relu"])
def test_dimensions_that_restart_are_as_in_a_new_head_and_others_are_untouched(activation):
    head, new = head_of(activation, dim=64), head_of(activation, dim=64)
    for tensor in head.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(3.0)
    head.restart(torch.tensor([1, 5]), seed=0)
    for name, tensor in head.state_dict().items():
        if tensor.ndim == 0:
            continue
        others = torch.ones(64, dtype=bool)
        others[[1, 5]] = False
        assert tensor[others].eq(3).all(), name
        if name != "linear.weight":
            assert torch.equal(tensor[[1, 5]], new.state_dict()[name][[1, 5]]), name
    drawn = head.linear.weight[[1, 5]]
    assert drawn.unique().numel() == drawn.numel()
    assert drawn.abs().max() <= 20**-0.5
    assert drawn.std().item() == pytest.approx(20**-0.5 / 3**0.5, rel=0.3)
