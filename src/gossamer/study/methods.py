"""The methods of a study by name: what builds each, from which settings, with which library."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from gossamer.arrays import FloatArray
from gossamer.baselines.flat import FlatSearcher
from gossamer.baselines.hnsw import HnswSearcher
from gossamer.baselines.lsh import LshSearcher
from gossamer.baselines.pca import PcaSearcher
from gossamer.baselines.product_quantization import IvfPqSearcher, ProductQuantizationSearcher
from gossamer.baselines.thresholded import ThresholdedSearcher
from gossamer.errors import ConfigError, MissingDependencyError
from gossamer.results import Searcher, check_count

EXHAUSTIVE, SPARSE, HASH_TABLE, SPARSIFIER = "exhaustive", "sparse", "hash-table", "sparsifier"

OF_THE_SEARCH: Mapping[str, type] = MappingProxyType({"min_score": float, "min_query_value": float})
"""Settings of a search of sparse embeddings, whoever made these."""

_FAISS, _SCIKIT_LEARN = ("faiss", "FAISS", "bench"), ("sklearn", "scikit-learn", "learn")
_TORCH = "torch", "torch", "learn"


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
        SPARSE: ({"documents": str, "queries": str, **OF_THE_SEARCH}, ["documents"]),
        HASH_TABLE: ({"documents": str, "queries": str, "n_active": int}, ["documents", "n_active"]),
    }
)
"""The methods that take files made before: the type of each setting, and those that must be given."""

_BUDGETS = {"flops_per_document": float, "nnz_per_row": float, "weight": float}
TRAINED: Mapping[str, tuple[dict[str, type], list[str]]] = MappingProxyType(
    {
        SPARSE: ({"regularizer": str, **_BUDGETS, **OF_THE_SEARCH}, ["regularizer"]),
        HASH_TABLE: (
            {"dim": int, "n_active": int, "collision_weight": float, "rows_per_class": int},
            ["dim", "n_active"],
        ),
    }
)
"""The same methods in a study of images, which trains their encoders; the first of the settings says so."""

FITTED: Mapping[str, tuple[dict[str, type], list[str]]] = MappingProxyType(
    {
        SPARSIFIER: (
            {"flops_per_document": float, "dim": int, "regularizer": str, "steps": int, **OF_THE_SEARCH},
            ["flops_per_document"],
        )
    }
)
"""The methods that learn codes of the dense vectors themselves, from the documents alone."""


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """One method of a study with its settings; checked as far as can be without data.

    Parameters
    ----------
    name : str
        One of `METHODS`; ``sparsifier``, which fits a `gossamer.learning.Sparsifier` to the documents; or one of
        `GIVEN`: ``sparse`` for sparse embeddings of the same rows, made before, and
        ``hash-table`` for what a network for hash codes says of them.
    settings : mapping of str to int, float or str
        Of a dense method, the keywords of its class. Of the others ``documents``, and ``queries`` where the
        study has queries of their own: a ``.npz`` for ``sparse``, as `gossamer encode` writes it, a ``.npy`` for
        ``hash-table``. Row i is of row i of the dense vectors; distractors follow the gallery. Also of
        ``hash-table`` ``n_active``, the ones of a code. In a study of images, how the encoder
        is trained instead: of ``sparse`` the ``regularizer`` and either ``flops_per_document``, ``nnz_per_row`` or
        ``weight``; of ``hash-table`` ``dim``, ``collision_weight`` and ``rows_per_class``, of a batch. Of
        ``sparsifier`` parameters of its class, ``flops_per_document`` among them. And of all sparse embeddings how
        they are searched: ``min_score``, and ``min_query_value``: smaller entries of a query are left out.
    rerank : int, optional
        How many candidates are put in order by the dense vectors; None for none. A hash table puts all that it
        finds in order, and takes no number.
    curve : str, optional
        The line of the figure that the method is a point of. Without it, settings of a method make one line, and
        those re-ranked another; ``sparse`` embeddings of several models need a name for each, but that those
        trained are a line for each regularizer.
    most_distractors : int, optional
        Where there are more distractors, the method is left out.
    seeds : tuple of int, optional
        The method is left out for other seeds.

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
    most_distractors: int | None = None
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.name not in (*METHODS, *FITTED, *GIVEN):
            raise ConfigError(f"method: expected one of {', '.join((*METHODS, *FITTED, *GIVEN))}; got {self.name!r}")
        kinds, required = _settings_of(self.name, is_trained=self.is_trained)
        for key, value in self.settings.items():
            if key not in kinds:
                raise ConfigError(f"{self.name}: expected settings of {', '.join(kinds) or 'no name'}; got {key!r}")
            if type(value) is not kinds[key] and not (kinds[key] is float and type(value) is int):
                raise ConfigError(f"{self.name}, {key}: expected {kinds[key].__name__}; got {value!r}")
        if missing := [key for key in required if key not in self.settings]:
            raise ConfigError(f"{self.name}: expected a setting {missing[0]!r}; there is none")
        _check_least(self.name, self.settings.get("min_query_value", 0))
        if self.rerank is not None:
            check_count(self.rerank, name=f"{self.name}, rerank")
            if self.name == HASH_TABLE:
                raise ConfigError(f"hash-table, rerank: it puts all that it finds in order; got {self.rerank}")
        if self.curve is not None and (type(self.curve) is not str or not self.curve):
            raise ConfigError(f"{self.name}, curve: expected a name; got {self.curve!r}")
        if self.most_distractors is not None:
            check_count(self.most_distractors, name=f"{self.name}, most_distractors")
        if self.seeds is not None and (not self.seeds or any(type(seed) is not int for seed in self.seeds)):
            raise ConfigError(f"{self.name}, seeds: expected whole numbers; got {list(self.seeds)}")
        for module, library, extra in self._libraries:
            if importlib.util.find_spec(module) is None:
                raise MissingDependencyError(
                    f"{self.name} needs {library}, which is not installed: pip install 'gossamer[{extra}]'"
                )

    @property
    def _libraries(self) -> tuple[tuple[str, str, str], ...]:
        if self.name in METHODS:
            return METHODS[self.name].libraries
        return (_TORCH, _SCIKIT_LEARN) if self.name in FITTED else ()

    @property
    def has_codes(self) -> bool:
        """Whether it searches codes in the place of the dense vectors: learned, or given."""
        return self.name in FITTED or self.name in GIVEN

    @property
    def label(self) -> str:
        """The method and its settings in words."""
        parts = [f"{key.replace('_', ' ')} {value}" for key, value in self.settings.items()]
        parts += [] if self.rerank is None else [f"re-ranked {self.rerank}"]
        return ", ".join((self.name, *parts))

    @property
    def is_trained(self) -> bool:
        """Whether its encoder is trained by the study."""
        return self.name in TRAINED and next(iter(TRAINED[self.name][0])) in self.settings

    @property
    def model_label(self) -> str:
        """The method and how it is trained, in words: equal for methods of one model."""
        parts = [f"{key.replace('_', ' ')} {value}" for key, value in self.settings.items() if key not in OF_THE_SEARCH]
        return ", ".join((self.name, *parts))

    @property
    def short_label(self) -> str:
        """The method and how it is trained, in few words, for a progress bar."""
        return " ".join((self.name, *(str(value) for key, value in self.settings.items() if key not in OF_THE_SEARCH)))

    def is_measured(self, *, seed: int, n_distractors: int) -> bool:
        """Return whether the method is not left out for a seed and a number of distractors."""
        has_few = self.most_distractors is None or n_distractors <= self.most_distractors
        return has_few and (self.seeds is None or seed in self.seeds)

    def as_json(self) -> dict[str, Any]:
        """Return all settings as JSON holds them."""
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "rerank": self.rerank,
            "curve": self.curve,
            "most_distractors": self.most_distractors,
            "seeds": None if self.seeds is None else list(self.seeds),
        }

    @property
    def given_files(self) -> list[Path]:
        """The files made before that the method takes."""
        keys = ("documents", "queries") if self.name in GIVEN else ()
        return [Path(self.settings[key]) for key in keys if key in self.settings]


def _check_least(name: str, value: float) -> None:
    if not value >= 0:
        raise ConfigError(f"{name}, min_query_value: expected at least 0; got {value}")


def _settings_of(name: str, *, is_trained: bool) -> tuple[dict[str, type], list[str]]:
    """Return the type of each setting of a method, and those that must be given."""
    if name in FITTED:
        return FITTED[name]
    if name in GIVEN:
        return TRAINED[name] if is_trained else GIVEN[name]
    keywords = [
        parameter
        for parameter in inspect.signature(METHODS[name].kind).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name != "seed"
    ]
    required = [parameter.name for parameter in keywords if parameter.default is inspect.Parameter.empty]
    return {parameter.name: int for parameter in keywords}, required
