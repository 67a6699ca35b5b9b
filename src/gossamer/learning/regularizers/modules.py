"""Regularizers as modules, exact over all ranks in training, for the slots that other libraries have."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gossamer.errors import ConfigError, ShapeError
from gossamer.learning.regularizers.functions import flops, l1, no_penalty, unbiased_flops
from gossamer.learning.regularizers.totals import batch_totals, n_ranks, sum_over_ranks


class BatchRegularizer(nn.Module):
    """Penalize a batch of activations: what the regularizers of this package share.

    In training, and with a process group of several ranks, the batch is that of all of them, as it is in
    `torch.nn.SyncBatchNorm`: every rank must call, and ranks may hold different numbers of rows. In
    evaluation it is one process's own.

    A regularizer fits ``embedding_regularizer=`` of pytorch-metric-learning's losses, and
    ``document_regularizer=`` and ``query_regularizer=`` of sentence-transformers' ``SpladeLoss``.
    """

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the penalty, shape (), float32 at least.

        Parameters
        ----------
        embeddings : Tensor, shape (b, d)
            One batch of activations, of any sign.
        labels : Tensor, shape (b,), optional
            The class of each row, for those regularizers that tell classes apart; others do not read it.
        """
        raise NotImplementedError

    def compute_loss_from_embeddings(self, embeddings: Tensor) -> Tensor:
        """Return the penalty: the name by which sentence-transformers' ``SpladeLoss`` calls it."""
        penalty: Tensor = self(embeddings)
        return penalty


class Flops(BatchRegularizer):
    """The surrogate of the FLOPs per document, `gossamer.learning.flops`, as a module.

    Parameters
    ----------
    is_nonnegative : bool
        Whether no entry is below 0, as after a ReLU; see `gossamer.learning.flops`.
    """

    def __init__(self, *, is_nonnegative: bool = False) -> None:
        super().__init__()
        self.is_nonnegative = is_nonnegative

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the penalty; errors as in `gossamer.learning.flops`."""
        return flops(embeddings, across_ranks=self.training, is_nonnegative=self.is_nonnegative)


class L1(BatchRegularizer):
    """The mean ℓ1 norm, `gossamer.learning.l1`, as a module."""

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the penalty; errors as in `gossamer.learning.l1`."""
        return l1(embeddings, across_ranks=self.training)


class UnbiasedFlops(BatchRegularizer):
    """The FLOPs surrogate over pairs of rows, `gossamer.learning.unbiased_flops`, as a module.

    Parameters
    ----------
    class_shares : Tensor, shape (C,), optional
        The share of each class among the documents, for calls with labels from 0 to C − 1.
    """

    class_shares: Tensor | None

    def __init__(self, class_shares: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_shares", class_shares)

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the penalty; arguments and errors as in `gossamer.learning.unbiased_flops`."""
        return unbiased_flops(embeddings, labels, class_shares=self.class_shares, across_ranks=self.training)


class NoPenalty(BatchRegularizer):
    """The penalty 0, for encoders that need no regularizer."""

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return 0; errors as in `gossamer.learning.flops`."""
        return no_penalty(embeddings)


class CorpusFlops(BatchRegularizer):
    r"""Penalize a query's entries by how many documents each of them meets in the corpus.

    .. math:: \sum_{j=1}^{d} p_j^{\mathrm{doc}} \, \frac{1}{b} \sum_{i=1}^{b} |q_{ij}|

    This is Σ_j p_j^query p_j^doc, the FLOPs per document, with the queries' frequencies relaxed to mean
    magnitudes as in `gossamer.learning.flops`. The documents' frequencies are those of real nonzeros,
    averaged over past batches and without gradient, so that a batch need not hold enough rows to
    estimate them, and queries may be of another kind than documents. For two towers take two modules:
    one penalizes queries and observes documents, the other the reverse. Where every row is both, as in
    the slots of other libraries, a call in training observes the batch that it penalizes.

    A batch counts by its rows and by its age in rows, 2^(−n / half_life) as much n rows later: the course
    is the same for any batch size, number of ranks or of steps whose gradients are accumulated.

    Parameters
    ----------
    dim : int
        Dimensions of an embedding.
    half_life : int
        After how many rows an observation counts half.
    observes_batch : bool
        Whether a call in training observes the rows that it penalizes; if not, `observe` alone does.

    Raises
    ------
    ConfigError
        If ``dim`` or ``half_life`` is below 1.

    Examples
    --------
    >>> penalty = CorpusFlops(3, observes_batch=False)
    >>> penalty.observe(torch.tensor([[1.0, 0.0, 0.5], [2.0, 0.0, 0.0]]))
    >>> penalty.frequencies
    tensor([1.0000, 0.0000, 0.5000])
    >>> penalty(torch.tensor([[1.0, 9.0, -2.0]]))
    tensor(2.)
    """

    average: Tensor
    weight: Tensor

    def __init__(self, dim: int, *, half_life: int = 4096, observes_batch: bool = True) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("half_life", half_life)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1; got {value}")
        self.half_life, self.observes_batch = half_life, observes_batch
        # In float64: where the half-life is millions of rows, an update is too small for float32.
        self.register_buffer("average", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    @property
    def frequencies(self) -> Tensor:
        """The share of observed rows in which each dimension is nonzero, shape (dim,), float32.

        Zero before the first observation. Σ of the squares is the rows' FLOPs per document; the inner
        product of two modules' is that of queries and documents.
        """
        return (self.average / self.weight.clamp(min=torch.finfo(torch.float64).tiny)).float()

    @torch.no_grad()
    def observe(self, documents: Tensor) -> None:
        """Count the nonzeros of rows of the corpus, of all ranks in training.

        Parameters
        ----------
        documents : Tensor, shape (n, dim)
            Rows as they would be indexed: with exact zeros.

        Raises
        ------
        ShapeError
            If the rows have another number of dimensions.
        """
        self._check(documents)
        counts = torch.cat([(documents != 0).sum(dim=0), torch.full((1,), len(documents), device=documents.device)])
        if self.training and n_ranks() > 1:
            counts = sum_over_ranks(counts)
        forgotten = -math.expm1(-math.log(2) * int(counts[-1]) / self.half_life)
        self.average.lerp_(counts[:-1].double() / counts[-1].clamp(min=1), forgotten)
        self.weight.lerp_(torch.ones_like(self.weight), forgotten)

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the penalty of the rows as queries; observe them first, if so set.

        Raises
        ------
        ShapeError
            If ``embeddings`` is not a matrix of at least one row and ``dim`` columns.
        """
        self._check(embeddings)
        if self.training and self.observes_batch:
            self.observe(embeddings)
        totals = batch_totals(embeddings, across_ranks=self.training)
        return torch.dot(totals.magnitudes[0] / totals.n_rows, self.frequencies.to(totals.magnitudes))

    def extra_repr(self) -> str:
        """Return the settings, for the printed form of a model."""
        return f"dim={len(self.average)}, half_life={self.half_life}, observes_batch={self.observes_batch}"

    def _check(self, rows: Tensor) -> None:
        if rows.ndim != 2 or rows.shape[1] != len(self.average):
            raise ShapeError(f"embeddings: expected shape (b >= 1, {len(self.average)}); got {tuple(rows.shape)}")
