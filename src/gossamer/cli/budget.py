"""What a search may cost, as options of ``gossamer train`` and ``gossamer fit`` say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gossamer.cli.options import setting
from gossamer.errors import ConfigError

if TYPE_CHECKING:
    from gossamer.learning.budget import FlopsBudget

QueryUsOption = Annotated[
    float | None,
    setting(
        "--query-us",
        "What one query may take, in microseconds on this machine, instead of FLOPs per document; with --n-docs.",
        "none",
    ),
]
NDocsOption = Annotated[
    int | None, setting("--n-docs", "How many documents will be searched; with --query-us.", "none")
]


def read_budget(
    *,
    flops_per_document: float | None,
    nnz_per_row: float | None,
    query_us: float | None,
    n_docs: int | None,
    dim: int,
) -> FlopsBudget | None:
    """Return the budget that options state; None if they state none.

    For microseconds an index of random rows is built and timed, since there are no embeddings yet.

    Raises
    ------
    ConfigError
        If more than one option states it, ``query_us`` and ``n_docs`` are not given together, or a number is
        out of its range.
    """
    from gossamer.learning.budget import FlopsBudget

    if (query_us is None) != (n_docs is None):
        given, missing = ("--n-docs", "--query-us") if query_us is None else ("--query-us", "--n-docs")
        raise ConfigError(f"{given}: expected {missing} with it, and only with it")
    if flops_per_document is None and nnz_per_row is None and query_us is None:
        return None
    cost = None
    if n_docs is not None:
        from gossamer.learning.cost import SearchCost

        cost = SearchCost.of_even_rows(n_docs, dim)
    return FlopsBudget(
        flops_per_document=flops_per_document, nnz_per_row=nnz_per_row, query_us=query_us, n_docs=n_docs, cost=cost
    )
