"""What the rows of embeddings are called: keys, labels, and the model that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gossamer.arrays import AnyArray, TextArray
from gossamer.errors import DataError, MismatchError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalog:
    """Names that travel with rows, from images through embeddings to an index and its results.

    Parameters
    ----------
    n : int
        How many rows are named.
    keys : array of str, shape (n,), optional
        The caller's id of each row, such as an image's relative path. Without keys, a row's key is
        its number.
    labels : array of str, shape (n,), optional
        The class of each row.
    fingerprint : str
        Which model made the rows; empty if unknown.

    Raises
    ------
    ShapeError
        If there are not ``n`` keys, or not ``n`` labels.
    DataError
        If keys repeat.
    """

    n: int
    keys: TextArray | None = None
    labels: TextArray | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        for name in ("keys", "labels"):
            texts = getattr(self, name)
            if texts is None:
                continue
            texts = np.asarray(texts, dtype=np.str_)
            if texts.shape != (self.n,):
                raise ShapeError(f"{name}: expected shape ({self.n},), one for each row; got {texts.shape}")
            object.__setattr__(self, name, texts)
        if self.keys is not None and np.unique(self.keys).size != self.n:
            values, counts = np.unique(self.keys, return_counts=True)
            raise DataError(
                f"keys: expected each key once; {str(values[np.argmax(counts)])!r} occurs {counts.max()} times"
            )

    def key(self, doc_id: int) -> str:
        """Return the key of one row: the row's number where there are no keys."""
        return str(doc_id) if self.keys is None else str(self.keys[doc_id])

    def label(self, doc_id: int) -> str | None:
        """Return the label of one row, or None where there are no labels."""
        return None if self.labels is None else str(self.labels[doc_id])

    def take(self, rows: AnyArray | Sequence[int]) -> Catalog:
        """Return the names of some rows, by number."""
        chosen = np.arange(self.n)[rows if isinstance(rows, np.ndarray) else list(rows)]
        return Catalog(
            n=chosen.size,
            keys=None if self.keys is None else self.keys[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            fingerprint=self.fingerprint,
        )

    def check_same_model(self, other: Catalog, *, name: str) -> None:
        """Refuse to compare rows of two models.

        Raises
        ------
        MismatchError
            If both fingerprints are known and differ. An unknown one is the caller's own business.
        """
        if self.fingerprint and other.fingerprint and self.fingerprint != other.fingerprint:
            raise MismatchError(
                f"{name}: expected embeddings of model {self.fingerprint}; got those of model {other.fingerprint}. "
                "Encode both with one model"
            )
