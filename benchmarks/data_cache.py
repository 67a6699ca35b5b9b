"""Arrays that take minutes to make, kept in .cache/benchmarks under a name that says how they were made."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gossamer import SparseEmbeddings

FOLDER = Path(__file__).parents[1] / ".cache" / "benchmarks"

Arrays = dict[str, NDArray]


def digest(settings: dict, *sources: str) -> str:
    """Return 12 hexadecimal digits of the settings and of the source files of this folder that use them."""
    state = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source in sources:
        state.update((Path(__file__).parent / source).read_bytes())
    return state.hexdigest()[:12]


def cached(name: str, settings: dict, *sources: str, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that were made with these settings and sources, made now if they are not there."""
    path = FOLDER / f"{name}-{digest(settings, *sources)}.npz"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **make())
        partial.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def to_arrays(prefix: str, rows: SparseEmbeddings) -> Arrays:
    return {f"{prefix}_indptr": rows.indptr, f"{prefix}_dims": rows.dims, f"{prefix}_values": rows.values}


def from_arrays(prefix: str, arrays: Arrays) -> SparseEmbeddings:
    parts = (arrays[f"{prefix}_{part}"] for part in ("indptr", "dims", "values"))
    return SparseEmbeddings(*parts, dim=int(arrays["dim"]))
