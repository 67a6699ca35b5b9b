"""Regularizers against numbers worked out by hand, against loops, and their gradients."""

import pytest
import torch

from gossamer.errors import ShapeError
from gossamer.learning.regularizers import REGULARIZERS, flops, l1, no_penalty, unbiased_flops

# Column magnitudes: (3, 1), (0, 2), (1, 1).
BATCH = torch.tensor([[3.0, 0.0, -1.0], [-1.0, -2.0, 1.0]])


def flops_by_loops(rows):
    b, d = rows.shape
    return sum((sum(abs(float(rows[i, j])) for i in range(b)) / b) ** 2 for j in range(d))


def unbiased_flops_by_loops(rows):
    b, d = rows.shape
    pairs = [(i, k) for i in range(b) for k in range(b) if i != k]
    return sum(abs(float(rows[i, j])) * abs(float(rows[k, j])) for i, k in pairs for j in range(d)) / len(pairs)


def l1_by_loops(rows):
    b, d = rows.shape
    return sum(abs(float(rows[i, j])) for i in range(b) for j in range(d)) / b


def test_a_batch_by_hand():
    assert flops(BATCH).item() == 2.0**2 + 1.0**2 + 1.0**2
    assert unbiased_flops(BATCH).item() == 3 * 1 + 0 * 2 + 1 * 1
    assert l1(BATCH).item() == (3 + 0 + 1 + 1 + 2 + 1) / 2
    assert no_penalty(BATCH).item() == 0


@pytest.mark.parametrize(
    ("regularizer", "by_loops"), [(flops, flops_by_loops), (unbiased_flops, unbiased_flops_by_loops), (l1, l1_by_loops)]
)
def test_formulas_equal_loops_on_rows_of_both_signs(regularizer, by_loops):
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert regularizer(rows).item() == pytest.approx(by_loops(rows), rel=1e-12)


@pytest.mark.parametrize("regularizer", [flops, unbiased_flops, l1])
def test_gradients_equal_finite_differences(regularizer):
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(regularizer, rows)


def test_only_the_unbiased_flops_do_not_depend_on_the_batch_size():
    generator = torch.Generator().manual_seed(2)
    population = torch.randn(200_000, 4, generator=generator) * (torch.rand(200_000, 4, generator=generator) < 0.1)
    true = flops(population).item()  # of so many rows, the two are one
    for b in (2, 16):
        batches = population.split(b)
        assert sum(unbiased_flops(batch).item() for batch in batches) / len(batches) == pytest.approx(true, rel=0.05)
        assert sum(flops(batch).item() for batch in batches) / len(batches) > 1.5 * true


def test_flops_prefer_even_rows_and_l1_does_not_tell_them_apart():
    even, uneven = torch.eye(4), torch.eye(4)[[0, 0, 0, 0]]
    assert flops(even).item() == pytest.approx(flops(uneven).item() / 4)
    assert l1(even).item() == l1(uneven).item()


@pytest.mark.parametrize("regularizer", [flops, unbiased_flops, l1])
def test_an_all_zero_batch_costs_nothing_and_has_a_finite_gradient(regularizer):
    rows = torch.zeros(3, 4, requires_grad=True)
    regularizer(rows).backward()
    assert regularizer(rows).item() == 0
    assert rows.grad.tolist() == torch.zeros(3, 4).tolist()


def test_one_row_has_flops_but_no_pair():
    assert flops(BATCH[:1]).item() == 9 + 1
    with pytest.raises(ShapeError, match=r"b >= 2, d\); got \(1, 3\)"):
        unbiased_flops(BATCH[:1])


@pytest.mark.parametrize("rows", [torch.zeros(0, 4), torch.zeros(4), torch.zeros(2, 3, 4)])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_what_is_no_batch_is_refused(name, rows):
    with pytest.raises(ShapeError, match="embeddings: expected shape"):
        REGULARIZERS[name](rows)


@pytest.mark.parametrize("regularizer", [flops, unbiased_flops, l1])
def test_half_precision_is_summed_in_float32(regularizer):
    rows = torch.full((4096, 8), 0.011, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = regularizer(rows)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(regularizer(rows.double()).item(), rel=1e-5)
