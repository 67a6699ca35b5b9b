"""What all tests share."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# As the Makefile does, before numba is imported: numba does not see edits in imported kernel files.
_sources = b"".join(path.read_bytes() for path in sorted((ROOT / "src/gossamer/kernels").glob("*.py")))
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / f".cache/numba-{hashlib.sha256(_sources).hexdigest()[:12]}"))

settings.register_profile("gossamer", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("gossamer")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def one_thread():
    """Tiny batches gain nothing from threads of torch, and lose much where cores are busy."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
