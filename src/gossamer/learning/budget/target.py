"""What a search may cost: the target of a training run, said in one of three units."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gossamer.errors import ConfigError

CostFunction = Callable[[float], float]
"""From the postings that a query touches to its microseconds; the more postings, the more time."""

TOLERANCE = 0.1
"""A budget is met where the cost is at most this share of it away."""

_UNITS = ("flops_per_document", "nnz_per_row", "query_us")


@dataclass(frozen=True, kw_only=True)
class FlopsBudget:
    r"""State what searching embeddings may cost, in exactly one unit.

    Parameters
    ----------
    flops_per_document : float, optional
        :math:`\sum_j p_j^2`, with p_j the share of rows whose entry j is not zero.
    nnz_per_row : float, optional
        Nonzeros of a row, on average.
    query_us : float, optional
        Microseconds of one query. It is turned into FLOPs per document by the two settings below.
    n_docs : int, optional
        How many documents are searched; with ``query_us``, and only with it.
    cost : callable, optional
        The microseconds of a query that touches so many postings, growing with them, as
        `gossamer.learning.SearchCost`; with ``query_us``, and only with it.

    Raises
    ------
    ConfigError
        If not exactly one of the three targets is given, a number is out of its range, or even a query
        that touches one posting takes longer than ``query_us``.

    Examples
    --------
    >>> FlopsBudget(flops_per_document=0.5).target
    0.5
    >>> timed = FlopsBudget(query_us=150.0, n_docs=1_000_000, cost=lambda postings: 50.0 + 0.0005 * postings)
    >>> timed.unit, round(timed.target, 4)
    ('FLOPs per document', 0.2)
    """

    flops_per_document: float | None = None
    nnz_per_row: float | None = None
    query_us: float | None = None
    n_docs: int | None = None
    cost: CostFunction | None = None

    def __post_init__(self) -> None:
        given = [name for name in _UNITS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(f"budget: expected exactly one of {', '.join(_UNITS)}; got {', '.join(given) or 'none'}")
        value = getattr(self, given[0])
        if not 0 < value < math.inf:
            raise ConfigError(f"{given[0]}: expected a finite number above 0; got {value}")
        if not (self.n_docs is not None) == (self.cost is not None) == (self.query_us is not None):
            raise ConfigError("query_us: expected n_docs and cost with it, and only with it")
        if self.n_docs is not None and (type(self.n_docs) is not int or self.n_docs < 1):
            raise ConfigError(f"n_docs: expected a whole number of at least 1; got {self.n_docs!r}")
        self.target  # noqa: B018 - refuses a time that no query can take

    @property
    def counts_nonzeros(self) -> bool:
        """Whether the target is of nonzeros per row, and not of FLOPs per document."""
        return self.nnz_per_row is not None

    @property
    def unit(self) -> str:
        """What `target` counts."""
        return "nonzeros per row" if self.counts_nonzeros else "FLOPs per document"

    @property
    def target(self) -> float:
        """The number to meet, in nonzeros per row or in FLOPs per document."""
        if self.nnz_per_row is not None:
            return self.nnz_per_row
        return self._flops_for_time() if self.flops_per_document is None else self.flops_per_document

    def share(self, dim: int) -> float:
        """Return the share of rows that use a dimension, where all are even and the target is met.

        Raises
        ------
        ConfigError
            If more than ``dim`` dimensions would be needed.
        """
        if self.target > dim:
            raise ConfigError(f"budget: expected at most dim = {dim} {self.unit}; got {self.target:g}")
        return self.target / dim if self.counts_nonzeros else math.sqrt(self.target / dim)

    def even_flops_per_document(self, dim: int) -> float:
        """Return the FLOPs per document of rows that meet the target, all dimensions used by as many of them.

        Raises
        ------
        ConfigError
            If more nonzeros than ``dim`` are the target.
        """
        return dim * self.share(dim) ** 2 if self.counts_nonzeros else self.target

    def is_met_by(self, cost: float) -> bool:
        """Return whether a cost is at most a tenth above or below the target."""
        return abs(cost / self.target - 1) <= TOLERANCE

    def _flops_for_time(self) -> float:
        """Find the postings that take ``query_us``, by halving."""
        assert self.query_us is not None
        assert self.n_docs is not None
        assert self.cost is not None
        low, high = 1.0, 2.0
        if self.cost(low) > self.query_us:
            raise ConfigError(
                f"query_us: expected more than the {self.cost(low):.1f} µs of a query that touches one posting; "
                f"got {self.query_us:g}"
            )
        while self.cost(high) < self.query_us:
            low, high = high, 2 * high
            if high > 1e18:
                raise ConfigError("cost: expected a function that grows with the postings; it stays below query_us")
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.cost(middle) < self.query_us else (low, middle)
        return low / self.n_docs
