"""The tasks of a study of images: what its encoders make of the pictures, under its protocol."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gossamer.arrays import AnyArray, TextArray
from gossamer.embeddings import SparseEmbeddings, stacked
from gossamer.learning.model_store import StoredEncoder
from gossamer.study.codes import describe_codes
from gossamer.study.config import IDENTIFICATION, StudyConfig
from gossamer.study.encodings import DistractorPictures, Embeddings, Encodings, HeldPictures, image_digest
from gossamer.study.image_config import DENSE
from gossamer.study.image_data import OnProgress, read_study_images
from gossamer.study.methods import MethodConfig
from gossamer.study.prepared import Codes, Rows
from gossamer.study.protocols.distractors import Distractors
from gossamer.study.protocols.identification import check_disjoint, split_gallery
from gossamer.study.tasks import Sizes, Task, judge_of
from gossamer.study.trained import Learner, describe_model

DISTRACTOR_SEED = 0  # of the warps, whatever the seed of a model
ENCODINGS = "encodings"


class _Asked(NamedTuple):
    """Which pictures are searched and asked, for one seed."""

    documents: AnyArray
    """Rows of what is searched."""
    queries: AnyArray
    """Rows of the queries' own pictures; without those, of what is searched."""
    own_ids: AnyArray | None
    """Which documents the queries are, if they are documents."""


class ImageTasks:
    """Pictures of a study; for each seed, encoders trained or found, and what they make of them.

    Parameters
    ----------
    config : StudyConfig
        One that has images.
    models : Path
        Where encoders and encodings are kept.
    on_progress : callable
        Called with what is being done, how much of it is done, and how much there is.
    progress : bool
        Whether training draws bars on stderr.

    Raises
    ------
    NotFoundError, FormatError, DataError, ConfigError
        If pictures cannot be read, or their classes do not suit the protocol.
    """

    recoverable = (Exception,)
    """What a task may fail with, and the study goes on: training may diverge, or run out of memory."""

    def __init__(self, config: StudyConfig, models: Path, *, on_progress: OnProgress, progress: bool) -> None:
        assert config.images is not None
        self._config, self._on_progress = config, on_progress
        self._images = read_study_images(
            config.images,
            is_identification=config.protocol == IDENTIFICATION,
            has_distractors=bool(config.n_distractors),
            on_progress=on_progress,
        )
        if self._images.others is not None:
            most = Distractors(self._images.others, n=max(config.n_distractors), seed=DISTRACTOR_SEED)
            check_disjoint(
                training=self._images.train.labels, gallery=self._images.search.labels, distractors=most.classes
            )
        self._learner = Learner(config.images, self._images.train, models, progress=progress)
        training = config.images.training_config(0)
        self._encodings = Encodings(models / ENCODINGS, device=training.device, precision=training.precision)
        parts = (self._images.train, self._images.search, self._images.queries, self._images.others)
        digests = "".join("" if part is None else image_digest(part) for part in parts)
        self.digest = hashlib.sha256(digests.encode()).hexdigest()[:16]

    def sizes(self, *, seed: int, n_distractors: int) -> Sizes:
        """Return how much is searched and asked."""
        assert self._config.images is not None
        asked = self._ask(seed)
        dim = self._config.images.encoder_config(DENSE).dim
        return Sizes(n_docs=asked.documents.size + n_distractors, dim=dim, n_queries=asked.queries.size)

    def make(self, methods: tuple[MethodConfig, ...], *, seed: int, n_distractors: int) -> Task:
        """Train and encode what is not there yet, and return what is asked of methods.

        An encoder of a method that cannot be had is kept as its error, which `Task.codes` raises; an error of the
        dense one, which all need, is raised here.
        """
        asked = self._ask(seed)
        dense = self._learner.dense(seed)
        documents, queries = self._embed(dense, asked, n_distractors, name=f"dense, seed {seed}")
        rows = Rows(
            documents=np.asarray(documents),
            queries=np.asarray(queries),
            query_rows=asked.own_ids,
            asked_rows=asked.queries if asked.own_ids is None else None,
        )
        codes: dict[str, Codes | Exception] = {}
        for method in methods:
            if method.is_trained and method.model_label not in codes:
                try:
                    codes[method.model_label] = self._codes(method, asked, seed, n_distractors)
                except Exception as error:
                    codes[method.model_label] = error
                    self._on_progress(f"{method.short_label}: failed", 1, 1)  # ends the bar that stood still
        labels, query_labels = self._labels(asked)
        k, judge = judge_of(
            self._config, labels=labels, asked=query_labels, own_ids=asked.own_ids, n_distractors=n_distractors
        )
        about = {**self._about(n_distractors), "dense_model": describe_model(dense)}
        return Task(rows, k, judge, partial(_known, codes), about)

    def _ask(self, seed: int) -> _Asked:
        n_searched, rng = len(self._images.search), np.random.default_rng(seed)
        documents, queries = np.arange(n_searched), np.arange(n_searched)
        if self._config.protocol == IDENTIFICATION:
            documents, queries = split_gallery(self._images.search.labels, seed=seed)
        elif self._images.queries is not None:
            queries = np.arange(len(self._images.queries))
        n_queries = min(self._config.n_queries, queries.size)
        queries = np.sort(rng.choice(queries, n_queries, replace=False))
        are_documents = self._config.protocol != IDENTIFICATION and self._images.queries is None
        return _Asked(documents, queries, queries if are_documents else None)

    def _labels(self, asked: _Asked) -> tuple[TextArray, TextArray]:
        own = self._images.search if self._images.queries is None else self._images.queries
        return self._images.search.labels[asked.documents], own.labels[asked.queries]

    def _codes(self, method: MethodConfig, asked: _Asked, seed: int, n_distractors: int) -> Codes:
        stored = self._learner.of(method, seed)
        documents, queries = self._embed(stored, asked, n_distractors, name=f"{method.short_label}, seed {seed}")
        about = {"model": describe_model(stored)}
        if isinstance(documents, SparseEmbeddings):
            assert isinstance(queries, SparseEmbeddings)
            about |= describe_codes(documents, queries)
        return Codes(documents, queries, about)

    def _embed(
        self, stored: StoredEncoder, asked: _Asked, n_distractors: int, *, name: str
    ) -> tuple[Embeddings, Embeddings]:
        """Return the embeddings of what is searched and of what is asked."""
        report = partial(self._on_progress, f"encode, {name}")
        search = self._encodings.rows(stored.encoder, HeldPictures(self._images.search), report)
        own = search
        if self._images.queries is not None:
            own = self._encodings.rows(stored.encoder, HeldPictures(self._images.queries), report)
        documents = search[asked.documents]
        if n_distractors:
            assert self._images.others is not None
            pictures = DistractorPictures(self._images.others, n=n_distractors, seed=DISTRACTOR_SEED)
            report = partial(self._on_progress, f"distractors, {name}")
            others = self._encodings.rows(stored.encoder, pictures, report)[:n_distractors]
            documents = _below(documents, others)
        return documents, own[asked.queries]

    def _about(self, n_distractors: int) -> dict[str, Any]:
        about: dict[str, Any] = {
            "n_train_images": len(self._images.train),
            "n_train_classes": self._images.train.n_classes,
            "n_searched_classes": self._images.search.n_classes,
            "is_unseen": self._images.is_unseen,
        }
        if n_distractors and self._images.others is not None:
            counts = Distractors(self._images.others, n=n_distractors, seed=DISTRACTOR_SEED).counts
            about["distractors"] = dataclasses.asdict(counts)
        return about


def _below(first: Embeddings, second: Embeddings) -> Embeddings:
    if isinstance(first, SparseEmbeddings):
        assert isinstance(second, SparseEmbeddings)
        return stacked([first, second], dim=first.dim)
    assert not isinstance(second, SparseEmbeddings)
    return np.concatenate([first, second])


def _known(codes: dict[str, Codes | Exception], method: MethodConfig, _: Rows) -> Codes:
    """Return what a method searches, or raise why there is nothing."""
    found = codes[method.model_label]
    if isinstance(found, Exception):
        raise found
    return found
