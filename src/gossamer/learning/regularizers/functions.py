"""Regularizers as functions of a batch of activations, which training adds to the loss, times a weight.

Each sums in float32 at least, also under autocast, and accepts activations of any sign. Each reads one
process's batch, unless ``across_ranks`` joins those of all: then value and gradient, after the averaging
of DistributedDataParallel, are those of one process on the joined batch. `gossamer.learning.Flops` and
its like do so by themselves, in training.
"""

import torch
from torch import Tensor

from gossamer.errors import ConfigError, DataError
from gossamer.learning.regularizers.totals import BatchTotals, batch_totals, check_batch


def flops(embeddings: Tensor, *, across_ranks: bool = False, is_nonnegative: bool = False) -> Tensor:
    r"""Compute the differentiable surrogate of the FLOPs per document.

    .. math:: \sum_{j=1}^{d} \Bigl( \frac{1}{b} \sum_{i=1}^{b} |a_{ij}| \Bigr)^2

    Its mean over batches is μ² + σ²/b in each dimension: the smaller the batch, the larger; where
    gradients are accumulated, b is the rows of one part. `unbiased_flops` does not depend on b.

    Parameters
    ----------
    embeddings : Tensor, shape (b, d)
        One batch of activations, of any sign.
    across_ranks : bool
        Whether the batch is that of all processes; see `gossamer.learning.regularizers.totals.batch_totals`.
    is_nonnegative : bool
        Whether no entry is below 0, as after a ReLU: the value is then the same without the time that taking
        magnitudes takes, and so is the gradient behind the ReLU.

    Returns
    -------
    Tensor, shape ()
        At least 0, and 0 only if every entry is 0.

    Raises
    ------
    ShapeError
        If ``embeddings`` is not a matrix with at least one row.

    References
    ----------
    Paria et al., "Minimizing FLOPs to Learn Efficient Sparse Representations", ICLR 2020,
    arXiv:2004.05665. The probability that entry j is nonzero is relaxed to its mean magnitude.
    """
    totals = batch_totals(embeddings, across_ranks=across_ranks, is_nonnegative=is_nonnegative)
    return (totals.magnitudes[0] / totals.n_rows).square().sum()


def unbiased_flops(
    embeddings: Tensor,
    labels: Tensor | None = None,
    *,
    class_shares: Tensor | None = None,
    across_ranks: bool = False,
) -> Tensor:
    r"""Compute the FLOPs surrogate over pairs of different rows, so that it does not depend on b.

    Without labels, for rows drawn independently, the mean over all pairs:

    .. math:: \sum_{j=1}^{d} \frac{(\sum_i |a_{ij}|)^2 - \sum_i a_{ij}^2}{b (b - 1)}

    Its mean over batches is Σ_j μ_j² for every b, where `flops` adds σ²/b. So is its mean over the parts
    of a batch whose gradients are accumulated.

    Rows that a sampler draws class by class are not independent: pairs of one class are far too many
    (measured: 2.2, 4.8, 10 times too large for 2, 4, 8 rows a class in a batch of 64). With labels, S_c
    the sum of a class's magnitudes and n_c its rows, the mean over pairs of different classes:

    .. math:: \frac{\|\sum_c S_c\|^2 - \sum_c \|S_c\|^2}{b^2 - \sum_c n_c^2}

    This leaves out what documents of one class cost each other, a share of about 1/C of all pairs. With
    class shares as well, pairs within a class are put back with their share, by Horvitz and Thompson
    (1952), for K of all C classes drawn evenly and without repetition, and any n_c ≥ 2:

    .. math::

        \frac{C (C - 1)}{K (K - 1)} \sum_{c \ne c'} \pi_c \pi_{c'} \frac{S_c \cdot S_{c'}}{n_c n_{c'}}
        + \frac{C}{K} \sum_c \pi_c^2 \frac{\|S_c\|^2 - \sum_{i \in c} \|a_i\|^2}{n_c (n_c - 1)}

    whose mean is :math:`\|\sum_c \pi_c \mu_c\|^2`, the surrogate of a corpus with these shares.

    Parameters
    ----------
    embeddings : Tensor, shape (b, d)
        One batch of at least two rows of activations, of any sign.
    labels : Tensor, shape (b,), optional
        The class of each row, whole numbers. For batches with a set number of rows a class; rows that
        were drawn independently of their class need none.
    class_shares : Tensor, shape (C,), optional
        π: the share of each class among the documents; only with labels, which then are from 0 to
        C − 1.
    across_ranks : bool
        Whether the batch is that of all processes; see `gossamer.learning.regularizers.totals.batch_totals`. A
        class may have rows on several.

    Returns
    -------
    Tensor, shape ()
        At least 0 up to rounding; 0 if no two rows share a dimension.

    Raises
    ------
    ShapeError
        If ``embeddings`` is not a matrix with at least two rows (one row has no pair), or there is not
        one whole number in ``labels`` for each.
    DataError
        If the rows are of one class only, or, with class shares, one class has a single row.
    ConfigError
        If class shares are given without labels, or have no share for a label.
    """
    totals = batch_totals(embeddings, labels, across_ranks=across_ranks, with_squares=True, min_rows=2)
    if labels is None:
        if class_shares is not None:
            raise ConfigError("class_shares: expected labels with them; got none")
        n_pairs = totals.n_rows * (totals.n_rows - 1)
        return (totals.magnitudes[0].square().sum() - totals.squares[0]) / n_pairs
    if len(totals.classes) < 2:
        raise DataError("labels: expected rows of at least two classes; got one. Without labels, rows are independent")
    if class_shares is not None:
        return _weighted_by_shares(totals, class_shares)
    of_all = totals.magnitudes.sum(dim=0).square().sum()
    n_pairs = totals.n_rows.square() - totals.counts.square().sum()
    return (of_all - totals.magnitudes.square().sum()) / n_pairs


def l1(embeddings: Tensor, *, across_ranks: bool = False) -> Tensor:
    r"""Compute the mean ℓ1 norm of the rows: it makes rows sparse, but not even over dimensions.

    .. math:: \frac{1}{b} \sum_{i=1}^{b} \sum_{j=1}^{d} |a_{ij}|

    Arguments, range of the result and errors are those of `flops`.
    """
    totals = batch_totals(embeddings, across_ranks=across_ranks)
    return totals.magnitudes.sum() / totals.n_rows


def no_penalty(embeddings: Tensor) -> Tensor:
    """Return 0 for any batch of shape (b, d); errors as in `flops`."""
    check_batch(embeddings)
    return embeddings.new_zeros((), dtype=torch.promote_types(embeddings.dtype, torch.float32))


def _weighted_by_shares(totals: BatchTotals, class_shares: Tensor) -> Tensor:
    n_classes, n_drawn = len(class_shares), len(totals.classes)
    if class_shares.ndim != 1 or int(totals.classes[0]) < 0 or int(totals.classes[-1]) >= n_classes:
        raise ConfigError(
            f"class_shares: expected one share for each label, from 0 to {int(totals.classes[-1])}; "
            f"got shape {tuple(class_shares.shape)}"
        )
    if (totals.counts < 2).any():
        raise DataError(
            "labels: expected at least two rows of each class, to pair them; got one. Without class shares, "
            "pairs of different classes alone are averaged"
        )
    shares = class_shares.to(totals.magnitudes)[totals.classes]
    means = shares[:, None] * totals.magnitudes / totals.counts[:, None]
    between = means.sum(dim=0).square().sum() - means.square().sum()
    within = (totals.magnitudes.square().sum(dim=1) - totals.squares) / (totals.counts * (totals.counts - 1))
    between_factor = n_classes * (n_classes - 1) / (n_drawn * (n_drawn - 1))
    weighted: Tensor = between_factor * between + n_classes / n_drawn * torch.dot(shares.square(), within)
    return weighted
