"""What a study searches, asks and counts as right: its data under its protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gossamer.arrays import AnyArray, FloatArray, TextArray
from gossamer.baselines.exhaustive import ExhaustiveSearcher
from gossamer.datasets.embedding_files import read_dense
from gossamer.errors import DataError, ShapeError
from gossamer.results import SearchResult
from gossamer.study.codes import VectorCodes
from gossamer.study.config import CLASS_RETRIEVAL, IDENTIFICATION, NEAREST_NEIGHBOURS, VERIFICATION, StudyConfig
from gossamer.study.methods import MethodConfig
from gossamer.study.prepared import Codes, Rows, given_codes
from gossamer.study.protocols.class_retrieval import class_retrieval
from gossamer.study.protocols.identification import check_disjoint, check_in_gallery, identification
from gossamer.study.protocols.nearest_neighbours import nearest_neighbours
from gossamer.study.protocols.verification import verification


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """The data of a study, read and checked."""

    documents: FloatArray
    queries: FloatArray | None
    distractors: FloatArray | None
    labels: TextArray | None
    query_labels: TextArray | None
    n_held: int
    """The rows of the files of documents and distractors, those left out included."""
    digest: str


Judge = Callable[[SearchResult], dict[str, float]]


class Task(NamedTuple):
    """What is asked of every method."""

    rows: Rows
    k: int
    """Results a query."""
    judge: Judge
    """The accuracies of result lists by name; the first is the one that figures show."""
    codes: Callable[[MethodConfig, Rows], Codes] = given_codes
    """What a method with codes searches; raises why there is nothing."""
    about: Mapping[str, Any] = {}
    """What all records say of it."""


class Sizes(NamedTuple):
    """How much is searched and asked."""

    n_docs: int
    dim: int
    n_queries: int


class VectorTasks:
    """Vectors from files, drawn for each seed. Errors are those of `read_vectors`.

    Parameters
    ----------
    config : StudyConfig
        One that has documents.
    models : Path
        Where sparsifiers are kept.
    """

    recoverable: tuple[type[Exception], ...] = ()
    """What a task may fail with, and the study goes on."""

    def __init__(self, config: StudyConfig, models: Path) -> None:
        self._config, self._vectors, self._models = config, read_vectors(config), models
        self.digest = self._vectors.digest

    def sizes(self, *, seed: int, n_distractors: int) -> Sizes:  # noqa: ARG002 -- of images it depends on the seed
        """Return how much is searched and asked."""
        documents, queries = self._vectors.documents, self._vectors.queries
        n_asked = len(documents if queries is None else queries)
        return Sizes(len(documents) + n_distractors, documents.shape[1], min(self._config.n_queries, n_asked))

    def make(self, methods: tuple[MethodConfig, ...], *, seed: int, n_distractors: int) -> Task:  # noqa: ARG002
        """Return what is asked of every method."""
        task = make_task(self._config, self._vectors, seed=seed, n_distractors=n_distractors)
        return task._replace(codes=VectorCodes(self._models, seed=seed))


def read_vectors(config: StudyConfig) -> Vectors:
    """Read the vectors of a study, and the labels that its protocol needs.

    Raises
    ------
    NotFoundError, FormatError, EmbeddingsError
        If a file is not there or not what it should be.
    DataError
        If there are too few rows, or labels are missing, a distractor is of a class of the gallery, or a probe
        of none.
    ShapeError
        If the files have different numbers of dimensions.
    """
    assert config.documents is not None
    documents, names = read_dense(config.documents)
    n_held = len(documents)
    documents = np.ascontiguousarray(documents[: config.n_documents])
    labels = None if names.labels is None else names.labels[: config.n_documents]
    queries, query_labels = None, None
    if config.queries is not None:
        queries, query_names = read_dense(config.queries)
        queries, query_labels = np.ascontiguousarray(queries), query_names.labels
    if config.protocol != NEAREST_NEIGHBOURS:
        _check_labels(config.documents, labels)
        if config.queries is not None:
            _check_labels(config.queries, query_labels)
    if config.protocol == IDENTIFICATION:
        assert labels is not None
        assert query_labels is not None
        check_in_gallery(query_labels, labels)
    distractors, n_others = (None, 0) if config.distractors is None else _read_distractors(config, labels)
    own = 1 if queries is None else 0
    if len(documents) < config.k + own and config.protocol == NEAREST_NEIGHBOURS:
        raise DataError(f"documents: expected at least {config.k + own} for k = {config.k}; got {len(documents)}")
    digest = hashlib.sha256(documents.data)
    for name, rows in (("queries", queries), ("distractors", distractors)):
        if rows is None:
            continue
        if rows.shape[1] != documents.shape[1]:
            raise ShapeError(f"{name}: expected {documents.shape[1]} dimensions; got {rows.shape[1]}")
        digest.update(np.ascontiguousarray(rows).data)
    if len(documents) == 0 or (queries is not None and len(queries) == 0):
        raise DataError(f"{'queries' if len(documents) else 'documents'}: expected at least one; there is none")
    for given in (labels, query_labels):
        digest.update(b"" if given is None else "\n".join(given.tolist()).encode())
    return Vectors(
        documents=documents,
        queries=queries,
        distractors=distractors,
        labels=labels,
        query_labels=query_labels,
        n_held=n_held + n_others,
        digest=digest.hexdigest()[:16],
    )


def make_task(config: StudyConfig, vectors: Vectors, *, seed: int, n_distractors: int) -> Task:
    """Return what is asked for one seed and number of distractors."""
    rows, query_labels = _draw(config, vectors, seed, n_distractors)
    own = 0 if rows.query_rows is None else 1  # each finds itself, too
    if config.protocol == NEAREST_NEIGHBOURS:
        exact = ExhaustiveSearcher(rows.documents).search(rows.queries, config.k + own)

        def recall(found: SearchResult) -> dict[str, float]:
            quality = nearest_neighbours(
                found, exact, rows.queries, rows.documents, own_ids=rows.query_rows, k=config.k
            )
            return {f"recall@{config.k}": quality.recall}

        return Task(rows, config.k + own, recall)
    assert vectors.labels is not None
    assert query_labels is not None
    k, judge = judge_of(
        config, labels=vectors.labels, asked=query_labels, own_ids=rows.query_rows, n_distractors=n_distractors
    )
    return Task(rows, k, judge)


def judge_of(
    config: StudyConfig, *, labels: TextArray, asked: TextArray, own_ids: AnyArray | None, n_distractors: int
) -> tuple[int, Judge]:
    """Return how many results a protocol of classes needs, and what judges them.

    Parameters
    ----------
    labels, asked : arrays of str
        The classes of the documents, without distractors, and of the queries.
    own_ids : array, optional
        Which documents the queries are, if they are documents.
    n_distractors : int
        How many documents follow those that have labels.
    """

    def precision(found: SearchResult) -> dict[str, float]:
        quality = class_retrieval(found, asked, labels, own_ids=own_ids, ks=config.ks)
        return {f"precision@{k}": value for k, value in quality.precision.items()}

    def hit_rate(found: SearchResult) -> dict[str, float]:
        quality = identification(found, asked, labels, n_distractors=n_distractors, ks=config.ks)
        return {f"hit rate@{k}": value for k, value in quality.hit_rate.items()}

    def true_accepts(found: SearchResult) -> dict[str, float]:
        rates = config.false_accept_rates
        quality = verification(found, asked, labels, own_ids=own_ids, false_accept_rates=rates)
        return {f"true accepts at {rate:g}": value for rate, value in quality.true_accept_rate.items()}

    judges = {CLASS_RETRIEVAL: precision, IDENTIFICATION: hit_rate, VERIFICATION: true_accepts}
    own = 0 if own_ids is None else 1  # each finds itself, too
    return max(config.ks) + own, judges[config.protocol]


def _read_distractors(config: StudyConfig, labels: TextArray | None) -> tuple[FloatArray, int]:
    """Return as many distractors as are searched at most, and how many the file holds."""
    assert config.distractors is not None
    rows, names = read_dense(config.distractors)
    if len(rows) < max(config.n_distractors):
        raise DataError(f"distractors: expected at least {max(config.n_distractors)}; got {len(rows)}")
    _check_labels(config.distractors, names.labels)
    assert labels is not None
    assert names.labels is not None
    check_disjoint(gallery=labels, distractors=names.labels)
    return np.ascontiguousarray(rows[: max(config.n_distractors)]), len(rows)


def _check_labels(path: Path, labels: TextArray | None) -> None:
    if labels is None:
        raise DataError(f"{path}: expected labels, as gossamer encode writes them; it has none")


def _draw(config: StudyConfig, vectors: Vectors, seed: int, n_distractors: int) -> tuple[Rows, TextArray | None]:
    """Return what is searched and asked, and the labels of what is asked."""
    documents = vectors.documents
    if config.protocol == IDENTIFICATION and vectors.distractors is not None:
        documents = np.concatenate([documents, vectors.distractors[:n_distractors]])
    asked, labels = (documents, vectors.labels) if vectors.queries is None else (vectors.queries, vectors.query_labels)
    n = min(config.n_queries, len(asked))
    chosen = np.sort(np.random.default_rng(seed).choice(len(asked), n, replace=False))
    query_rows, asked_rows = (chosen, None) if vectors.queries is None else (None, chosen)
    rows = Rows(
        documents,
        asked[chosen],
        query_rows=query_rows,
        asked_rows=asked_rows,
        n_held=vectors.n_held,
        n_queries_held=0 if vectors.queries is None else len(vectors.queries),
    )
    return rows, None if labels is None else labels[chosen]
