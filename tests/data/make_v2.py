"""Write the golden files of format version 2 anew: ``python tests/data/make_v2.py``. Only while it is not released."""

from pathlib import Path

import numpy as np

from gossamer import Catalog, InvertedIndex, SparseEmbeddings

FOLDER = Path(__file__).parent / "v2"
NAMED = np.float32([[1, 0, 0, -1, 0], [-2, 0, 1, 0, 0], [3, 1, 0, 0, 0], [0, 2, 0, 0, 1]])


def signed_rows(n=70, dim=12):
    """Return rows of both signs, three nonzeros each, of which many are alike."""
    rows = np.zeros((n, dim), np.float32)
    for i in range(n):
        pattern = i % 7
        rows[i, [pattern, pattern + 2, pattern + 5]] = 1 + i % 3, -1 - i % 5, (-1) ** i * (0.5 + i // 35)
    return SparseEmbeddings.from_dense(rows)


if __name__ == "__main__":
    catalog = Catalog(
        n=4, keys=["a/1.png", "é", "日本", "d"], labels=["x", "y", "x", ""], fingerprint="0123456789abcdef"
    )
    named = InvertedIndex.build(SparseEmbeddings.from_dense(NAMED), catalog=catalog, plan="scan")
    named.save(FOLDER / "named", overwrite=True)
    InvertedIndex.build(signed_rows(), plan="block-max").save(FOLDER / "signed_blocks", overwrite=True)
