"""Regularizers: functions of a batch of activations that training adds to the loss, times a weight.

Each sums in float32 at least, also under autocast, and accepts activations of any sign.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from gossamer.errors import ShapeError

Regularizer: TypeAlias = Callable[[Tensor], Tensor]


def flops(embeddings: Tensor) -> Tensor:
    r"""Compute the differentiable surrogate of the FLOPs per document.

    .. math:: \sum_{j=1}^{d} \Bigl( \frac{1}{b} \sum_{i=1}^{b} |a_{ij}| \Bigr)^2

    Its mean over batches is μ² + σ²/b in each dimension: the smaller the batch, the larger.
    `unbiased_flops` does not depend on b.

    Parameters
    ----------
    embeddings : Tensor, shape (b, d)
        One batch of activations, of any sign.

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
    return _magnitudes(embeddings).mean(dim=0).square().sum()


def unbiased_flops(embeddings: Tensor) -> Tensor:
    r"""Compute the mean, over pairs of different rows, of the FLOPs surrogate.

    .. math:: \sum_{j=1}^{d} \frac{(\sum_i |a_{ij}|)^2 - \sum_i a_{ij}^2}{b (b - 1)}

    For rows drawn independently its mean over batches is Σ_j μ_j² for every b, where `flops` adds
    σ²/b. Rows that come in groups of one class are not independent, and make it too large.

    Parameters
    ----------
    embeddings : Tensor, shape (b, d)
        One batch of at least two rows of activations, of any sign.

    Returns
    -------
    Tensor, shape ()
        At least 0 up to rounding; 0 if no two rows share a dimension.

    Raises
    ------
    ShapeError
        If ``embeddings`` is not a matrix with at least two rows: one row has no pair.
    """
    magnitudes = _magnitudes(embeddings, min_rows=2)
    n_pairs = len(magnitudes) * (len(magnitudes) - 1)
    return (magnitudes.sum(dim=0).square() - magnitudes.square().sum(dim=0)).sum() / n_pairs


def l1(embeddings: Tensor) -> Tensor:
    r"""Compute the mean ℓ1 norm of the rows: it makes rows sparse, but not even over dimensions.

    .. math:: \frac{1}{b} \sum_{i=1}^{b} \sum_{j=1}^{d} |a_{ij}|

    Argument, range of the result and errors are those of `flops`.
    """
    return _magnitudes(embeddings).sum(dim=1).mean()


def no_penalty(embeddings: Tensor) -> Tensor:
    """Return 0 for any batch of shape (b, d); errors as in `flops`."""
    return _magnitudes(embeddings).new_zeros(())


REGULARIZERS: Mapping[str, Regularizer] = MappingProxyType(
    {"flops": flops, "unbiased-flops": unbiased_flops, "l1": l1, "none": no_penalty}
)
"""The regularizers by the names that settings and the command line use."""


def _magnitudes(embeddings: Tensor, *, min_rows: int = 1) -> Tensor:
    if embeddings.ndim != 2 or len(embeddings) < min_rows:
        raise ShapeError(f"embeddings: expected shape (b >= {min_rows}, d); got {tuple(embeddings.shape)}")
    # Half precision holds 3 digits: a sum over a batch would lose the small entries.
    return embeddings.abs().to(torch.promote_types(embeddings.dtype, torch.float32))
