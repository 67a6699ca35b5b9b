"""What a search knows of each query: how far it has come, and which dimensions promise most.

``state`` has one row of float64 for each query, with the columns below, and ``entries`` two rows of float64: the
query's entries in the order in which their posting lists are added, and before each of them the norm of the entries
from it on. An entry's row in the latter is shifted by the number of its query, because the last norm, 0, counts too.
"""

import numpy as np

from gossamer.kernels import jit, jit_uncounted
from gossamer.kernels.bounds import NARROW, WIDE, steps_per_score

COUNT, THRESHOLD, STEPS, MOST, SHARED, SHARE, WORK, NORM, LOWEST = range(9)
"""Ranks found so far; what a score must exceed; steps of a bound in a score of 1, and the most of a bound; the most
dimensions that a unit shares with the query; of the threshold, how much the dimensions left out may promise; postings
in an average window; the query's norm, and its lowest value."""
N_COLUMNS = 9


@jit
def prepare(queries, list_dims, lengths, shape, n_windows, share, is_narrow, min_score, state, entries):
    """Fill ``state`` and ``entries``; ``lengths`` are the postings of each dimension, int64."""
    indptr, values, query_lists = queries
    _, _, longest, capacity, _, lowest_of_rows = shape
    for q in range(state.shape[0]):
        first, last = indptr[q], indptr[q + 1]
        squares, work, lowest = 0.0, 0.0, np.inf
        for entry in range(first, last):
            squares += np.float64(values[entry]) * values[entry]
            lowest = min(lowest, np.float64(values[entry]))
            work += lengths[list_dims[query_lists[entry]]]
        n_shared = min(last - first, longest)
        # Narrow sums have no number for documents that share nothing, of which a negative threshold wants to know.
        can_be_narrow = is_narrow and lowest >= 0 and lowest_of_rows >= 0 and min_score >= 0
        steps, most = choose_steps(np.sqrt(squares), capacity, n_shared, can_be_narrow)
        state[q, COUNT] = 0
        state[q, THRESHOLD] = min_score
        state[q, STEPS] = steps
        state[q, MOST] = most
        state[q, SHARED] = n_shared
        state[q, SHARE] = share if steps > 0 else 0
        state[q, WORK] = work / n_windows
        state[q, NORM] = np.sqrt(squares)
        state[q, LOWEST] = lowest
        entries[1, last + q] = 0
        if share > 0:
            sort_entries(first, last, q, values, query_lists, list_dims, lengths, entries)
        else:
            for entry in range(first, last):
                entries[0, entry] = entry


@jit
def choose_steps(norm, capacity, n_shared, can_be_narrow):
    """Return the steps in a score of 1, as `steps_per_score` does, and the most of a bound."""
    steps = steps_per_score(norm, capacity, n_shared, NARROW) if can_be_narrow else 0.0
    if steps > 0:
        return steps, NARROW
    return steps_per_score(norm, capacity, n_shared, WIDE), WIDE


@jit
def sort_entries(first, last, q, values, query_lists, list_dims, lengths, entries):
    """Put the entries with the largest square per posting first."""
    promise = np.empty(last - first, np.float64)
    for i in range(promise.size):
        value = np.float64(values[first + i])
        promise[i] = -value * value / (1 + lengths[list_dims[query_lists[first + i]]])
    order = np.argsort(promise)
    squares = 0.0
    for place in range(promise.size - 1, -1, -1):
        entry = first + order[place]
        entries[0, first + place] = entry
        squares += np.float64(values[entry]) * values[entry]
        entries[1, first + place + q] = np.sqrt(squares)


@jit_uncounted
def n_entries_to_add(state, rests, expected, threshold, min_score, radius):
    """Return how many entries of a query to add up: all, but for those that a split leaves out.

    Until documents have set a threshold, one is expected: ``expected`` of the largest possible score.
    """
    if state[SHARE] <= 0:
        return rests.size - 1
    goal = np.float64(threshold)
    if threshold <= min_score:
        goal = max(goal, expected * state[NORM] * radius)
    return n_entries_for(rests, state[SHARE] * goal / radius)


@jit_uncounted
def n_entries_for(rests, most):
    """Return how many entries to add so that the norm of the rest is at most ``most``."""
    low, high = 0, rests.size - 1
    while low < high:
        middle = (low + high) >> 1
        if rests[middle] <= most:
            high = middle
        else:
            low = middle + 1
    return low
