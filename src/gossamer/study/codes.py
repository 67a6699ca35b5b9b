"""What searching the codes of a study costs, and how even their posting lists are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gossamer.arrays import OffsetArray
from gossamer.embeddings import SparseEmbeddings
from gossamer.metrics import flops_per_document, suboptimality_ratio
from gossamer.study.methods import OF_THE_SEARCH, SPARSIFIER, MethodConfig
from gossamer.study.prepared import Codes, Rows, given_codes

N_QUANTILES = 33


class VectorCodes:
    """Codes of dense vectors from files: given ones are read, those of a sparsifier made, fitted if need be.

    Parameters
    ----------
    models : Path
        Where sparsifiers are kept and found again; see `gossamer.learning.model_store`.
    seed : int
        Of what a sparsifier draws.
    """

    def __init__(self, models: Path, *, seed: int) -> None:
        self._models, self._seed = models, seed
        self._fitted: dict[str, Codes] = {}

    def __call__(self, method: MethodConfig, rows: Rows) -> Codes:
        """Return what a method with codes searches; errors are those of `given_codes` and of `Sparsifier.fit`."""
        if method.name == SPARSIFIER:
            if method.model_label not in self._fitted:
                self._fitted[method.model_label] = self._of_sparsifier(method, rows)
            return self._fitted[method.model_label]
        codes = given_codes(method, rows)
        if isinstance(codes.documents, SparseEmbeddings):
            return codes._replace(about=describe_codes(codes.documents, codes.queries))
        return codes

    def _of_sparsifier(self, method: MethodConfig, rows: Rows) -> Codes:
        from gossamer.learning import Sparsifier  # torch
        from gossamer.learning.model_store import ModelStore

        parameters = {name: value for name, value in method.settings.items() if name not in OF_THE_SEARCH}
        stored = ModelStore(self._models).sparsifier(rows.documents, Sparsifier(**parameters, random_state=self._seed))
        documents, queries = (stored.sparsifier.encode(part) for part in (rows.documents, rows.queries))
        model = {
            "fingerprint": stored.sparsifier.fingerprint,
            "folder": stored.folder.name,
            "dim": documents.dim,
            "training_seconds": stored.metrics["training_seconds"],
        }
        about = {"model": model, "regularizer": stored.sparsifier.regularizer, **describe_codes(documents, queries)}
        return Codes(documents, queries, about)


def describe_codes(documents: SparseEmbeddings, queries: SparseEmbeddings) -> dict[str, Any]:
    """Return what searching sparse rows costs, and how even their posting lists are.

    Returns
    -------
    dict
        ``flops_per_document``; ``nnz_per_row``, ``suboptimality_ratio`` (None if every row is zero),
        ``zero_rows`` and ``list_lengths`` of the documents. The last holds 33 evenly spaced ``quantiles`` of the
        lengths of all posting lists, the shortest and the longest included, and ``counts``: of lists that are
        empty, and of those from 2ⁱ to 2ⁱ⁺¹ − 1 long for i from 0.
    """
    lengths: OffsetArray = np.bincount(documents.dims, minlength=documents.dim)
    powers = np.where(lengths > 0, np.frexp(lengths)[1], 0)
    return {
        "flops_per_document": flops_per_document(queries, documents),
        "nnz_per_row": documents.nnz / len(documents),
        "suboptimality_ratio": suboptimality_ratio(documents) if documents.nnz else None,
        "zero_rows": int((documents.nnz_per_row == 0).sum()),
        "list_lengths": {
            "quantiles": np.quantile(lengths, np.linspace(0, 1, N_QUANTILES)).round(1).tolist(),
            "counts": np.bincount(powers).tolist(),
        },
    }
