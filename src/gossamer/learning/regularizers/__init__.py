"""Regularizers: what training adds to the loss, times a weight, so that embeddings are sparse and even.

Functions of a batch, the same as modules, and what both read of a batch, on one process or on all.
"""

from torch import Tensor

from gossamer.errors import ConfigError
from gossamer.learning.regularizers.functions import flops, l1, no_penalty, unbiased_flops
from gossamer.learning.regularizers.modules import L1, BatchRegularizer, CorpusFlops, Flops, NoPenalty, UnbiasedFlops

REGULARIZERS = ("flops", "unbiased-flops", "corpus-flops", "l1", "none")
"""The regularizers by the names that settings and the command line use."""


def make_regularizer(
    name: str, *, dim: int, class_shares: Tensor | None = None, is_nonnegative: bool = False
) -> BatchRegularizer:
    """Return a new regularizer by its name.

    Parameters
    ----------
    name : str
        One of `REGULARIZERS`.
    dim : int
        The dimensions of the embeddings.
    class_shares : Tensor, shape (C,), optional
        The share of each class among the documents, for ``unbiased-flops`` of batches that hold at least
        two rows of each of their classes; others do not read it.
    is_nonnegative : bool
        Whether no entry is below 0, as after a ReLU: ``flops`` then takes less time; others do not read it.

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    match name:
        case "flops":
            return Flops(is_nonnegative=is_nonnegative)
        case "unbiased-flops":
            return UnbiasedFlops(class_shares)
        case "corpus-flops":
            return CorpusFlops(dim)
        case "l1":
            return L1()
        case "none":
            return NoPenalty()
    raise ConfigError(f"regularizer: expected one of {', '.join(REGULARIZERS)}; got {name!r}")


__all__ = [
    "L1",
    "REGULARIZERS",
    "BatchRegularizer",
    "CorpusFlops",
    "Flops",
    "NoPenalty",
    "UnbiasedFlops",
    "flops",
    "l1",
    "make_regularizer",
    "no_penalty",
    "unbiased_flops",
]
