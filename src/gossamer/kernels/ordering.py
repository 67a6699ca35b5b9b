"""An order of the rows of a sparse matrix in which similar rows are neighbours, found without labels.

Rows are grouped around centroids, the centroids are ordered by the same method until few are left, which are
chained by similarity, and the rows of a group are ordered by their second-nearest centroid. There are only so many
centroids at a time: of very many rows, those that are close to none wait for another round, with centroids of theirs.

- An entry counts with the square root of its absolute value, in rows and centroids scaled to unit length (the
  Bhattacharyya coefficient, 1943): blocks of rows cost what they have in distinct dimensions, so that sharing an
  entry counts for more than its size. A dimension's positive and negative entries are two features of a row,
  2 · dimension + sign.
- The first centroids are leaders (Hartigan, "Clustering algorithms", 1975, chapter 3): sampled rows less similar
  than a threshold to all leaders before them; random rows would find some classes twice and others never.
  One iteration of k-means on the sample improves them (Sculley, "Web-scale k-means clustering", WWW 2010).
- A row's nearest centroid is found through posting lists of the centroids' heads, their heaviest entries, asked
  with the row's head, and among those candidates by all entries.

benchmarks/row_order.py compares the orders that were tried.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gossamer.kernels import call, jit

_ROWS_PER_CENTROID = 16
_MOST_CENTROIDS = 3 << 13  # their ids are uint16
_MOST_ROWS = 1 << 21  # more rows take several rounds, of other centroids, for what is close to none of those before
_CLOSE = np.float32(0.6)  # similarity to a centroid
_FEW_FAR, _MOST_FAR = 1 / 16, 0.9  # of all rows, and of those of a round: no other round if fewer, or more, are far
_PROBED = 8192  # sampled rows whose heads are tried
_SAMPLE = 6  # sampled rows per centroid
_CHAINED = 256  # so few rows are compared each with each
_THRESHOLDS = (0.45, 0.6, 0.75, 0.9)  # for leaders: the first that gives enough of them
_HEAD_SIZES = (32, 24, 16, 12, 8, 6, 5, 4)  # the first whose lists have, for a row,
_POSTINGS = 48  # at most so many postings for each of its entries
_LONGEST_CENTROID = 128
_CANDIDATES = 32
_CANDIDATE_SHARE = np.float32(0.7)  # of the best similarity of heads


class _Rows(NamedTuple):
    """CSR rows; a row may have a dimension twice, once with either sign, and its dimensions in any order."""

    indptr: NDArray[np.int64]
    dims: NDArray[np.int32]
    values: NDArray[np.float32]


def order_rows(
    indptr: NDArray[np.int64],
    dims: NDArray[np.int32],
    values: NDArray[np.float32],
    dim: int,
    *,
    seed: int = 0,
    n_threads: int = 1,
) -> NDArray[np.int32]:
    """Return the rows, int32, in an order in which similar ones are neighbours; empty rows come last.

    The order does not depend on ``n_threads``. It takes O(nnz): how many postings and candidates are read for a
    row is bounded, whatever the data.
    """
    rows, rng = _Rows(indptr, dims, values), np.random.default_rng(seed)
    is_empty = np.diff(indptr) == 0
    order = _order(rows, np.flatnonzero(~is_empty).astype(np.int32), dim, rng, n_threads)
    return np.concatenate([order, np.flatnonzero(is_empty).astype(np.int32)])


def _order(
    rows: _Rows, members: NDArray[np.int32], dim: int, rng: np.random.Generator, n_threads: int
) -> NDArray[np.int32]:
    """Return some of the rows, ``members``, in order."""
    ordered = np.empty_like(members)
    if members.size <= _CHAINED:
        call(_chain, *rows, members, dim, ordered)
        return ordered
    centroids, nearest, second = _group(rows, members, dim, rng, n_threads)
    k = centroids.indptr.size - 1
    places = np.full(k + 1, k, np.int32)
    places[_order(centroids, np.arange(k, dtype=np.int32), dim, rng, n_threads)] = np.arange(k)
    call(_sort, members, places[nearest], places[second], k, ordered)
    return ordered


def _group(
    rows: _Rows, members: NDArray[np.int32], dim: int, rng: np.random.Generator, n_threads: int
) -> tuple[_Rows, NDArray[np.int32], NDArray[np.int32]]:
    """Return centroids, and the nearest and the second-nearest of each member; their number stands for none."""
    nearest, second = np.empty_like(members), np.empty_like(members)
    rounds, n_before, waiting = [], 0, np.arange(members.size)
    while True:
        left = members[waiting]
        centroids, head_size = _find_centroids(rows, left, dim, rng, n_threads)
        found, runner_up, similarity = _find_nearest(rows, left, dim, centroids, head_size, n_threads)
        k = centroids.indptr.size - 1
        is_none = found == k, runner_up == k
        found, runner_up = found + np.int32(n_before), runner_up + np.int32(n_before)
        found[is_none[0]], runner_up[is_none[1]] = -1, -1
        nearest[waiting], second[waiting] = found, runner_up
        rounds.append(centroids)
        n_before += k
        waiting = waiting[similarity < _CLOSE]
        if members.size <= _MOST_ROWS or waiting.size < members.size * _FEW_FAR or waiting.size > left.size * _MOST_FAR:
            break
    nearest[nearest < 0] = second[second < 0] = n_before
    return _joined(rounds), nearest, second


def _find_centroids(
    rows: _Rows, members: NDArray[np.int32], dim: int, rng: np.random.Generator, n_threads: int
) -> tuple[_Rows, int]:
    """Return centroids of some rows, and how large heads may be."""
    most = min(members.size // _ROWS_PER_CENTROID, _MOST_CENTROIDS)
    sample = rng.choice(members, _SAMPLE * most, replace=False)
    mean_length = float((rows.indptr[sample + 1] - rows.indptr[sample]).mean())
    longest = min(_LONGEST_CENTROID, 8 + int(mean_length))
    leaders, head_size = _choose_leaders(rows, sample, dim, most, _POSTINGS * mean_length)
    k = leaders.size
    centroids = _Rows(*_means(*rows, leaders, np.arange(k, dtype=np.int32), k, dim, longest))
    sample.sort()
    nearest, _, _ = _find_nearest(rows, sample, dim, centroids, head_size, n_threads)
    return _Rows(*_means(*rows, sample, nearest, k, dim, longest)), head_size


def _joined(rounds: list[_Rows]) -> _Rows:
    """Return the rows of all rounds, one after the other."""
    lengths = np.concatenate([np.diff(each.indptr) for each in rounds])
    dims, values = (np.concatenate(arrays) for arrays in zip(*(each[1:] for each in rounds), strict=True))
    return _Rows(np.append(0, np.cumsum(lengths)), dims, values)


def _choose_leaders(
    rows: _Rows, sample: NDArray[np.int32], dim: int, most: int, budget: float
) -> tuple[NDArray[np.int32], int]:
    """Return rows of the sample that are unlike each other, ``most`` or fewer, and how large heads may be.

    A head shall have no more than ``budget`` postings on average.
    """
    for head_size in _HEAD_SIZES:
        n_postings = most * _shared_features(dim, *_heads(*rows, sample[:_PROBED], head_size))
        if n_postings <= budget:
            break
    else:
        most = max(1, int(most * budget / n_postings))
    heads = _heads(*rows, sample, head_size)
    for threshold in _THRESHOLDS:
        leaders = _find_leaders(dim, np.float32(threshold), most, *heads)
        if leaders.size > most // 2:
            break
    return sample[leaders], head_size


def _find_nearest(
    rows: _Rows, members: NDArray[np.int32], dim: int, centroids: _Rows, head_size: int, n_threads: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return the nearest and the second-nearest centroid of each member, and its similarity to the nearest.

    The number of centroids stands for none.
    """
    each = np.arange(centroids.indptr.size - 1, dtype=np.int32)
    lists = _invert(dim, *_heads(*centroids, each, head_size))
    vectors = _heads(*centroids, each, _LONGEST_CENTROID)
    nearest, second = np.empty_like(members), np.empty_like(members)
    similarity = np.empty(members.size, np.float32)

    def assign(part: slice) -> None:
        results = nearest[part], second[part], similarity[part]
        call(_assign, *rows, members[part], dim, head_size, *lists, *vectors, *results)

    bounds = [members.size * i // n_threads for i in range(n_threads + 1)]
    parts = [slice(bounds[i], bounds[i + 1]) for i in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(assign, parts))
    return nearest, second, similarity


@jit
def _feature(dim, value):
    return 2 * dim + np.int32(value < 0)


@jit
def _total(values):
    """Return the sum of absolute values, in float64, which holds it."""
    total = 0.0
    for value in values:
        total += abs(value)
    return total


@jit
def _heaviest_above(weights, size):
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
def _head(dims, values, features, weights):
    """Write a row's heaviest entries, as a unit vector, and return how many: at most one less than there is room."""
    bound, n = _heaviest_above(values, features.size - 1), 0
    for p in range(dims.size):
        features[n] = _feature(dims[p], values[p])
        weights[n] = abs(values[p])
        n = min(n + np.int64(weights[n] > bound), features.size - 1)
    total = _total(weights[:n])
    for i in range(n):
        weights[i] = np.sqrt(weights[i] / total)
    return n


@jit
def _heads(indptr, dims, values, members, size):
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
        end += _head(dims[row], values[row], features[room], weights[room])
    starts[-1] = end
    return starts, features[:end], weights[:end]


@jit
def _shared_features(dim, starts, features, _weights):
    """Return how many features two heads share on average."""
    counts, total = np.zeros(2 * dim, np.int64), 0.0
    for feature in features:
        counts[feature] += 1
    for count in counts:
        total += float(count) ** 2
    return total / (starts.size - 1) ** 2


@jit
def _list_offsets(features, dim):
    """Return where the posting list of each feature starts."""
    offsets = np.zeros(2 * dim + 1, np.int64)
    for feature in features:
        offsets[feature + 1] += 1
    for feature in range(2 * dim):
        offsets[feature + 1] += offsets[feature]
    return offsets


@jit
def _invert(dim, starts, features, weights):
    """Return the posting lists of heads."""
    offsets = _list_offsets(features, dim)
    ends = offsets[:-1].copy()
    ids, list_weights = np.empty(features.size, np.uint16), np.empty(features.size, np.float32)
    for i in range(starts.size - 1):
        for p in range(starts[i], starts[i + 1]):
            place = ends[features[p]]
            ids[place], list_weights[place] = i, weights[p]
            ends[features[p]] += 1
    return offsets, ids, list_weights


@jit
def _find_leaders(dim, threshold, most, starts, features, weights):
    """Return the heads less similar than ``threshold`` to all leaders before them, until there are ``most``."""
    offsets = _list_offsets(features, dim)
    ends = offsets[:-1].copy()  # each list grows in the room for all heads
    ids, list_weights = np.empty(features.size, np.uint16), np.empty(features.size, np.float32)
    sums, leaders, n = np.zeros(most, np.float32), np.empty(most, np.int32), 0
    for i in range(starts.size - 1):
        best = np.float32(0)
        for p in range(starts[i], starts[i + 1]):
            best = _add_list(ids, list_weights, offsets[features[p]], ends[features[p]], weights[p], sums, best)
        for p in range(starts[i], starts[i + 1]):
            for leader in ids[offsets[features[p]] : ends[features[p]]]:
                sums[leader] = 0
        if best < threshold and starts[i] < starts[i + 1] and n < most:
            for p in range(starts[i], starts[i + 1]):
                place = ends[features[p]]
                ids[place], list_weights[place] = n, weights[p]
                ends[features[p]] += 1
            leaders[n] = i
            n += 1
    return leaders[:n]


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
def _take_candidates(offsets, ids, head, bound, sums, candidates):
    """Write the ids whose sums are above the bound, as many as fit; set all sums to 0; return how many there are."""
    n = 0
    for feature in head:
        for c in ids[offsets[feature] : offsets[feature + 1]]:
            if sums[c] > bound and n < candidates.size:
                candidates[n] = c
                n += 1
            sums[c] = 0
    return n


@jit
def _assign(
    indptr, dims, values, members, dim, head_size, offsets, ids, list_weights,
    starts, features, weights, nearest, second, similarity,
):  # fmt: skip
    """Write the nearest and the second-nearest centroid of each member, and its similarity to the nearest."""
    none = starts.size - 1
    sums, row_weights = np.zeros(none, np.float32), np.zeros(2 * dim, np.float32)
    head, head_weights = np.empty(head_size + 1, np.int32), np.empty(head_size + 1, np.float32)
    candidates = np.empty(_CANDIDATES, np.int64)
    for i in range(members.size):
        row = slice(indptr[members[i]], indptr[members[i] + 1])
        row_dims, row_values, best, runner_up = dims[row], values[row], np.float32(0), np.float32(0)
        n = _head(row_dims, row_values, head, head_weights)
        for x in range(n):
            start, end = offsets[head[x]], offsets[head[x] + 1]
            best = _add_list(ids, list_weights, start, end, head_weights[x], sums, best)
        n = _take_candidates(offsets, ids, head[:n], _CANDIDATE_SHARE * best, sums, candidates)
        for p in range(row_dims.size):
            row_weights[_feature(row_dims[p], row_values[p])] = np.sqrt(abs(row_values[p]))
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
        similarity[i] = best / np.sqrt(_total(row_values))
        for p in range(row_dims.size):
            row_weights[_feature(row_dims[p], row_values[p])] = 0


@jit
def _means(indptr, dims, values, members, labels, k, dim, longest):
    """Return the mean of the unit vectors of each label, as CSR rows; about ``longest`` entries of each."""
    by_label, starts = _counting_sort(labels, k)
    sums, touched = np.zeros(2 * dim, np.float32), np.empty(2 * dim, np.int32)
    mean_indptr = np.zeros(k + 1, np.int64)
    mean_dims, mean_values = np.empty(k * longest, np.int32), np.empty(k * longest, np.float32)
    end = 0
    for label in range(k):
        n = 0
        for i in by_label[starts[label] : starts[label + 1]]:
            row = slice(indptr[members[i]], indptr[members[i] + 1])
            total = _total(values[row])
            for p in range(row.start, row.stop):
                if values[p] != 0:
                    feature = _feature(dims[p], values[p])
                    if sums[feature] == 0:
                        touched[n] = feature
                        n += 1
                    sums[feature] += np.sqrt(abs(values[p]) / total)
        bound = _heaviest_above(sums[touched[:n]], longest)
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
def _counting_sort(keys, largest):
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


@jit
def _sort(members, keys, second_keys, largest, ordered):
    """Write the members in the order of keys, and where those are equal, of second keys."""
    by_second, _ = _counting_sort(second_keys, largest)
    by_key, _ = _counting_sort(keys[by_second], largest)
    for i in range(members.size):
        ordered[i] = members[by_second[by_key[i]]]


@jit
def _chain(indptr, dims, values, members, dim, ordered):
    """Write the members so that each is followed by the most similar one of those that are left."""
    weights, ordered[:] = np.zeros(2 * dim, np.float32), members
    for i in range(1, members.size):
        last = slice(indptr[ordered[i - 1]], indptr[ordered[i - 1] + 1])
        for p in range(last.start, last.stop):
            weights[_feature(dims[p], values[p])] = np.sqrt(abs(values[p]))
        best, place = np.float32(-1), i
        for j in range(i, members.size):
            row = slice(indptr[ordered[j]], indptr[ordered[j] + 1])
            similarity = np.float32(0)
            for p in range(row.start, row.stop):
                similarity += weights[_feature(dims[p], values[p])] * np.sqrt(abs(values[p]))
            similarity /= np.sqrt(_total(values[row]))
            if similarity > best:
                best, place = similarity, j
        ordered[i], ordered[place] = ordered[place], ordered[i]
        for p in range(last.start, last.stop):
            weights[_feature(dims[p], values[p])] = 0
