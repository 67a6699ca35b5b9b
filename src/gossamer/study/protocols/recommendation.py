"""Recommendation: find the items that a user took to, among those not known to be so.

Item recall@20 and nDCG@20 on held-out interactions, as in Liang et al., "Variational Autoencoders for
Collaborative Filtering", WWW 2018, arXiv:1802.05814; but users are not held out whole: of every user some
interactions are learned from and the others asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gossamer.arrays import AnyArray, IntArray, OffsetArray
from gossamer.errors import ArgumentError, ConfigError, DataError
from gossamer.metrics import item_recall_at_k, ndcg_at_k
from gossamer.results import NO_DOCUMENT, SearchResult, check_k

K = 20


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """How well held-out items are found."""

    item_recall: float
    ndcg: float
    k: int
    n_users: int
    """Users with held-out items; the others are not counted."""


class Interactions(NamedTuple):
    """Which user took to which item: a row each."""

    users: OffsetArray
    """Shape (n,), int64, from 0."""
    items: OffsetArray
    """Shape (n,), int64, from 0."""


def recommendation(
    found: SearchResult, held_out: Sequence[AnyArray], *, seen: Sequence[AnyArray], n_items: int, k: int = K
) -> Recommendation:
    """Compute item recall@k and nDCG@k after leaving out what each user is known to have.

    Parameters
    ----------
    found : SearchResult, shape (n_users, n)
        The very lists that were timed; doc_ids are items. Ask for k more than any user has seen.
    held_out, seen : sequences of n_users arrays of integers
        The items to find for each user, and those learned from, which are no results.
    n_items : int
        How many items there are.
    k : int
        At how many results.

    Raises
    ------
    ArgumentError
        If a list may lack items because it is too short: fewer than k are left of a full one.
    DataError
        If no user has held-out items, or an item of a user is both.
    ShapeError
        If there are not as many held-out arrays as lists.
    """
    lists = _without_seen(found.doc_ids, seen, n_items=n_items, k=check_k(k))
    for user, (wanted, known) in enumerate(zip(held_out, seen, strict=False)):
        both = np.intersect1d(wanted, known)
        if both.size:
            raise DataError(f"held_out: expected items not seen before; user {user} has seen item {both[0]}")
    n_users = sum(np.size(items) > 0 for items in held_out)
    if n_users == 0:
        raise DataError("held_out: expected items of at least one user; there are none")
    return Recommendation(
        item_recall=item_recall_at_k(lists, held_out, k), ndcg=ndcg_at_k(lists, held_out, k), k=k, n_users=n_users
    )


def _without_seen(doc_ids: IntArray, seen: Sequence[AnyArray], *, n_items: int, k: int) -> IntArray:
    """Return the first k results of each user that the user has not seen."""
    if len(seen) != len(doc_ids):
        raise ArgumentError(f"seen: expected one array for each of {len(doc_ids)} users; got {len(seen)}")
    lists = np.full((len(doc_ids), k), NO_DOCUMENT, np.int32)
    for user, (row, known) in enumerate(zip(doc_ids, seen, strict=True)):
        listed = row[row != NO_DOCUMENT]
        new = listed[~np.isin(listed, known)][:k]
        if new.size < k and listed.size == row.size < n_items:
            raise ArgumentError(
                f"found: expected lists from which {k} items are left; of {row.size}, user {user} has seen all but "
                f"{new.size}. Search for more results"
            )
        lists[user, : new.size] = new
    return lists


def split_interactions(
    interactions: Interactions, *, held_out_share: float = 0.2, min_items: int = 5, seed: int
) -> tuple[Interactions, Interactions]:
    """Split interactions at random, user by user: to learn from, and to ask for.

    Of a user with n items, ⌊share · n⌋ are held out, at least one; of users with fewer than ``min_items``
    none are.

    Parameters
    ----------
    interactions : Interactions
        Each pair of user and item once.
    held_out_share : float
        Above 0 and below 1.
    min_items : int
        At least 2, so that something is left to learn from.
    seed : int
        Of the draw.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DataError
        If a pair occurs twice.
    """
    if not 0 < held_out_share < 1 or min_items < 2:
        raise ConfigError(
            "split: expected a share above 0 and below 1 and min_items of at least 2; "
            f"got {held_out_share} and {min_items}"
        )
    pairs = np.stack([interactions.users, interactions.items], axis=1)
    if len(np.unique(pairs, axis=0)) < len(pairs):
        raise DataError("interactions: expected each pair of user and item once; one occurs more often")
    order = np.random.default_rng(seed).permutation(len(pairs))
    order = order[np.argsort(interactions.users[order], kind="stable")]
    _, starts, counts = np.unique(interactions.users[order], return_index=True, return_counts=True)
    n_held_out = np.maximum(1, (counts * held_out_share).astype(np.int64))
    n_held_out[counts < min_items] = 0
    place = np.arange(len(pairs)) - np.repeat(starts, counts)  # within the user's own, at random
    is_held_out = np.zeros(len(pairs), bool)
    is_held_out[order] = place < np.repeat(n_held_out, counts)
    kept, held_out = (Interactions(*(column[mask] for column in interactions)) for mask in (~is_held_out, is_held_out))
    return kept, held_out


def items_of_users(interactions: Interactions, n_users: int) -> list[OffsetArray]:
    """Return the items of each user from 0 to n_users − 1, ascending."""
    order = np.lexsort((interactions.items, interactions.users))
    bounds = np.searchsorted(interactions.users[order], np.arange(1, n_users))
    return np.split(interactions.items[order], bounds)
