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
