"""Rows grouped around centroids, without labels.

- The first centroids are leaders (Hartigan, "Clustering algorithms", 1975, chapter 3): sampled rows less similar
  than a threshold to all leaders before them; random rows would find some classes twice and others never.
  One iteration of k-means on the sample improves them (Sculley, "Web-scale k-means clustering", WWW 2010).
- A row's nearest centroid is found through posting lists of the centroids' heads (`gossamer.kernels.heads`), asked
  with the row's head, and among those candidates by all entries.
- There are about as many centroids as blocks of rows, however many rows: the more centroids, the smaller the heads, so
  that a row reads no more postings. Of a million centroids and heads of five entries of a thousand dimensions, pairs
  of features let a row read 200 postings, where features would let it read 25,000.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import call, jit
from gossamer.kernels.heads import (
    Heads,
    Rows,
    feature_of,
    heads_of,
    heaviest_above,
    keys_of,
    most_keys,
    total_of,
    write_head,
    write_keys,
)
from gossamer.kernels.prefetch import prefetch

_ROWS_PER_CENTROID = 16  # where that gives
_FEW_CENTROIDS = 3 << 13  # or less, and so many
_ROWS_PER_CENTROID_OF_MANY = 40
_PROBED = 8192  # sampled rows whose heads are tried
_SAMPLE = 6  # sampled rows per centroid
_THRESHOLDS = (0.45, 0.6, 0.75, 0.9)  # for leaders: the first that gives enough of them
_PAIR_THRESHOLDS = (0.13, 0.2, 0.36, 0.56, 0.81)  # pairs are shared as the square of what is shared
_HEAD_SIZES = (32, 24, 16, 12, 8)  # the first whose lists have, for a row,
_PAIR_HEAD_SIZES = (8, 7, 6, 5, 4)  # or, with pairs of features as keys,
_SHORT = 6  # entries a row; rows of fewer have too few pairs to find what is similar
_POSTINGS = 48  # at most so many postings for each of its entries
_LONGEST_CENTROID = 128
_CANDIDATES = 32
_CANDIDATE_SHARE = np.float32(0.7)  # of the best similarity of heads; of that of pairs, its square


def find_groups(
    rows: Rows, members: NDArray[np.int32], dim: int, rng: np.random.Generator, n_threads: int
) -> tuple[Rows, NDArray[np.int32], NDArray[np.int32]]:
    """Return centroids, and the nearest and the second-nearest of each member; their number stands for none."""
    many = max(_FEW_CENTROIDS, members.size // _ROWS_PER_CENTROID_OF_MANY)
    most = min(members.size // _ROWS_PER_CENTROID, many)
    sample = rng.choice(members, _SAMPLE * most, replace=False)
    mean_length = float((rows.indptr[sample + 1] - rows.indptr[sample]).mean())
    longest = min(_LONGEST_CENTROID, 8 + int(mean_length))
    leaders, heads = _choose_leaders(rows, sample, dim, most, mean_length)
    k = leaders.size
    centroids = Rows(*means(*rows, leaders, np.arange(k, dtype=np.int32), k, dim, longest))
    sample.sort()
    nearest, _ = find_nearest(rows, sample, dim, centroids, heads, n_threads)
    centroids = Rows(*means(*rows, sample, nearest, k, dim, longest))
    return centroids, *find_nearest(rows, members, dim, centroids, heads, n_threads)


def _choose_leaders(
    rows: Rows, sample: NDArray[np.int32], dim: int, most: int, mean_length: float
) -> tuple[NDArray[np.int32], Heads]:
    """Return rows of the sample that are unlike each other, ``most`` or fewer, and what heads are compared."""
    budget = _POSTINGS * mean_length
    tried = [Heads(size, 0) for size in _HEAD_SIZES]
    if mean_length >= _SHORT:  # about one key for each posting
        tried += [Heads(size, (most * most_keys(size, True)).bit_length()) for size in _PAIR_HEAD_SIZES]
    for heads in tried:
        n_postings = most * _shared_keys(heads.n_keys(dim), *keys_of(rows, sample[:_PROBED], heads))
        if n_postings <= budget:
            break
    else:
        most = max(1, int(most * budget / n_postings))
    keys = keys_of(rows, sample, heads)
    for threshold in _PAIR_THRESHOLDS if heads.bits else _THRESHOLDS:
        leaders = _find_leaders(heads.n_keys(dim), np.float32(threshold), most, *keys)
        if leaders.size > most // 2:
            break
    return sample[leaders], heads


def find_nearest(
    rows: Rows, members: NDArray[np.int32], dim: int, centroids: Rows, heads: Heads, n_threads: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the nearest and the second-nearest centroid of each member; the number of centroids stands for none."""
    each = np.arange(centroids.indptr.size - 1, dtype=np.int32)
    lists = _invert(heads.n_keys(dim), *keys_of(centroids, each, heads))
    vectors = heads_of(*centroids, each, _LONGEST_CENTROID)
    nearest, second = np.empty_like(members), np.empty_like(members)

    def assign(part: slice) -> None:
        call(_assign, *rows, members[part], dim, *heads, *lists, *vectors, nearest[part], second[part])

    bounds = [members.size * i // n_threads for i in range(n_threads + 1)]
    parts = [slice(bounds[i], bounds[i + 1]) for i in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(assign, parts))
    return nearest, second


@jit
def _shared_keys(n_keys, starts, keys, _weights):
    """Return how many keys two heads share on average."""
    counts, total = np.zeros(n_keys, np.int64), 0.0
    for key in keys:
        counts[key] += 1
    for count in counts:
        total += float(count) ** 2
    return total / (starts.size - 1) ** 2


@jit
def _list_offsets(keys, n_keys):
    """Return where the posting list of each key starts."""
    offsets = np.zeros(n_keys + 1, np.int64)
    for key in keys:
        offsets[key + 1] += 1
    for key in range(n_keys):
        offsets[key + 1] += offsets[key]
    return offsets


@jit
def _invert(n_keys, starts, keys, weights):
    """Return the posting lists of heads."""
    offsets = _list_offsets(keys, n_keys)
    ends = offsets[:-1].copy()
    ids, list_weights = np.empty(keys.size, np.int32), np.empty(keys.size, np.float32)
    for i in range(starts.size - 1):
        for p in range(starts[i], starts[i + 1]):
            place = ends[keys[p]]
            ids[place], list_weights[place] = i, weights[p]
            ends[keys[p]] += 1
    return offsets, ids, list_weights


@jit
def _find_leaders(n_keys, threshold, most, starts, keys, weights):
    """Return the heads less similar than ``threshold`` to all leaders before them, until there are ``most``."""
    offsets = _list_offsets(keys, n_keys)
    ends = offsets[:-1].copy()  # each list grows in the room for all heads
    ids, list_weights = np.empty(keys.size, np.int32), np.empty(keys.size, np.float32)
    sums, leaders, n = np.zeros(most, np.float32), np.empty(most, np.int32), 0
    for i in range(starts.size - 1):
        own = keys[starts[i] : starts[i + 1]]
        _fetch_lists(own, offsets, ids, list_weights)
        best = np.float32(0)
        for x in range(own.size):
            weight = weights[starts[i] + x]
            best = _add_list(ids, list_weights, offsets[own[x]], ends[own[x]], weight, sums, best)
        for key in own:
            for leader in ids[offsets[key] : ends[key]]:
                sums[leader] = 0
        if best < threshold and own.size > 0:
            for x in range(own.size):
                place = ends[own[x]]
                ids[place], list_weights[place] = n, weights[starts[i] + x]
                ends[own[x]] += 1
            leaders[n] = i
            n += 1
            if n == most:
                break
    return leaders[:n]


@jit
def _fetch_lists(keys, offsets, ids, weights):
    """Ask for the posting lists of some keys: most are short, and anywhere in memory."""
    for key in keys:
        prefetch(offsets, key)
    for key in keys:
        prefetch(ids, offsets[key])
        prefetch(weights, offsets[key])


@jit
def _add_list(ids, weights, start, end, weight, sums, best):
    """Add a posting list to the sums; return the largest sum, or ``best``."""
    list_ids, list_weights = ids[start:end], weights[start:end]
    for p in range(list_ids.size):
        total = sums[list_ids[p]] + weight * list_weights[p]
        sums[list_ids[p]] = total
        if total > best:  # noqa: PLR1730 (rarely so; max() would make each posting wait for the one before)
            best = total
    return best


@jit
def _take_candidates(offsets, ids, keys, bound, sums, candidates):
    """Write the ids whose sums are above the bound, as many as fit; set all sums to 0; return how many there are."""
    n = 0
    for key in keys:
        for c in ids[offsets[key] : offsets[key + 1]]:
            if sums[c] > bound and n < candidates.size:
                candidates[n] = c
                n += 1
            sums[c] = 0
    return n


@jit
def _assign(
    indptr, dims, values, members, dim, head_size, bits, offsets, ids, list_weights,
    starts, features, weights, nearest, second,
):  # fmt: skip
    """Write the nearest and the second-nearest centroid of each member."""
    none = starts.size - 1
    sums, row_weights = np.zeros(none, np.float32), np.zeros(2 * dim, np.float32)
    head, head_weights = np.empty(head_size + 1, np.int32), np.empty(head_size + 1, np.float32)
    room = most_keys(head_size, bits > 0)
    keys, key_weights = np.empty(room, np.int32), np.empty(room, np.float32)
    candidates, share = np.empty(_CANDIDATES, np.int64), _CANDIDATE_SHARE**2 if bits else _CANDIDATE_SHARE
    for i in range(members.size):
        row = slice(indptr[members[i]], indptr[members[i] + 1])
        row_dims, row_values, best, runner_up = dims[row], values[row], np.float32(0), np.float32(0)
        n = write_head(row_dims, row_values, head, head_weights)
        n = write_keys(bits, head[:n], head_weights[:n], keys, key_weights)
        _fetch_lists(keys[:n], offsets, ids, list_weights)
        for x in range(n):
            start, end = offsets[keys[x]], offsets[keys[x] + 1]
            best = _add_list(ids, list_weights, start, end, key_weights[x], sums, best)
        n = _take_candidates(offsets, ids, keys[:n], share * best, sums, candidates)
        for p in range(row_dims.size):
            row_weights[feature_of(row_dims[p], row_values[p])] = np.sqrt(abs(row_values[p]))
        nearest[i], second[i], best = none, none, np.float32(0)
        for c in candidates[:n]:
            score = np.float32(0)
            for p in range(starts[c], starts[c + 1]):
                score += row_weights[features[p]] * weights[p]
            if score > best:
                runner_up, second[i] = best, nearest[i]
                best, nearest[i] = score, c
            elif score > runner_up:
                runner_up, second[i] = score, c
        for p in range(row_dims.size):
            row_weights[feature_of(row_dims[p], row_values[p])] = 0


@jit
def means(indptr, dims, values, members, labels, k, dim, longest):
    """Return the mean of the unit vectors of each label, as CSR rows; about ``longest`` entries of each."""
    by_label, starts = counting_sort(labels, k)
    sums, touched = np.zeros(2 * dim, np.float32), np.empty(2 * dim, np.int32)
    mean_indptr = np.zeros(k + 1, np.int64)
    mean_dims, mean_values = np.empty(k * longest, np.int32), np.empty(k * longest, np.float32)
    end = 0
    for label in range(k):
        n = 0
        for i in by_label[starts[label] : starts[label + 1]]:
            row = slice(indptr[members[i]], indptr[members[i] + 1])
            total = total_of(values[row])
            for p in range(row.start, row.stop):
                if values[p] != 0:
                    feature = feature_of(dims[p], values[p])
                    if sums[feature] == 0:
                        touched[n] = feature
                        n += 1
                    sums[feature] += np.sqrt(abs(values[p]) / total)
        bound = heaviest_above(sums[touched[:n]], longest)
        first = end
        for feature in touched[:n]:
            if sums[feature] > bound and end < first + longest:
                mean_dims[end] = feature >> 1
                # A row's weights are the square roots of its values.
                mean_values[end] = -(sums[feature] ** 2) if feature & 1 else sums[feature] ** 2
                end += 1
            sums[feature] = 0
        mean_indptr[label + 1] = end
    return mean_indptr, mean_dims[:end], mean_values[:end]


@jit
def counting_sort(keys, largest):
    """Return the stable order of keys from 0 to ``largest``, and where each key starts in it."""
    starts = np.zeros(largest + 3, np.int64)
    for key in keys:
        starts[key + 2] += 1
    for key in range(largest + 1):
        starts[key + 2] += starts[key + 1]
    order = np.empty(keys.size, np.int32)
    for i in range(keys.size):
        order[starts[keys[i] + 1]] = i
        starts[keys[i] + 1] += 1
    return order, starts[:-1]
