"""Regularizers against numbers worked out by hand, against loops, and their gradients."""

import pytest
import torch
from torch.nn import functional as F

from gossamer.errors import ConfigError, DataError, ShapeError
from gossamer.learning.regularizers import flops, l1, no_penalty, unbiased_flops

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
    population = torch.randn(50_000, 4, generator=generator) * (torch.rand(50_000, 4, generator=generator) < 0.1)
    true = flops(population).item()  # of so many rows, the two are one
    for b in (2, 16):
        batches = population.split(b)
        assert sum(unbiased_flops(batch).item() for batch in batches) / len(batches) == pytest.approx(true, rel=0.05)
        assert sum(flops(batch).item() for batch in batches) / len(batches) > 1.5 * true


def test_behind_a_relu_entries_are_their_own_magnitudes_in_value_and_gradient():
    before = torch.randn(6, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = []
    for is_nonnegative in (False, True):
        penalty = flops(F.normalize(F.relu(before)), is_nonnegative=is_nonnegative)
        found.append((penalty, torch.autograd.grad(penalty, before)[0]))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


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
@pytest.mark.parametrize("regularizer", [flops, unbiased_flops, l1, no_penalty])
def test_what_is_no_batch_is_refused(regularizer, rows):
    with pytest.raises(ShapeError, match="embeddings: expected shape"):
        regularizer(rows)


def unbiased_flops_of_classes(rows):
    return unbiased_flops(rows, torch.arange(len(rows)) // 4)


def unbiased_flops_of_shares(rows):
    return unbiased_flops(rows, torch.arange(len(rows)) // 4, class_shares=torch.full((len(rows) // 4,), 4 / len(rows)))


@pytest.mark.parametrize(
    "regularizer", [flops, unbiased_flops, unbiased_flops_of_classes, unbiased_flops_of_shares, l1]
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(regularizer, dtype):
    rows = torch.full((2048, 8), 0.011, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        value = regularizer(rows)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(regularizer(rows.double()).item(), rel=1e-5)
    assert rows.grad.dtype == dtype
    assert rows.grad.isfinite().all()
    assert (rows.grad > 0).all()


@pytest.mark.parametrize("regularizer", [unbiased_flops_of_classes, unbiased_flops_of_shares])
def test_sums_over_classes_are_in_float32_under_autocast_too(regularizer):
    rows = torch.rand(64, 8, generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = regularizer(rows)
    assert value.item() == pytest.approx(regularizer(rows.double()).item(), rel=1e-6)


# Classes of unequal sizes in a batch, in no order.
LABELS = torch.tensor([5, 0, 2, 5, 0, 5, 2])
ROWS = torch.randn(7, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_with_labels_pairs_of_different_classes_are_averaged():
    pairs = [(i, k) for i in range(7) for k in range(7) if LABELS[i] != LABELS[k]]
    expected = sum(abs(float(ROWS[i, j] * ROWS[k, j])) for i, k in pairs for j in range(3)) / len(pairs)
    assert unbiased_flops(ROWS, LABELS).item() == pytest.approx(expected, rel=1e-12)


def test_with_class_shares_pairs_are_weighted_by_them():
    shares = [0.1, 0.2, 0.15, 0.25, 0.05, 0.25]  # of six classes, of which the batch holds three
    expected = 0.0
    for i in range(7):
        for k in range(7):
            c, e = int(LABELS[i]), int(LABELS[k])
            n_c, n_e = LABELS.tolist().count(c), LABELS.tolist().count(e)
            if i == k:
                continue
            weight = (
                6 / 3 * shares[c] ** 2 / (n_c * (n_c - 1))
                if c == e
                else 6 * 5 / (3 * 2) * shares[c] * shares[e] / (n_c * n_e)
            )
            expected += weight * sum(abs(float(ROWS[i, j] * ROWS[k, j])) for j in range(3))
    found = unbiased_flops(ROWS, LABELS, class_shares=torch.tensor(shares))
    assert found.item() == pytest.approx(expected, rel=1e-6)  # the shares are float32


def test_gradients_through_labels_and_shares_equal_finite_differences():
    rows = ROWS.clone().requires_grad_()
    shares = torch.full((6,), 1 / 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: unbiased_flops(x, LABELS), rows)
    assert torch.autograd.gradcheck(lambda x: unbiased_flops(x, LABELS, class_shares=shares), rows)


N_CLASSES, PER_BATCH, N_BATCHES = 24, 16, 4000


class Population:
    """Sparse rows of 24 classes, each with a rate and a size of its own in every dimension; their means are known."""

    def __init__(self):
        generator = torch.Generator().manual_seed(4)
        self.generator = generator
        # Few dimensions a class: same-class rows meet far more often than others.
        self.rates = 0.9 * (torch.rand(N_CLASSES, 32, generator=generator) < 0.15) + 0.02
        self.sizes = 0.5 + torch.rand(N_CLASSES, 32, generator=generator)
        self.class_means = (self.rates * self.sizes).double()

    def draw(self, classes):
        """Draw one row of each of these classes, of either sign."""
        shape = (*classes.shape, 32)
        is_nonzero = torch.rand(shape, generator=self.generator) < self.rates[classes]
        signs = torch.randint(0, 2, shape, generator=self.generator) * 2 - 1
        spread = 0.6 + 0.8 * torch.rand(shape, generator=self.generator)  # of mean 1
        return is_nonzero * signs * spread * self.sizes[classes]

    def batches(self, m):
        """Yield batches of m rows for each of 16 / m different classes, as samplers for metric learning do."""
        for _ in range(N_BATCHES):
            labels = torch.randperm(N_CLASSES, generator=self.generator)[: PER_BATCH // m].repeat_interleave(m)
            yield self.draw(labels), labels


def mean_and_error(values):
    values = torch.tensor(values, dtype=torch.float64)
    return values.mean().item(), 4 * values.std().item() / len(values) ** 0.5


@pytest.mark.parametrize("m", [1, 2, 4, 8])
def test_pairs_of_different_classes_are_unbiased_for_any_number_of_rows_a_class(m):
    population = Population()
    products = population.class_means @ population.class_means.T
    between = (products.sum() - products.trace()).item() / (N_CLASSES * (N_CLASSES - 1))
    found = [(unbiased_flops(*batch).item(), unbiased_flops(batch[0]).item()) for batch in population.batches(m)]
    mean, error = mean_and_error([value for value, _ in found])
    assert mean == pytest.approx(between, abs=error)
    assert error < 0.1 * between
    without_labels, _ = mean_and_error([value for _, value in found])
    assert (without_labels > 1.1 * between) == (m > 1)


@pytest.mark.parametrize("m", [2, 4, 8])
@pytest.mark.parametrize("is_even", [True, False])
def test_pairs_weighted_by_class_shares_are_unbiased_for_the_whole_population(m, is_even):
    population = Population()
    shares = torch.ones(N_CLASSES) if is_even else torch.arange(1.0, N_CLASSES + 1)
    shares = shares / shares.sum()
    true = (shares.double() @ population.class_means).square().sum().item()
    mean, error = mean_and_error(
        [unbiased_flops(*batch, class_shares=shares).item() for batch in population.batches(m)]
    )
    assert mean == pytest.approx(true, abs=error)
    assert error < 0.1 * true


def test_rows_drawn_one_by_one_need_no_labels():
    population = Population()
    true = population.class_means.mean(dim=0).square().sum().item()
    values = []
    for _ in range(N_BATCHES):
        values.append(
            unbiased_flops(population.draw(torch.randint(0, N_CLASSES, (16,), generator=population.generator))).item()
        )
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(true, abs=error)
    assert error < 0.1 * true


@pytest.mark.parametrize("n_parts", [2, 4])
def test_accumulated_gradients_of_unbiased_flops_are_those_of_the_whole_population(n_parts):
    """The mean over parts of a batch, as accumulation makes it, keeps the mean; that of plain flops does not."""
    population = Population()
    scale = torch.ones(32, requires_grad=True)  # the parameters: Σ (scale · μ)² has gradient 2 μ² at 1
    true = 2 * population.class_means.mean(dim=0).square()
    gradients = {unbiased_flops: torch.zeros(32), flops: torch.zeros(32)}
    for _ in range(N_BATCHES // 5):
        rows = population.draw(torch.randint(0, N_CLASSES, (16,), generator=population.generator))
        for regularizer in gradients:
            for part in rows.split(16 // n_parts):
                (gradient,) = torch.autograd.grad(regularizer(scale * part) / n_parts, scale)
                gradients[regularizer] += gradient / (N_BATCHES // 5)
    error = {regularizer: ((total - true).norm() / true.norm()).item() for regularizer, total in gradients.items()}
    assert error[unbiased_flops] < 0.1
    assert error[flops] > 0.25


def test_degenerate_classes_are_refused():
    rows, labels, shares = ROWS[:4], torch.tensor([0, 0, 1, 1]), torch.tensor([0.5, 0.5])
    assert unbiased_flops(rows * 0, labels).item() == unbiased_flops(rows * 0, labels, class_shares=shares).item() == 0
    with pytest.raises(DataError, match="labels: expected rows of at least two classes; got one"):
        unbiased_flops(rows, labels * 0)
    with pytest.raises(DataError, match="labels: expected at least two rows of each class, to pair them; got one"):
        unbiased_flops(rows[:3], labels[:3], class_shares=shares)
    with pytest.raises(ConfigError, match="class_shares: expected labels with them"):
        unbiased_flops(rows, class_shares=shares)
    for wrong in (labels + 1, labels - 1):
        with pytest.raises(ConfigError, match="class_shares: expected one share for each label"):
            unbiased_flops(rows, wrong, class_shares=shares)
    for wrong in (labels[:3], labels.double(), F.one_hot(labels)):
        with pytest.raises(ShapeError, match="labels: expected one whole number for each of 4 rows"):
            unbiased_flops(rows, wrong)
