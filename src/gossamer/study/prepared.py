"""How the methods of a study are built over its rows, and what they are asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gossamer.arrays import AnyArray, FloatArray
from gossamer.baselines.hash_table import HashTableSearcher, k_of_d_codes
from gossamer.baselines.reranked import RerankedSearcher
from gossamer.datasets.embedding_files import read_dense, read_sparse
from gossamer.embeddings import SparseEmbeddings
from gossamer.errors import ConfigError, ShapeError
from gossamer.index import InvertedIndex
from gossamer.metrics import flops_per_document
from gossamer.rerank import TwoStageQueries, TwoStageSearcher
from gossamer.results import Searcher, SearchResult
from gossamer.study import methods
from gossamer.study.methods import HASH_TABLE, SPARSE, MethodConfig


class Rows(NamedTuple):
    """What is searched and asked."""

    documents: FloatArray
    queries: FloatArray
    query_rows: AnyArray | None
    """Which documents the queries are, if they are documents."""
    asked_rows: AnyArray | None
    """Which rows of the queries' own file they are, if they have one."""
    n_held: int = 0
    """The rows of the documents' file, and of the distractors'; a method's file of documents holds no more."""
    n_queries_held: int = 0
    """The rows of the queries' own file; a method's file of queries holds no more."""


class Codes(NamedTuple):
    """What a method searches in place of the dense vectors: sparse embeddings, or a network's outputs to hash."""

    documents: Any
    queries: Any
    about: Mapping[str, Any] = {}
    """What its records say of them."""

    def first(self, n_docs: int, n_queries: int) -> Codes:
        """Return those of a few documents and queries."""
        return Codes(self.documents[:n_docs], self.queries[:n_queries])


class Prepared(NamedTuple):
    """A method with all that it needs, before its clock starts."""

    build: Callable[[], Searcher[Any]]
    queries: Any
    """In the form that the searcher takes."""
    about: Mapping[str, Any] = {}
    """What its records say of it, more than of its codes."""


def prepare(method: MethodConfig, rows: Rows, *, seed: int, codes: Codes | None = None) -> Prepared:
    """Return how to build a method's searcher over rows, and the queries to ask it.

    Methods with codes (see `MethodConfig.has_codes`) search ``codes``. Errors are those of the searcher's class.
    """
    if codes is not None:
        return _prepare_hash(method, rows, codes) if method.name == HASH_TABLE else _prepare_sparse(method, rows, codes)
    kind = methods.METHODS[method.name].kind
    settings = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
    settings |= method.settings

    def build() -> Searcher[Any]:
        first_stage = kind(rows.documents, **settings)
        if method.rerank is None:
            return first_stage
        return RerankedSearcher(first_stage, rows.documents, candidates=method.rerank)

    return Prepared(build, rows.queries)


class ThresholdedSearch:
    """A sparse searcher that leaves out small entries of queries, and results or candidates of low score.

    Parameters
    ----------
    searcher : InvertedIndex or TwoStageSearcher
        What is asked.
    min_score : float
        τ: what a sparse score must exceed.
    min_query_value : float
        The least magnitude of a query's entry. Smaller ones are left out within `search`, and so within its time.
    """

    def __init__(
        self, searcher: InvertedIndex | TwoStageSearcher, *, min_score: float = 0.0, min_query_value: float = 0.0
    ) -> None:
        self._searcher, self._min_score, self._min_query_value = searcher, min_score, min_query_value
        self.n_docs = searcher.n_docs

    @property
    def size_bytes(self) -> int:
        """The bytes of the searcher."""
        return self._searcher.size_bytes

    def search(self, queries: Any, k: int = 10) -> SearchResult:
        """Return the k best documents of each query that are above the threshold."""
        if self._min_query_value > 0:
            queries = queries.at_least(self._min_query_value)
        return self._searcher.search(queries, k, min_score=self._min_score)


def _prepare_sparse(method: MethodConfig, rows: Rows, codes: Codes) -> Prepared:
    queries = codes.queries if method.rerank is None else TwoStageQueries(codes.queries, rows.queries)
    thresholds = {key: value for key, value in method.settings.items() if key in ("min_score", "min_query_value")}

    def build() -> Searcher[Any]:
        index = InvertedIndex.build(codes.documents)
        searcher = (
            index if method.rerank is None else TwoStageSearcher(index, rerank=rows.documents, candidates=method.rerank)
        )
        return ThresholdedSearch(searcher, **thresholds) if thresholds else searcher

    about: dict[str, Any] = {}
    if "min_query_value" in thresholds:
        asked = codes.queries.at_least(thresholds["min_query_value"])
        about["flops_per_document"] = flops_per_document(asked, codes.documents)
    return Prepared(build, queries, about)


def _prepare_hash(method: MethodConfig, rows: Rows, codes: Codes) -> Prepared:
    n_active = method.settings["n_active"]
    queries = TwoStageQueries(k_of_d_codes(codes.queries, n_active), rows.queries)
    return Prepared(lambda: HashTableSearcher(k_of_d_codes(codes.documents, n_active), rows.documents), queries)


def given_codes(method: MethodConfig, rows: Rows) -> Codes:
    """Read what a method's files hold of the documents and of the queries.

    Errors are those of reading the files; `ShapeError` if these hold fewer rows than there are documents and
    queries, or more than the files of the dense vectors.
    """
    read: Callable[[Path], Any] = _read_sparse_rows if method.name == SPARSE else _read_dense_rows
    n_docs = len(rows.documents)
    documents = _held_rows(method, "documents", read, at_least=n_docs, at_most=rows.n_held)[:n_docs]
    if rows.query_rows is not None:
        return Codes(documents, documents[rows.query_rows])
    if "queries" not in method.settings:
        raise ConfigError(
            f"{method.name}: expected a setting 'queries', as the study has queries of its own; there is none"
        )
    n_queries = rows.n_queries_held
    asked = _held_rows(method, "queries", read, at_least=n_queries, at_most=n_queries)[rows.asked_rows]
    return Codes(documents, asked)


def _read_sparse_rows(path: Path) -> SparseEmbeddings:
    return read_sparse(path)[0]


def _read_dense_rows(path: Path) -> FloatArray:
    return read_dense(path)[0]


def _held_rows(method: MethodConfig, setting: str, read: Callable[[Path], Any], *, at_least: int, at_most: int) -> Any:
    """Return what a method's file holds: with rows too few or too many, others would be taken for those asked."""
    held = read(Path(method.settings[setting]))
    if not at_least <= len(held) <= at_most:
        expected = f"{at_least}" if at_least == at_most else f"{at_least} to {at_most}"
        raise ShapeError(f"{method.name}, {setting}: expected {expected} rows; got {len(held)}")
    return held
