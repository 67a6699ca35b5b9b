"""Posting lists restricted to some documents, the members: each member gets a slot, its place among them."""

import numpy as np

from gossamer.kernels import jit
from gossamer.kernels.prefetch import fetch_postings, prefetch

_AHEAD = 1024  # postings of the next list that are fetched
# What finding one member by halving costs, in postings that are looked through one by one.
_POSTINGS_PER_SEARCH = 48
_NEAR = 48  # postings between a member and where it is looked for first


@jit
def first_not_below(ascending, start, end, bound):
    """Return the first place from ``start`` on whose entry is at least ``bound``, or ``end``."""
    while start < end:
        middle = (start + end) >> 1
        if ascending[middle] < bound:
            start = middle + 1
        else:
            end = middle
    return start


@jit
def restrict_lists(ids, values, starts, ends, members, first, size, marks, slots):
    """Return the slots and the values of the members' postings, and make ``starts`` and ``ends`` point to them.

    ``members`` are documents of the window, ascending, but not all; the window has ``size``, from ``first`` on.
    ``marks`` (uint8, zeros, and so they are left) and ``slots`` (uint16) have a place for each document of a window.
    """
    capacity, longest = 0, 0
    for i in range(starts.size):
        capacity += min(ends[i] - starts[i], members.size)
        longest = max(longest, ends[i] - starts[i])
    kept_ids, kept_values = np.empty(capacity, np.uint16), np.empty(capacity, np.float32)
    places = np.empty(longest + 1, np.int64)
    for slot in range(members.size):
        marks[members[slot] - first] = 1
        slots[members[slot] - first] = slot
    n = 0
    for i in range(starts.size):
        start, end = starts[i], ends[i]
        if members.size * _POSTINGS_PER_SEARCH < end - start:
            if i + 1 < starts.size:
                _fetch_likely_places(ids, starts[i + 1], ends[i + 1], members, first, size)
            n_places = _search_members(ids, start, end, members, first, size, places)
        else:
            if i + 1 < starts.size:
                fetch_postings(ids, values, starts[i + 1], min(_AHEAD, ends[i + 1] - starts[i + 1]))
            n_places = _look_through(ids[start:end], marks, places)
        starts[i] = n
        # No more fit only if a damaged file has a document twice in a list.
        for place in places[: min(n_places, capacity - n)]:
            kept_ids[n] = slots[ids[start + place]]
            kept_values[n] = values[start + place]
            n += 1
        ends[i] = n
    for member in members:
        marks[member - first] = 0
    return kept_ids, kept_values


@jit
def _look_through(list_ids, marks, places):
    """Write the places in a list at which there are members, and return how many there are."""
    n = np.uint64(0)  # unsigned: no check for negative indices
    for p in range(list_ids.size):
        places[n] = p  # stays if n is increased: no branch, hence none predicted wrongly
        n += np.uint64(marks[list_ids[p]])
    return np.int64(n)


@jit
def _search_members(ids, start, end, members, first, size, places):
    """Do the same by looking for each member where it is likely to be."""
    n, list_start = 0, start
    postings_per_document = (end - start) / size
    for member in members:
        bound = member - first
        place = list_start + np.int64(bound * postings_per_document)
        low, high, stop = place - _NEAR, place + _NEAR, end
        if start < low < end and ids[low] < bound:
            start = low
        if start < high < end and ids[high] >= bound:
            stop = high
        start = first_not_below(ids, start, stop, bound)
        if start == end:
            break
        if ids[start] == bound:
            places[n] = start - list_start
            n += 1
    return n


@jit
def _fetch_likely_places(ids, start, end, members, first, size):
    """Ask the cache for where the members are if the ids of a list are spread evenly over the window."""
    postings_per_document = (end - start) / size
    for member in members:
        place = start + np.int64((member - first) * postings_per_document)
        prefetch(ids, place - _NEAR)
        prefetch(ids, place)
        prefetch(ids, place + _NEAR)
