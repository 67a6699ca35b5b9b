"""What embeddings cost: measured on a sample of rows, and predicted for an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gossamer.embeddings import SparseEmbeddings, as_embeddings
from gossamer.errors import ConfigError, DataError
from gossamer.learning.budget import FlopsBudget
from gossamer.learning.regularizers import unbiased_flops

if TYPE_CHECKING:
    from gossamer.embeddings import SparseRows
    from gossamer.index import InvertedIndex

_MOST_DOCS = 1 << 18  # four windows: a second to build
_N_QUERIES = 64  # of each length


def measured_cost(
    budget: FlopsBudget, embeddings: Tensor, labels: Tensor | None = None, *, n_classes: int | None = None
) -> float:
    r"""Estimate from a sample of rows what a corpus costs, in the unit of the budget.

    FLOPs per document are a mean over pairs of rows, the entries that both have:
    :math:`\sum_j p_j^2`. Here it is over pairs of different rows, so that it does not grow as the sample
    shrinks. A sample of all rows of some classes has far too many pairs within a class: with labels,
    those count as often as in a corpus of ``n_classes`` even classes.

    Parameters
    ----------
    budget : FlopsBudget
        Says the unit.
    embeddings : Tensor, shape (n, dim)
        At least two rows; they may be zeros and ones.
    labels : Tensor, shape (n,), optional
        The class of each row, int64, for samples that hold some classes whole. Without, rows are
        independent.
    n_classes : int, optional
        How many classes the corpus has, with labels.

    Raises
    ------
    DataError
        If there are fewer than two rows.
    """
    if len(embeddings) < 2:
        raise DataError(f"embeddings: expected at least two rows; got {len(embeddings)}")
    used = (embeddings != 0).float()
    if budget.counts_nonzeros:
        return float(used.sum() / len(used))
    if labels is None:
        return float(unbiased_flops(used))
    classes, labels, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    # A class of a single row has no pair of its own: then pairs within classes are left out.
    shares = None
    if n_classes is not None and int(counts.min()) > 1:
        shares = torch.full((max(n_classes, len(classes)),), 1 / max(n_classes, len(classes)))
    return float(unbiased_flops(used, labels, class_shares=shares))


def core_entries(embeddings: Tensor, *, share: float) -> Tensor:
    """Return which entries make a row's squared norm, or a share of it: the fewest, largest first.

    Parameters
    ----------
    embeddings : Tensor, shape (n, dim)
        Of any sign.
    share : float
        Of each row's squared norm, above 0 and at most 1.

    Returns
    -------
    Tensor, shape (n, dim), bool
        All of a row's nonzeros for a share of 1; no entry of an all-zero row.
    """
    squares, order = embeddings.square().sort(dim=1, descending=True)
    before = squares.cumsum(dim=1) - squares
    chosen = (before < share * squares.sum(dim=1, keepdim=True)) & (squares > 0)
    return torch.zeros_like(chosen).scatter(1, order, chosen)


@dataclass(frozen=True, kw_only=True)
class SearchCost:
    """Predict the microseconds of a query from the postings that it touches: a line.

    It is the ``cost`` of a `gossamer.learning.FlopsBudget` that is said in microseconds.

    Parameters
    ----------
    call_us : float
        What a search takes that touches nothing.
    posting_us : float
        What each posting adds.
    """

    call_us: float
    posting_us: float

    @classmethod
    def of(cls, index: InvertedIndex, queries: SparseRows) -> SearchCost:
        """Take the line that was fitted when an index was built, on the machine that built it.

        Postings here are those of documents, also where the index touches postings of blocks instead.

        Parameters
        ----------
        index : InvertedIndex
            Of about as many documents as will be searched, like those to be learned.
        queries : SparseEmbeddings, or scipy CSR array or matrix, shape (n_queries, dim)
            At least two, of different numbers of postings, and of the kind that will be asked.

        Raises
        ------
        DataError
            If all queries touch as many postings, or more postings take no more time.
        """
        queries = as_embeddings(queries)
        microseconds = index.expected_cost(queries).microseconds  # refuses queries of another dim
        counted = np.append(0, np.cumsum(index.list_lengths[queries.dims]))
        postings = np.diff(counted[queries.indptr]).astype(np.float64)
        spread = postings - postings.mean() if len(queries) else postings
        slope = float(spread @ microseconds / max(float(spread @ spread), 1.0))
        if slope <= 0:
            raise DataError("queries: expected some that touch more postings and take longer; got none")
        return cls(call_us=float(microseconds.mean() - slope * postings.mean()), posting_us=slope)

    @classmethod
    def of_even_rows(cls, n_docs: int, dim: int) -> SearchCost:
        """Measure the line on this machine, before there are embeddings: on an index of random ones.

        Their entries are positive and spread evenly over the dimensions, as training makes them, and nothing
        can be pruned: they are scanned. Embeddings of which a plan can prune postings take less time.

        Parameters
        ----------
        n_docs : int
            How many documents will be searched. Of more than 262,144, so many are built, which takes a second
            or two, and what a search takes that touches nothing grows with the rest.
        dim : int
            Dimensions of an embedding, at least 16.

        Raises
        ------
        ConfigError
            If a number is out of its range.
        """
        from gossamer.index import InvertedIndex

        for name, value, lowest in (("n_docs", n_docs, 1), ("dim", dim, 16)):
            if type(value) is not int or value < lowest:
                raise ConfigError(f"{name}: expected a whole number of at least {lowest}; got {value!r}")
        rng = np.random.default_rng(0)
        n_built = min(n_docs, _MOST_DOCS)
        documents = _even_rows([min(64, dim // 4)] * n_built, dim, rng)
        queries = _even_rows([n for n in (min(16, dim // 8), min(256, dim // 2)) for _ in range(_N_QUERIES)], dim, rng)
        index = InvertedIndex.build(documents, plan="scan", sample_queries=queries)
        line = cls.of(index, queries)
        return cls(call_us=line.call_us * n_docs / n_built, posting_us=line.posting_us)

    def __call__(self, postings: float) -> float:
        """Return the microseconds of a query that touches so many postings."""
        return self.call_us + self.posting_us * postings


def _even_rows(counts: list[int], dim: int, rng: np.random.Generator) -> SparseEmbeddings:
    """Return random rows of so many nonzeros each, one in each of as many equal stretches of the dimensions."""
    nnz_per_row = np.array(counts)
    indptr = np.append(0, np.cumsum(nnz_per_row))
    stretch = np.repeat(dim // nnz_per_row, nnz_per_row)
    place = np.arange(indptr[-1]) - np.repeat(indptr[:-1], nnz_per_row)
    dims = (place * stretch + rng.integers(0, stretch)).astype(np.int32)
    return SparseEmbeddings(indptr, dims, rng.uniform(0.5, 1.0, len(dims)).astype(np.float32), dim=dim)
