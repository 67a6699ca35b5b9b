"""The settings of a study: a YAML file, or options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gossamer.errors import ConfigError, FormatError, MissingDependencyError, NotFoundError
from gossamer.results import check_count
from gossamer.study.methods import EXHAUSTIVE, GIVEN, MethodConfig
from gossamer.study.protocols import class_retrieval, identification

NEAREST_NEIGHBOURS, CLASS_RETRIEVAL, IDENTIFICATION = "nearest-neighbours", "class-retrieval", "identification"
PROTOCOLS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {NEAREST_NEIGHBOURS: (), CLASS_RETRIEVAL: class_retrieval.KS, IDENTIFICATION: identification.KS}
)
"""The protocols, and at how many results each measures unless told otherwise."""
QUICK_DOCUMENTS, QUICK_QUERIES = 20_000, 200

_REQUIRED = ("protocol", "documents", "methods")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What a study measures.

    Parameters
    ----------
    protocol : str
        ``nearest-neighbours``: recall of the best k of given dense vectors. ``class-retrieval``: precision of the
        first results. ``identification``: hit rates of queries in a gallery with distractors. See
        `gossamer.study.protocols`.
    documents : Path
        A ``.npy`` of dense vectors, shape (n, dim), with labels where the protocol is not of neighbours, as
        `gossamer encode` writes them.
    queries : Path, optional
        Such a file of queries. Without it, queries are documents drawn at random, each one's own row left out;
        identification needs it.
    distractors : Path, optional
        Such a file of what is searched beside the gallery, of other classes; for identification alone.
    n_distractors : tuple of int
        How many of them: one measurement of all methods for each.
    methods : tuple of MethodConfig
        What is compared, each once.
    seeds : tuple of int
        One measurement of all methods for each: of the queries drawn, and of what methods draw.
    k : int
        How many neighbours are to be found.
    ks : tuple of int
        At which numbers of results hit rate or precision are measured; the protocol's own if not given.
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
    documents: Path
    methods: tuple[MethodConfig, ...]
    queries: Path | None = None
    distractors: Path | None = None
    n_distractors: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    k: int = 10
    ks: tuple[int, ...] = ()
    n_queries: int = 1000
    n_documents: int | None = None
    rounds: int = 3
    batch_size: int = 1000

    def __post_init__(self) -> None:
        if self.protocol not in tuple(PROTOCOLS):
            raise ConfigError(f"protocol: expected one of {', '.join(PROTOCOLS)}; got {self.protocol!r}")
        if self.protocol == IDENTIFICATION and self.queries is None:
            raise ConfigError("queries: expected a file of probes for identification; there is none")
        if self.protocol == IDENTIFICATION and self.n_documents is not None:
            raise ConfigError(
                f"n_documents: expected none for identification: the gallery is searched whole; got {self.n_documents}"
            )
        if bool(self.n_distractors) != (self.distractors is not None):
            raise ConfigError("n_distractors: expected together with distractors; got one without the other")
        if self.distractors is not None and self.protocol != IDENTIFICATION:
            raise ConfigError(f"distractors: expected for identification alone; got them for {self.protocol}")
        for number in (*self.ks, *self.n_distractors):
            check_count(number, name="ks and n_distractors")
        object.__setattr__(self, "ks", self.ks or PROTOCOLS[self.protocol])
        for name in ("k", "n_queries", "rounds", "batch_size"):
            check_count(getattr(self, name), name=name)
        if self.n_documents is not None:
            check_count(self.n_documents, name="n_documents")
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ConfigError(f"seeds: expected whole numbers of at least 0; got {list(self.seeds)}")
        labels = [method.label for method in self.methods]
        if not labels:
            raise ConfigError("methods: expected at least one; there is none")
        for place, label in enumerate(labels):
            if label in labels[:place]:
                raise ConfigError(f"methods: expected each once; {label!r} is there twice")

    def quick(self) -> StudyConfig:
        """Return a study that takes minutes: fewer documents and queries, one seed, one round.

        The gallery of an identification stays whole; it has fewer distractors.
        """
        n_documents = min(self.n_documents or QUICK_DOCUMENTS, QUICK_DOCUMENTS)
        return dataclasses.replace(
            self,
            n_documents=None if self.protocol == IDENTIFICATION else n_documents,
            n_queries=min(self.n_queries, QUICK_QUERIES),
            n_distractors=tuple(sorted({min(n, QUICK_DOCUMENTS) for n in self.n_distractors})),
            seeds=self.seeds[:1],
            rounds=1,
        )

    def as_json(self) -> dict[str, Any]:
        """Return all settings as JSON holds them."""
        methods = [
            {"name": m.name, "settings": dict(m.settings), "rerank": m.rerank, "curve": m.curve} for m in self.methods
        ]
        return {
            **{item.name: getattr(self, item.name) for item in dataclasses.fields(self)},
            "documents": str(self.documents),
            "queries": None if self.queries is None else str(self.queries),
            "distractors": None if self.distractors is None else str(self.distractors),
            "methods": methods,
            "seeds": list(self.seeds),
            "ks": list(self.ks),
            "n_distractors": list(self.n_distractors),
        }


def read_config(path: str | Path) -> StudyConfig:
    """Read a YAML file whose keys are the settings of `StudyConfig`; paths in it are relative to it.

    A method is its name, or a mapping of ``name``, ``rerank``, ``curve`` and its settings.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is not YAML.
    MissingDependencyError
        If PyYAML, or the library of a method, is not installed.
    ConfigError, ArgumentError
        If a key is unknown or missing, or a setting wrong.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            "a study's file needs PyYAML, which is not installed: pip install 'gossamer[study]'"
        ) from error
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"study: expected a YAML file; there is none at {path}")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: expected YAML; it cannot be read ({reason})") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected settings by name; got {type(settings).__name__}")
    known = [item.name for item in dataclasses.fields(StudyConfig)]
    for key in settings:
        if key not in known:
            raise ConfigError(f"{path}: expected keys of {', '.join(known)}; got {key!r}")
    if missing := [key for key in _REQUIRED if key not in settings]:
        raise ConfigError(f"{path}: expected a key {missing[0]!r}; there is none")
    for key in ("methods", "seeds", "ks", "n_distractors"):
        if key in settings:
            if not isinstance(settings[key], list):
                raise ConfigError(f"{path}, {key}: expected a list; got {settings[key]!r}")
            settings[key] = tuple(settings[key])
    for key in ("documents", "queries", "distractors"):
        if key in _REQUIRED or settings.get(key) is not None:
            settings[key] = _beside(path, settings[key], key)
    settings["methods"] = tuple(_method(method, path) for method in settings["methods"])
    return StudyConfig(**settings)


def default_methods(n_docs: int, dim: int, *, k: int = 10) -> tuple[MethodConfig, ...]:
    """Return every method of dense vectors at several settings, as far as so many documents and dims allow.

    Where candidates are put in order by the dense vectors, there are at least twice k of them.
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
    return tuple(methods)


def _beside(path: Path, given: Any, key: str) -> Path:
    if not isinstance(given, str):
        raise ConfigError(f"{path}, {key}: expected a path; got {given!r}")
    return path.parent / given


def _method(given: Any, path: Path) -> MethodConfig:
    if isinstance(given, str):
        return MethodConfig(name=given)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ConfigError(f"{path}, methods: expected a name, or a mapping with a name; got {given!r}")
    settings = {key: value for key, value in given.items() if key not in ("name", "rerank", "curve")}
    if given["name"] in GIVEN:
        for key in ("documents", "queries"):
            if key in settings:
                settings[key] = str(_beside(path, settings[key], key))
    return MethodConfig(name=given["name"], settings=settings, rerank=given.get("rerank"), curve=given.get("curve"))
