"""What block max knows of blocks of rows, and of their parts: the extremes of each dimension.

With 0 among them wherever some row of the block lacks the dimension. Those of parts are kept as 8-bit codes.
"""

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import call, jit


def summarize_blocks(
    indptr: NDArray[np.int64], dims: NDArray[np.int32], values: NDArray[np.float32], dim: int, block_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the blocks of CSR rows in CSR form: ``indptr``, ``dims``, and the highest and the lowest values."""
    n_blocks = -(-(indptr.size - 1) // block_size)
    block_indptr = np.zeros(n_blocks + 1, np.int64)
    call(_count_dims, indptr, dims, dim, block_size, block_indptr)
    np.cumsum(block_indptr, out=block_indptr)
    block_dims = np.empty(block_indptr[-1], np.int32)
    highs, lows = np.empty(block_dims.size, np.float32), np.empty(block_dims.size, np.float32)
    call(_fill_blocks, indptr, dims, values, dim, block_size, block_indptr, block_dims, highs, lows)
    return block_indptr, block_dims, highs, lows


def encode_parts(
    indptr: NDArray[np.int64], highs: NDArray[np.float32], lows: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Return the codes of the extremes of parts, ``highs`` and ``lows``, and the step of each part."""
    steps = np.zeros(indptr.size - 1, np.float32)
    high_codes, low_codes = np.empty(highs.size, np.uint8), np.empty(lows.size if (lows < 0).any() else 0, np.uint8)
    call(_encode, indptr, highs, lows, high_codes, low_codes, steps)
    return high_codes, low_codes, steps


@jit
def _encode(indptr, highs, lows, high_codes, low_codes, steps):
    for part in range(steps.size):
        largest = np.float64(0)
        for p in range(indptr[part], indptr[part + 1]):
            largest = max(largest, np.float64(highs[p]), -np.float64(lows[p]))
        # Rounded up, so that 255 steps are enough; the smallest step that is not 0 serves parts of tiny values.
        step = max(np.float32(largest / 255) * np.float32(1 + 2.0**-22), np.float32(2.0**-126))
        steps[part] = step
        for p in range(indptr[part], indptr[part + 1]):
            high_codes[p] = np.uint8(np.ceil(max(0.0, np.float64(highs[p])) / np.float64(step)))
            if low_codes.size:
                low_codes[p] = np.uint8(np.ceil(max(0.0, -np.float64(lows[p])) / np.float64(step)))


@jit
def _count_dims(indptr, dims, dim, block_size, counts):
    """Write how many dimensions block b has to ``counts[b + 1]``."""
    last_block = np.full(dim, -1, np.int64)
    for block in range(counts.size - 1):
        first, last = block * block_size, min((block + 1) * block_size, indptr.size - 1)
        for j in dims[indptr[first] : indptr[last]]:
            counts[block + 1] += last_block[j] != block
            last_block[j] = block


@jit
def _fill_blocks(indptr, dims, values, dim, block_size, block_indptr, block_dims, highs, lows):
    high, low, n_rows = np.empty(dim, np.float32), np.empty(dim, np.float32), np.zeros(dim, np.int64)
    for block in range(block_indptr.size - 1):
        first, last = block * block_size, min((block + 1) * block_size, indptr.size - 1)
        own = block_dims[block_indptr[block] : block_indptr[block + 1]]
        n = 0
        for p in range(indptr[first], indptr[last]):
            j = dims[p]
            if n_rows[j] == 0:
                own[n] = j
                n += 1
                high[j] = low[j] = values[p]
            high[j], low[j] = max(high[j], values[p]), min(low[j], values[p])
            n_rows[j] += 1
        own.sort()
        for i in range(own.size):
            j, place = own[i], block_indptr[block] + i
            is_everywhere = n_rows[j] == last - first
            highs[place] = high[j] if is_everywhere else max(high[j], np.float32(0))
            lows[place] = low[j] if is_everywhere else min(low[j], np.float32(0))
            n_rows[j] = 0
