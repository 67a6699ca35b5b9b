"""Subsets: their check, their bits, and few documents scored one by one."""

import numpy as np
import pytest

from gossamer.kernels import subsets


def verdict(kernel, *arguments):
    answer = np.array([False])
    kernel(*arguments, answer)
    return bool(answer[0])


@pytest.mark.parametrize("n", [0, 1, 2, 4095, 4096, 4097, 4098, 9000])
def test_ascending_doc_ids_are_good_and_one_fault_is_seen_wherever_it_is(n):
    doc_ids = np.arange(5, 5 + 3 * n, 3, dtype=np.int32)
    assert verdict(subsets.check, doc_ids, 5 + 3 * n)
    for place in {1, n // 2, 4095, 4096, 4097, n - 1}:
        if 1 <= place < n:
            for wrong in (doc_ids[place - 1], doc_ids[place - 1] - 1):
                faulty = doc_ids.copy()
                faulty[place] = wrong
                assert not verdict(subsets.check, faulty, 5 + 3 * n)


@pytest.mark.parametrize("doc_ids", [[-1, 3], [0, 10], [10]])
def test_doc_ids_outside_are_faults(doc_ids):
    assert not verdict(subsets.check, np.int32(doc_ids), 10)
    assert verdict(subsets.check, np.int32(np.abs(doc_ids)), 11)


@pytest.mark.parametrize("n", [0, 1, 4095, 4096, 4097, 9000])
def test_arrays_are_the_same_if_every_place_is(n):
    left = np.arange(n, dtype=np.int32)
    assert verdict(subsets.compare, left, left.copy())
    for place in range(0, n, 97):
        right = left.copy()
        right[place] += 1
        assert not verdict(subsets.compare, left, right)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_bits_are_set_and_read(rng, n):
    members = np.flatnonzero(rng.random(n) < 0.3).astype(np.int32)
    bits = np.zeros(-(-n // 64), np.uint64)
    subsets.set_bits(members, bits)
    assert [row for row in range(n) if subsets.is_member(bits, row)] == members.tolist()


@pytest.mark.parametrize("first", [0, 64, 1, 63, 65, 130, 190])
@pytest.mark.parametrize("n_words", [1, 2, 3])
def test_bits_of_a_window_begin_anywhere_and_end_with_zeros(rng, first, n_words):
    members = np.flatnonzero(rng.random(200) < 0.5).astype(np.int32)
    bits, taken = np.zeros(4, np.uint64), np.full(n_words, 7, np.uint64)
    subsets.set_bits(members, bits)
    expected = [member - first for member in members if first <= member < first + 64 * n_words]
    assert subsets.take_bits(bits, first, taken) == bool(expected)
    assert [bit for bit in range(64 * n_words) if subsets.is_member(taken, bit)] == expected
