"""What rows are compared by at first: their heads, as keys of posting lists.

- An entry counts with the square root of its absolute value, in rows scaled to unit length (the Bhattacharyya
  coefficient, 1943): blocks of rows cost what they have in distinct dimensions, so that sharing an entry counts for
  more than its size. A dimension's positive and negative entries are two features of a row, 2 · dimension + sign.
- The head of a row are its heaviest entries. Its keys are their features, or, where lists of features would be too
  long, all pairs of features, hashed: two heads have as many pairs in common as there are pairs of what they share,
  and heads that share but one feature, most of those that meet by chance, have none. A hash that two pairs have in
  common merely makes two heads seem somewhat more alike.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import jit


class Rows(NamedTuple):
    """CSR rows; a row may have a dimension twice, once with either sign, and its dimensions in any order."""

    indptr: NDArray[np.int64]
    dims: NDArray[np.int32]
    values: NDArray[np.float32]


class Heads(NamedTuple):
    """How large heads are, and of how many bits the hash of a pair of features; if 0, features are keys."""

    size: int
    bits: int

    def n_keys(self, dim: int) -> int:
        """Return the number of different keys."""
        return 1 << self.bits if self.bits else 2 * dim


def keys_of(
    rows: Rows, members: NDArray[np.int32], heads: Heads
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return the keys of some rows: where each row's start, the keys, and their weights as a unit vector."""
    starts, features, weights = heads_of(*rows, members, heads.size)
    return _pairs(heads.bits, starts, features, weights) if heads.bits else (starts, features, weights)


@jit
def most_keys(head_size, is_paired):
    """Return how many keys a head may have."""
    return max(1, head_size * (head_size - 1) // 2) if is_paired else head_size


@jit
def write_keys(bits, features, weights, keys, key_weights):
    """Write the keys of a head, and return how many."""
    if bits == 0:
        for i in range(features.size):
            keys[i], key_weights[i] = features[i], weights[i]
        return features.size
    if features.size == 1:
        keys[0], key_weights[0] = _hash(bits, features[0], features[0]), 1
        return 1
    n, total = 0, 0.0
    for i in range(features.size):
        for j in range(i):
            keys[n], key_weights[n] = _hash(bits, features[i], features[j]), weights[i] * weights[j]
            total += np.float64(key_weights[n]) ** 2
            n += 1
    for i in range(n):
        key_weights[i] /= np.sqrt(total)
    return n


@jit
def _hash(bits, a, b):
    """Return ``bits`` bits of two features, in any order (Knuth, "Sorting and Searching", 1973, section 6.4)."""
    pair = np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))
    return np.int32((pair * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits))


@jit
def _pairs(bits, starts, features, weights):
    sizes, room = np.diff(starts), 0
    for size in sizes:
        room += most_keys(size, True)
    keys, key_weights = np.empty(room, np.int32), np.empty(room, np.float32)
    key_starts = np.zeros(starts.size, np.int64)
    for i in range(sizes.size):
        head, first = slice(starts[i], starts[i + 1]), key_starts[i]
        n = write_keys(bits, features[head], weights[head], keys[first:], key_weights[first:]) if sizes[i] else 0
        key_starts[i + 1] = first + n
    return key_starts, keys[: key_starts[-1]], key_weights[: key_starts[-1]]


@jit
def feature_of(dim, value):
    """Return the feature of an entry."""
    return 2 * dim + np.int32(value < 0)


@jit
def total_of(values):
    """Return the sum of absolute values, in float64, which holds it."""
    total = 0.0
    for value in values:
        total += abs(value)
    return total


@jit
def heaviest_above(weights, size):
    """Return a bound above which about ``size`` absolute values are, or some more."""
    if weights.size <= size:
        return np.float32(0)
    low, high = np.float32(0), np.float32(0)
    for weight in weights:
        high = max(high, abs(weight))
    for _ in range(8):
        middle, n = (low + high) / 2, np.int32(0)
        for p in range(weights.size):  # counting vectorizes; finding the heaviest one by one does not
            n += np.int32(abs(weights[p]) > middle)
        if n < size:
            high = middle
        else:
            low = middle
        if n == size:
            break
    return np.float32(low)


@jit
def write_head(dims, values, features, weights):
    """Write a row's heaviest entries, as a unit vector, and return how many: at most one less than there is room."""
    bound, n = heaviest_above(values, features.size - 1), 0
    for p in range(dims.size):
        features[n] = feature_of(dims[p], values[p])
        weights[n] = abs(values[p])
        n = min(n + np.int64(weights[n] > bound), features.size - 1)
    total = total_of(weights[:n])
    for i in range(n):
        weights[i] = np.sqrt(weights[i] / total)
    return n


@jit
def heads_of(indptr, dims, values, members, size):
    """Return the heads of some rows: where each starts, features and weights."""
    starts = np.zeros(members.size + 1, np.int64)
    for i in range(members.size):
        starts[i + 1] = starts[i] + min(size, indptr[members[i] + 1] - indptr[members[i]])
    features, weights = np.empty(starts[-1] + 1, np.int32), np.empty(starts[-1] + 1, np.float32)
    end = 0
    for i in range(members.size):
        row = slice(indptr[members[i]], indptr[members[i] + 1])
        room = slice(end, end + starts[i + 1] - starts[i] + 1)
        starts[i] = end
        end += write_head(dims[row], values[row], features[room], weights[room])
    starts[-1] = end
    return starts, features[:end], weights[:end]
