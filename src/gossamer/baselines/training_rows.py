"""The documents from which a baseline learns its codes."""

import numpy as np

from gossamer.arrays import FloatArray
from gossamer.results import check_count


def draw_training_rows(documents: FloatArray, n: int, *, seed: int) -> FloatArray:
    """Return at most ``n`` documents, drawn at random, in their order; all of them where there are no more."""
    if len(documents) <= check_count(n, name="n_training_rows"):
        return documents
    chosen = np.random.default_rng(seed).choice(len(documents), n, replace=False)
    return documents[np.sort(chosen)]
