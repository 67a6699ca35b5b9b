"""The settings of a study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gossamer.errors import ConfigError
from gossamer.results import check_count
from gossamer.study.image_config import ImageSettings
from gossamer.study.methods import EXHAUSTIVE, SPARSIFIER, MethodConfig
from gossamer.study.protocols import class_retrieval, identification, verification

NEAREST_NEIGHBOURS, CLASS_RETRIEVAL = "nearest-neighbours", "class-retrieval"
IDENTIFICATION, VERIFICATION = "identification", "verification"
PROTOCOLS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        NEAREST_NEIGHBOURS: (),
        CLASS_RETRIEVAL: class_retrieval.KS,
        IDENTIFICATION: identification.KS,
        VERIFICATION: verification.KS,
    }
)
"""The protocols, and at how many results each measures unless told otherwise."""
QUICK_DOCUMENTS, QUICK_QUERIES, QUICK_DISTRACTORS_OF_IMAGES = 20_000, 200, 10_000


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What a study measures.

    Parameters
    ----------
    protocol : str
        ``nearest-neighbours``: recall of the best k of given dense vectors. ``class-retrieval``: precision of the
        first results. ``identification``: hit rates of queries in a gallery with distractors. ``verification``: true
        accepts of pairs of a query and a document. See `gossamer.study.protocols`.
    documents : Path
        A ``.npy`` of dense vectors, shape (n, dim), with labels where the protocol is not of neighbours, as
        `gossamer encode` writes them.
    queries : Path, optional
        Such a file of queries. Without it, queries are documents drawn at random, each one's own row left out;
        identification needs it.
    distractors : Path, optional
        Such a file of what is searched beside the gallery, of other classes; for identification alone.
    images : ImageSettings, optional
        Pictures in place of these three: encoders are trained, and what they make of the pictures is searched.
        For all protocols but that of neighbours.
    n_distractors : tuple of int
        How many distractors: one measurement of all methods for each.
    most_distractors : mapping of int to int
        For a seed, the most distractors of these that are measured; all for seeds that it does not name.
    methods : tuple of MethodConfig
        What is compared, each once.
    seeds : tuple of int
        One measurement of all methods for each: of the queries drawn, and of what methods draw.
    k : int
        How many neighbours are to be found.
    ks : tuple of int
        At which numbers of results hit rate or precision are measured, and for verification how many results are asked
        for: the highest. The protocol's own if not given.
    false_accept_rates : tuple of float
        Of verification alone, each above 0 and below 1: at which true accepts are measured.
    n_queries : int
        How many queries, at most.
    n_documents : int, optional
        Of the documents, the first so many alone; all if not given, as always in identification.
    rounds : int
        How often every query is timed.
    batch_size : int
        Queries in one call where they are timed in batches.

    Raises
    ------
    ConfigError, ArgumentError
        If a setting is out of range, or a method is there twice.
    """

    protocol: str
    methods: tuple[MethodConfig, ...]
    documents: Path | None = None
    queries: Path | None = None
    distractors: Path | None = None
    images: ImageSettings | None = None
    n_distractors: tuple[int, ...] = ()
    most_distractors: Mapping[int, int] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    k: int = 10
    ks: tuple[int, ...] = ()
    false_accept_rates: tuple[float, ...] = ()
    n_queries: int = 1000
    n_documents: int | None = None
    rounds: int = 3
    batch_size: int = 1000

    def __post_init__(self) -> None:
        if self.protocol not in tuple(PROTOCOLS):
            raise ConfigError(f"protocol: expected one of {', '.join(PROTOCOLS)}; got {self.protocol!r}")
        self._check_counts()
        if (self.documents is None) == (self.images is None):
            raise ConfigError("documents: expected either a file of vectors or images; got neither or both")
        if self.n_distractors and self.protocol != IDENTIFICATION:
            raise ConfigError(f"distractors: expected for identification alone; got them for {self.protocol}")
        if self.images is None:
            self._check_files()
        else:
            self._check_images(self.images)
        object.__setattr__(self, "ks", self.ks or PROTOCOLS[self.protocol])
        if self.protocol == VERIFICATION:
            rates = self.false_accept_rates or verification.FALSE_ACCEPT_RATES
            object.__setattr__(self, "false_accept_rates", rates)
        labels = [method.label for method in self.methods]
        if not labels:
            raise ConfigError("methods: expected at least one; there is none")
        for place, label in enumerate(labels):
            if label in labels[:place]:
                raise ConfigError(f"methods: expected each once; {label!r} is there twice")
        if not self.places():
            raise ConfigError("methods: expected one that is measured for a seed and number of distractors; none is")

    def _check_counts(self) -> None:
        """Refuse numbers out of range."""
        for number in (*self.ks, *self.n_distractors, *self.most_distractors.values()):
            check_count(number, name="ks and n_distractors")
        for name in ("k", "n_queries", "rounds", "batch_size"):
            check_count(getattr(self, name), name=name)
        if self.n_documents is not None:
            check_count(self.n_documents, name="n_documents")
        for rate in self.false_accept_rates:
            if self.protocol != VERIFICATION:
                raise ConfigError(
                    f"false_accept_rates: expected for {VERIFICATION} alone; got them for {self.protocol}"
                )
            if type(rate) is not float or not 0 < rate < 1:
                raise ConfigError(f"false_accept_rates: expected numbers above 0 and below 1; got {rate!r}")
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ConfigError(f"seeds: expected whole numbers of at least 0; got {list(self.seeds)}")
        for seed in self.most_distractors:
            if seed not in self.seeds:
                raise ConfigError(f"most_distractors: expected seeds of the study; got {seed!r}")

    def _check_files(self) -> None:
        """Refuse what a study of vectors does not take."""
        if self.protocol == IDENTIFICATION and self.queries is None:
            raise ConfigError("queries: expected a file of probes for identification; there is none")
        if self.protocol == IDENTIFICATION and self.n_documents is not None:
            raise ConfigError(
                f"n_documents: expected none for identification: the gallery is searched whole; got {self.n_documents}"
            )
        if bool(self.n_distractors) != (self.distractors is not None):
            raise ConfigError("n_distractors: expected together with distractors; got one without the other")
        for method in self.methods:
            if method.is_trained:
                raise ConfigError(f"{method.name}: expected files, as the study has no images to train on; got none")

    def _check_images(self, images: ImageSettings) -> None:
        """Refuse what a study of images does not take."""
        if self.protocol == NEAREST_NEIGHBOURS:
            raise ConfigError(f"images: expected for a protocol of classes; got {self.protocol!r}")
        for name in ("queries", "distractors", "n_documents"):
            if getattr(self, name) is not None:
                raise ConfigError(f"{name}: expected none where there are images; got {getattr(self, name)}")
        if images.queries is not None and self.protocol == IDENTIFICATION:
            raise ConfigError(
                f"images, queries: expected none for identification: probes are drawn; got {images.queries}"
            )
        for method in self.methods:
            if method.given_files:
                raise ConfigError(f"{method.name}: expected how it is trained, in a study of images; got files")
            images.check_method(method)

    def places(self) -> list[tuple[int, int]]:
        """Return the seeds and numbers of distractors for which there is a method to measure, in order."""
        places = [(seed, n) for seed in self.seeds for n in self.n_distractors or (0,)]
        return [(seed, n) for seed, n in places if self.methods_at(seed=seed, n_distractors=n)]

    def methods_at(self, *, seed: int, n_distractors: int) -> tuple[MethodConfig, ...]:
        """Return the methods that are measured for a seed and a number of distractors; there may be none."""
        if n_distractors > self.most_distractors.get(seed, n_distractors):
            return ()
        return tuple(method for method in self.methods if method.is_measured(seed=seed, n_distractors=n_distractors))

    def quick(self) -> StudyConfig:
        """Return a study that takes minutes: fewer documents and queries, one seed, one round.

        The gallery of an identification stays whole; it has fewer distractors. Encoders of images take fewer steps,
        and one is trained of each regularizer: the first.
        """
        n_documents = min(self.n_documents or QUICK_DOCUMENTS, QUICK_DOCUMENTS)
        firsts = {
            (method.name, method.settings.get("regularizer")): method.model_label
            for method in reversed(self.methods)
            if method.is_trained
        }
        most = QUICK_DOCUMENTS if self.images is None else QUICK_DISTRACTORS_OF_IMAGES
        is_whole = self.protocol == IDENTIFICATION or self.images is not None
        return dataclasses.replace(
            self,
            methods=tuple(
                method for method in self.methods if not method.is_trained or method.model_label in firsts.values()
            ),
            images=None if self.images is None else self.images.quick(),
            most_distractors={},
            n_documents=None if is_whole else n_documents,
            n_queries=min(self.n_queries, QUICK_QUERIES),
            n_distractors=tuple(sorted({min(n, most) for n in self.n_distractors})),
            seeds=self.seeds[:1],
            rounds=1,
        )

    def as_json(self) -> dict[str, Any]:
        """Return all settings as JSON holds them."""
        return {
            **{item.name: getattr(self, item.name) for item in dataclasses.fields(self)},
            "documents": None if self.documents is None else str(self.documents),
            "queries": None if self.queries is None else str(self.queries),
            "distractors": None if self.distractors is None else str(self.distractors),
            "images": None if self.images is None else dataclasses.asdict(self.images),
            "methods": [method.as_json() for method in self.methods],
            "seeds": list(self.seeds),
            "ks": list(self.ks),
            "false_accept_rates": list(self.false_accept_rates),
            "n_distractors": list(self.n_distractors),
            "most_distractors": {str(seed): most for seed, most in self.most_distractors.items()},
        }


def default_methods(n_docs: int, dim: int, *, k: int = 10, budgets: Sequence[float] = ()) -> tuple[MethodConfig, ...]:
    """Return every method of dense vectors at several settings, as far as so many documents and dims allow.

    Where candidates are put in order by the dense vectors, there are at least twice k of them. For each of the
    ``budgets``, FLOPs per document, a sparsifier is fitted.
    """
    rerank = max(100, 2 * k)
    n_lists = max(1, round(n_docs**0.5))
    methods = [MethodConfig(name=EXHAUSTIVE)]
    methods += [
        MethodConfig(name="pca", settings={"width": dim // part}) for part in (2, 4, 8) if 1 <= dim // part <= n_docs
    ]
    methods += [MethodConfig(name="lsh", settings={"n_bits": bits}, rerank=rerank) for bits in (256, 512, 1024)]
    parts = [n for n in (dim // 8, dim // 16) if n and dim % n == 0]
    if n_docs >= 256 and parts:  # as many as centroids of eight bits
        methods += [MethodConfig(name="pq", settings={"n_parts": n}, rerank=rerank) for n in parts]
        methods += [
            MethodConfig(
                name="ivf-pq", settings={"n_lists": n_lists, "n_probes": n, "n_parts": parts[0]}, rerank=rerank
            )
            for n in sorted({min(n, n_lists) for n in (2, 8, 32)})
        ]
    methods += [MethodConfig(name="hnsw", settings={"search_effort": effort}) for effort in (16, 64, 256)]
    kept = sorted({max(1, dim // part) for part in (16, 8, 4)})
    methods += [MethodConfig(name="thresholded", settings={"nnz_per_row": n}, rerank=rerank) for n in kept]
    methods += [
        MethodConfig(name=SPARSIFIER, settings={"flops_per_document": float(flops)}, rerank=candidates)
        for flops in budgets
        for candidates in (None, rerank)
    ]
    return tuple(methods)
