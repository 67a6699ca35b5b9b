"""The methods of a study by name: what builds each, from which settings, with which library."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from gossamer.arrays import AnyArray, FloatArray
from gossamer.baselines.flat import FlatSearcher
from gossamer.baselines.hash_table import HashTableSearcher, k_of_d_codes
from gossamer.baselines.hnsw import HnswSearcher
from gossamer.baselines.lsh import LshSearcher
from gossamer.baselines.pca import PcaSearcher
from gossamer.baselines.product_quantization import IvfPqSearcher, ProductQuantizationSearcher
from gossamer.baselines.reranked import RerankedSearcher
from gossamer.baselines.thresholded import ThresholdedSearcher
from gossamer.datasets.embedding_files import read_dense, read_sparse
from gossamer.errors import ConfigError, MissingDependencyError, ShapeError
from gossamer.index import InvertedIndex
from gossamer.rerank import TwoStageQueries, TwoStageSearcher
from gossamer.results import Searcher, SearchResult, check_count

EXHAUSTIVE, SPARSE, HASH_TABLE = "exhaustive", "sparse", "hash-table"

_FAISS, _SCIKIT_LEARN = ("faiss", "FAISS", "bench"), ("sklearn", "scikit-learn", "learn")


class Method(NamedTuple):
    """What builds a searcher of dense vectors, and the libraries that it needs."""

    kind: Callable[..., Searcher[FloatArray]]
    libraries: tuple[tuple[str, str, str], ...] = ()
    """Of each, the module, the name and the extra."""


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        EXHAUSTIVE: Method(FlatSearcher, (_FAISS,)),
        "pca": Method(PcaSearcher, (_FAISS, _SCIKIT_LEARN)),
        "lsh": Method(LshSearcher, (_FAISS,)),
        "pq": Method(ProductQuantizationSearcher, (_FAISS,)),
        "ivf-pq": Method(IvfPqSearcher, (_FAISS,)),
        "hnsw": Method(HnswSearcher, (_FAISS,)),
        "thresholded": Method(ThresholdedSearcher),
    }
)
"""The methods that take the dense vectors themselves. The settings of each are the keywords of its class."""

GIVEN: Mapping[str, tuple[dict[str, type], list[str]]] = MappingProxyType(
    {
        SPARSE: ({"documents": str, "queries": str, "min_score": float}, ["documents"]),
        HASH_TABLE: ({"documents": str, "queries": str, "n_active": int}, ["documents", "n_active"]),
    }
)
"""The methods that take files made before: the type of each setting, and those that must be given."""


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """One method of a study with its settings; checked as far as can be without data.

    Parameters
    ----------
    name : str
        One of `METHODS`, or of `GIVEN`: ``sparse`` for sparse embeddings of the same rows, made before, and
        ``hash-table`` for what a network for hash codes says of them.
    settings : mapping of str to int, float or str
        Of a dense method, the keywords of its class. Of the others ``documents``, and ``queries`` where the
        study has queries of their own: a ``.npz`` for ``sparse``, as `gossamer encode` writes it, a ``.npy`` for
        ``hash-table``. Row i is of row i of the dense vectors; distractors follow the gallery. Also ``min_score``
        of ``sparse``, and of ``hash-table`` ``n_active``, the ones of a code.
    rerank : int, optional
        How many candidates are put in order by the dense vectors; None for none. A hash table puts all that it
        finds in order, and takes no number.
    curve : str, optional
        The line of the figure that the method is a point of. Without it, settings of a method make one line, and
        those re-ranked another; ``sparse`` embeddings of several models need a name for each.

    Raises
    ------
    ConfigError
        If the method or a setting is unknown, of another type, or missing.
    MissingDependencyError
        If its library is not installed.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    rerank: int | None = None
    curve: str | None = None

    def __post_init__(self) -> None:
        if self.name not in METHODS and self.name not in GIVEN:
            raise ConfigError(f"method: expected one of {', '.join((*METHODS, *GIVEN))}; got {self.name!r}")
        kinds, required = _settings_of(self.name)
        for key, value in self.settings.items():
            if key not in kinds:
                raise ConfigError(f"{self.name}: expected settings of {', '.join(kinds) or 'no name'}; got {key!r}")
            if type(value) is not kinds[key] and not (kinds[key] is float and type(value) is int):
                raise ConfigError(f"{self.name}, {key}: expected {kinds[key].__name__}; got {value!r}")
        if missing := [key for key in required if key not in self.settings]:
            raise ConfigError(f"{self.name}: expected a setting {missing[0]!r}; there is none")
        if self.rerank is not None:
            check_count(self.rerank, name=f"{self.name}, rerank")
            if self.name == HASH_TABLE:
                raise ConfigError(f"hash-table, rerank: it puts all that it finds in order; got {self.rerank}")
        if self.curve is not None and (type(self.curve) is not str or not self.curve):
            raise ConfigError(f"{self.name}, curve: expected a name; got {self.curve!r}")
        for module, library, extra in METHODS[self.name].libraries if self.name in METHODS else ():
            if importlib.util.find_spec(module) is None:
                raise MissingDependencyError(
                    f"{self.name} needs {library}, which is not installed: pip install 'gossamer[{extra}]'"
                )

    @property
    def label(self) -> str:
        """The method and its settings in words."""
        parts = [f"{key.replace('_', ' ')} {value}" for key, value in self.settings.items()]
        parts += [] if self.rerank is None else [f"re-ranked {self.rerank}"]
        return ", ".join((self.name, *parts))

    @property
    def given_files(self) -> list[Path]:
        """The files made before that the method takes."""
        keys = ("documents", "queries") if self.name in GIVEN else ()
        return [Path(self.settings[key]) for key in keys if key in self.settings]


class Rows(NamedTuple):
    """What is searched and asked."""

    documents: FloatArray
    queries: FloatArray
    query_rows: AnyArray | None
    """Which documents the queries are, if they are documents."""
    asked_rows: AnyArray | None
    """Which rows of the queries' own file they are, if they have one."""
    n_held: int
    """The rows of the documents' file, and of the distractors'; a method's file of documents holds no more."""
    n_queries_held: int
    """The rows of the queries' own file; a method's file of queries holds no more."""


class Prepared(NamedTuple):
    """A method with all that it needs, before its clock starts."""

    build: Callable[[], Searcher[Any]]
    queries: Any
    """In the form that the searcher takes."""


def prepare(method: MethodConfig, rows: Rows, *, seed: int) -> Prepared:
    """Return how to build a method's searcher over rows, and the queries to ask it.

    Errors are those of the searcher's class and, of those in `GIVEN`, of reading their files; `ShapeError` if these
    hold fewer rows than there are documents and queries, or more than the files of the dense vectors.
    """
    if method.name == SPARSE:
        return _prepare_sparse(method, rows)
    if method.name == HASH_TABLE:
        return _prepare_hash_table(method, rows)
    kind = METHODS[method.name].kind
    settings = {"seed": seed} if "seed" in inspect.signature(kind).parameters else {}
    settings |= method.settings

    def build() -> Searcher[Any]:
        first_stage = kind(rows.documents, **settings)
        if method.rerank is None:
            return first_stage
        return RerankedSearcher(first_stage, rows.documents, candidates=method.rerank)

    return Prepared(build, rows.queries)


class AboveThreshold:
    """A sparse searcher whose results, or candidates, score above a threshold τ.

    Parameters
    ----------
    searcher : InvertedIndex or TwoStageSearcher
        What is asked.
    min_score : float
        τ, of the sparse score.
    """

    def __init__(self, searcher: InvertedIndex | TwoStageSearcher, *, min_score: float) -> None:
        self._searcher, self._min_score = searcher, min_score
        self.n_docs = searcher.n_docs

    @property
    def size_bytes(self) -> int:
        """The bytes of the searcher."""
        return self._searcher.size_bytes

    def search(self, queries: Any, k: int = 10) -> SearchResult:
        """Return the k best documents of each query that are above the threshold."""
        return self._searcher.search(queries, k, min_score=self._min_score)


def _prepare_sparse(method: MethodConfig, rows: Rows) -> Prepared:
    documents, asked = _given_rows(method, rows, lambda path: read_sparse(path)[0])
    queries: Any = asked if method.rerank is None else TwoStageQueries(asked, rows.queries)

    def build() -> Searcher[Any]:
        index = InvertedIndex.build(documents)
        searcher = (
            index if method.rerank is None else TwoStageSearcher(index, rerank=rows.documents, candidates=method.rerank)
        )
        if "min_score" in method.settings:
            return AboveThreshold(searcher, min_score=method.settings["min_score"])
        return searcher

    return Prepared(build, queries)


def _prepare_hash_table(method: MethodConfig, rows: Rows) -> Prepared:
    outputs, asked = _given_rows(method, rows, lambda path: read_dense(path)[0])
    n_active = method.settings["n_active"]
    queries = TwoStageQueries(k_of_d_codes(asked, n_active), rows.queries)
    return Prepared(lambda: HashTableSearcher(k_of_d_codes(outputs, n_active), rows.documents), queries)


def _given_rows(method: MethodConfig, rows: Rows, read: Callable[[Path], Any]) -> tuple[Any, Any]:
    """Return what a method's files hold of the documents and of the queries."""
    n_docs = len(rows.documents)
    documents = _held_rows(method, "documents", read, at_least=n_docs, at_most=rows.n_held)[:n_docs]
    if rows.query_rows is not None:
        return documents, documents[rows.query_rows]
    if "queries" not in method.settings:
        raise ConfigError(
            f"{method.name}: expected a setting 'queries', as the study has queries of its own; there is none"
        )
    n_queries = rows.n_queries_held
    return documents, _held_rows(method, "queries", read, at_least=n_queries, at_most=n_queries)[rows.asked_rows]


def _held_rows(method: MethodConfig, setting: str, read: Callable[[Path], Any], *, at_least: int, at_most: int) -> Any:
    """Return what a method's file holds: with rows too few or too many, others would be taken for those asked."""
    held = read(Path(method.settings[setting]))
    if not at_least <= len(held) <= at_most:
        expected = f"{at_least}" if at_least == at_most else f"{at_least} to {at_most}"
        raise ShapeError(f"{method.name}, {setting}: expected {expected} rows; got {len(held)}")
    return held


def _settings_of(name: str) -> tuple[dict[str, type], list[str]]:
    """Return the type of each setting of a method, and those that must be given."""
    if name in GIVEN:
        return GIVEN[name]
    keywords = [
        parameter
        for parameter in inspect.signature(METHODS[name].kind).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name != "seed"
    ]
    required = [parameter.name for parameter in keywords if parameter.default is inspect.Parameter.empty]
    return {parameter.name: int for parameter in keywords}, required
