"""Sparsifiers of CLINC150, each fitted once and kept in a model store, and the records of what they do."""

from pathlib import Path
from typing import NamedTuple

from clinc150_dense import Corpus
from records import append

from gossamer import SparseEmbeddings
from gossamer.learning import Sparsifier
from gossamer.learning.model_store import ModelStore

SHORT = 200  # steps of the runs that are only compared with each other
STORE = Path(__file__).parents[1] / ".cache" / "models"


class Models(NamedTuple):
    """A corpus, and where sparsifiers of it are kept."""

    corpus: Corpus
    store: ModelStore
    trains: bool = True
    """Whether a model that the store lacks is to be fitted, or left out."""

    def has(self, seed: int, **settings: object) -> bool:
        """Return whether `fit` with these settings may be called: the model is there, or may be fitted."""
        sparsifier = Sparsifier(**settings, random_state=seed, device="cpu")
        return self.trains or self.store.sparsifier_folder(self.corpus.documents, sparsifier).exists()

    def fit(self, seed: int, **settings: object) -> tuple[Sparsifier, dict]:
        """Return the sparsifier of the corpus, fitted if need be, and what was measured in training."""
        sparsifier, metrics, folder = self.store.sparsifier(
            self.corpus.documents, Sparsifier(**settings, random_state=seed, device="cpu")
        )
        return sparsifier, {
            "minutes": metrics["training_seconds"] / 60,
            "flops_held_out": metrics["flops_per_document"],
            "steps": sparsifier.steps,
            "batch_size": sparsifier.batch_size,
            "dim": sparsifier.dim,
            "target": sparsifier.flops_per_document,
            "model": folder.name,
        }


def encoded(corpus: Corpus, sparsifier: Sparsifier) -> tuple[SparseEmbeddings, SparseEmbeddings]:
    return sparsifier.encode(corpus.documents), sparsifier.encode(corpus.queries)


def record(part: str, name: str, seed: int, **figures: object) -> None:
    append({"benchmark": "learning_dense", "part": part, "name": name, **figures}, seed=seed, is_quiet=True)
    shown = {key: value for key, value in figures.items() if isinstance(value, float | int)}
    print(part, name, seed, {key: round(value, 4) for key, value in shown.items()}, flush=True)
