import tracemalloc

import numpy as np
import pytest
import torch

from gossamer.errors import ShapeError
from gossamer.learning.sparsifier.dense_rows import ROWS_PER_BLOCK, check_dense


def test_rows_are_read_at_length_1_however_large_or_small():
    dense = np.array([[3.0, 4.0], [0.0, 0.0], [3e-40, 4e-40], [3e38, -1e38]], np.float32)
    rows = check_dense(dense)
    expected = torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.6, 0.8], [0.9486833, -0.3162278]])
    torch.testing.assert_close(rows.take(slice(None)), expected, atol=1e-4, rtol=0)
    assert rows.nonzero.tolist() == [0, 2, 3]
    assert rows.take(np.array([3, 0])).shape == (2, 2)
    assert dense[0, 0] == 3.0


def test_what_is_too_small_for_float32_is_a_row_of_zeros():
    assert check_dense(np.array([[1e-300, 0.0], [1.0, 0.0]])).nonzero.tolist() == [1]


def test_blocks_are_all_rows_in_order():
    dense = np.arange(1, 2 * ROWS_PER_BLOCK + 4, dtype=np.float32)[:, None] * np.float32([1.0, -1.0])
    dense[:, 0] = 1.0
    blocks = list(check_dense(dense).blocks())
    assert [len(block) for block in blocks] == [ROWS_PER_BLOCK, ROWS_PER_BLOCK, 3]
    torch.testing.assert_close(torch.cat(blocks), torch.nn.functional.normalize(torch.from_numpy(dense)))


def test_a_memory_map_stays_on_the_disk(tmp_path):
    np.save(tmp_path / "dense.npy", np.ones((10, 3), np.float16))
    rows = check_dense(np.load(tmp_path / "dense.npy", mmap_mode="r"))
    assert isinstance(rows.matrix, np.memmap)
    assert (len(rows), rows.width) == (10, 3)


def test_reading_a_large_file_takes_the_memory_of_a_block(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "dense.npy", "w+", np.float16, (20 * ROWS_PER_BLOCK, 64))
    rows[:] = 1
    mapped = np.load(tmp_path / "dense.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        n = sum(len(block) for block in check_dense(mapped).blocks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == 20 * ROWS_PER_BLOCK
    assert peak < mapped.nbytes / 2


def test_another_width_is_refused():
    with pytest.raises(ShapeError, match="expected 4 columns"):
        check_dense(np.ones((2, 3), np.float32), width=4)
