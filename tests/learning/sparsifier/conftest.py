import numpy as np
import pytest

from gossamer.learning import Sparsifier


def clustered(n=300, width=24, n_clusters=20, seed=0):
    """Rows around some directions: what embeddings of anything look like."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((n_clusters, width))
    rows = centers[rng.integers(0, n_clusters, n)] + 0.4 * rng.standard_normal((n, width))
    return rows.astype(np.float32)


@pytest.fixture
def dense():
    return clustered()


@pytest.fixture(scope="session")
def settings():
    """A run that takes a moment."""
    return {"dim": 128, "flops_per_document": 1.0, "steps": 60, "batch_size": 64, "device": "cpu"}


@pytest.fixture(scope="session")
def fitted(settings):
    return Sparsifier(**settings).fit(clustered())
