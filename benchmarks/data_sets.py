"""The data sets that engines are compared on: documents and queries."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import vectors
from clinc150_codes import clinc150_codes, clinc150_dense
from data_cache import Arrays, cached, from_arrays, to_arrays
from numpy.typing import NDArray
from omniglot_codes import omniglot_codes, omniglot_dense
from scipy import sparse

from gossamer import SparseEmbeddings

K = 10
SEED = 0
N_QUERIES = 1000
N_TIMED = 500  # of the queries, one by one; all are asked as a batch


class DataSet(NamedTuple):
    """Rows to index and rows to ask."""

    documents: SparseEmbeddings
    queries: SparseEmbeddings


def load(name: str) -> DataSet:
    arrays = _SETS[name]()
    return DataSet(from_arrays("docs", arrays), from_arrays("queries", arrays))


def load_dense(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the dense vectors of the items of a data set: documents and queries, unit rows."""
    arrays = _DENSE[name]()
    return arrays["docs"].astype(np.float32, copy=False), arrays["queries"].astype(np.float32, copy=False)


def _uniform(n: int, dim: int, nnz: int) -> Arrays:
    return _arrays(vectors.uniform(n, dim, nnz, seed=SEED), vectors.uniform(N_QUERIES, dim, nnz, seed=SEED + 1))


def _identities(n: int, dim: int, n_classes: int, *, pattern: int = 14, signed: bool = False) -> Arrays:
    return _arrays(*vectors.identities(n, dim, n_classes, N_QUERIES, seed=SEED, pattern=pattern, signed=signed))


def _magnitudes(of: str) -> Arrays:
    data = load(of)
    return _arrays(vectors.magnitudes(data.documents), vectors.magnitudes(data.queries))


def _splade() -> Arrays:
    """Hold 1,000 of the real SPLADE-v3 queries out, drawn at random; the other 14,130 are the documents."""
    if "GOSSAMER_DATA" not in os.environ:
        raise SystemExit("GOSSAMER_DATA: expected the folder that holds splade-v3-queries; it is not set")
    with np.load(Path(os.environ["GOSSAMER_DATA"]) / "splade-v3-queries" / "splade_v3_csr.npz") as file:
        indptr, dims, hundredths, dim = file["indptr"], file["indices"], file["data"], file["vocab"].size
    rows = sparse.csr_array((hundredths.astype(np.float32) / 100, dims, indptr), shape=(indptr.size - 1, dim))
    rows.sort_indices()
    rows = SparseEmbeddings.from_scipy(rows)
    order = np.random.default_rng(SEED).permutation(len(rows))
    return _arrays(rows[np.sort(order[N_QUERIES:])], rows[np.sort(order[:N_QUERIES])])


def _arrays(documents: SparseEmbeddings, queries: SparseEmbeddings) -> Arrays:
    return {**to_arrays("docs", documents), **to_arrays("queries", queries), "dim": np.int64(documents.dim)}


def _made(name: str, make: Callable[..., Arrays], **settings) -> Callable[[], Arrays]:
    state = {**settings, "seed": SEED, "n_queries": N_QUERIES}
    return lambda: cached(name, state, "vectors.py", make=lambda: make(**settings))


_DENSE = {"omniglot": omniglot_dense, "clinc150": clinc150_dense}
_SIGNED = {"n": 10**6, "dim": 4096, "n_classes": 20_000, "pattern": 38, "signed": True}
_SETS: dict[str, Callable[[], Arrays]] = {
    "uniform": _made("uniform", _uniform, n=10**6, dim=1024, nnz=16),
    "identities": _made("identities", _identities, n=10**6, dim=1024, n_classes=20_000),
    "identities-4m": _made("identities-4m", _identities, n=4 * 10**6, dim=1024, n_classes=80_000),
    "signed": _made("signed", _identities, **_SIGNED),
    "positive": lambda: cached("positive", _SIGNED, "vectors.py", make=lambda: _magnitudes("signed")),
    "omniglot": omniglot_codes,
    "clinc150": clinc150_codes,
    "splade": _made("splade", _splade),
}
NAMES = tuple(_SETS)
WITH_DENSE = tuple(_DENSE)
