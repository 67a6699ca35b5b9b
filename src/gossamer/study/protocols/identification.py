"""Identification with distractors: find a probe's class among a gallery and very many others.

Kemelmacher-Shlizerman, Seitz, Miller and Brossard, "The MegaFace Benchmark: 1 Million Faces for Recognition
at Scale", CVPR 2016; in Paria et al. (arXiv:2004.05665, section 5.1) the measure of the paper's main figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gossamer.arrays import AnyArray, OffsetArray, TextArray
from gossamer.errors import DataError, ShapeError
from gossamer.metrics import hit_rate_at_k
from gossamer.results import SearchResult

KS = (1, 10, 50, 100)


@dataclass(frozen=True, kw_only=True)
class Identification:
    """How often a probe's class was found."""

    hit_rate: dict[int, float]
    """By k: the share of probes with a gallery picture of their class among the first k results."""
    n_probes: int
    n_gallery: int
    n_distractors: int


class GallerySplit(NamedTuple):
    """Which pictures are asked with, and which are searched."""

    gallery: OffsetArray
    """One row of each class, ascending."""
    probes: OffsetArray
    """All other rows, ascending."""


def identification(
    found: SearchResult,
    probe_labels: TextArray,
    gallery_labels: TextArray,
    *,
    n_distractors: int,
    ks: Sequence[int] = KS,
) -> Identification:
    """Compute the hit rate@k of probes in a gallery with distractors.

    What was searched are the gallery, as documents 0 to ``len(gallery_labels)`` − 1, and after it the
    distractors. A probe hits if one of its first k results is a gallery picture of its class; a distractor is
    never right, whatever it shows.

    Parameters
    ----------
    found : SearchResult, shape (n_probes, at least max(ks))
        The very lists that were timed.
    probe_labels, gallery_labels : arrays of str
        The classes of the probes and of the gallery.
    n_distractors : int
        How many documents follow the gallery.
    ks : sequence of int
        At which numbers of results.

    Raises
    ------
    DataError
        If a probe's class is not in the gallery: it could never hit.
    ShapeError
        If the lists are too short, name a document that is not there, or are not one for each probe.
    """
    probe_labels, gallery_labels = np.asarray(probe_labels), np.asarray(gallery_labels)
    check_in_gallery(probe_labels, gallery_labels)
    n_docs = len(gallery_labels) + n_distractors
    if found.doc_ids.size and found.doc_ids.max() >= n_docs:
        raise ShapeError(f"found: expected doc_ids below {n_docs}, gallery and distractors; got {found.doc_ids.max()}")
    classes = np.unique(gallery_labels)
    no_class = np.full(n_distractors, -1, np.int64)
    document_classes = np.concatenate([np.searchsorted(classes, gallery_labels), no_class])
    probe_classes = np.searchsorted(classes, probe_labels)
    return Identification(
        hit_rate={k: hit_rate_at_k(found.doc_ids, probe_classes, document_classes, k) for k in ks},
        n_probes=len(probe_labels),
        n_gallery=len(gallery_labels),
        n_distractors=n_distractors,
    )


def check_in_gallery(probe_labels: TextArray, gallery_labels: TextArray) -> None:
    """Refuse probes that could never hit.

    Raises
    ------
    DataError
        If a probe's class is not in the gallery.
    """
    strangers = np.setdiff1d(probe_labels, gallery_labels)
    if strangers.size:
        raise DataError(f"probes: expected classes of the gallery; {str(strangers[0])!r} is not in it")


def split_gallery(labels: TextArray, *, seed: int) -> GallerySplit:
    """Draw one picture of each class for the gallery; the others ask.

    Raises
    ------
    DataError
        If a class has a single picture: nothing would ask for it.
    """
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if (counts < 2).any():
        lonely = str(classes[np.argmin(counts)])
        raise DataError(f"labels: expected at least two pictures of each class; {lonely!r} has one")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(labels[shuffled], return_index=True)
    is_gallery = np.zeros(len(labels), bool)
    is_gallery[shuffled[first]] = True
    return GallerySplit(np.flatnonzero(is_gallery), np.flatnonzero(~is_gallery))


def split_groups(groups: TextArray, *, seed: int) -> tuple[AnyArray, AnyArray]:
    """Split rows in two halves by group, such as alphabet: for probes and gallery, and for distractors.

    Parameters
    ----------
    groups : array of str, shape (n,)
        The group of each row, at least two different ones; of an odd number, the first half gets one more.
    seed : int
        Of the draw.

    Returns
    -------
    two arrays, shape (n,), bool
        Which rows are of the first half, and which of the second.

    Raises
    ------
    DataError
        If there is one group alone.
    """
    names = np.unique(groups)
    if names.size < 2:
        raise DataError(f"groups: expected at least two, to split in half; got {names.size}")
    drawn = np.random.default_rng(seed).permutation(names)[: -(-names.size // 2)]
    is_first: AnyArray = np.isin(groups, drawn)
    return is_first, ~is_first


def check_disjoint(**classes: TextArray) -> None:
    """Refuse sets of classes of which two share one: of training, probes, distractors.

    >>> check_disjoint(training=np.array(["a"]), probes=np.array(["b", "a"]))
    Traceback (most recent call last):
        ...
    gossamer.errors.DataError: probes: expected no class of training; both have 'a'

    Raises
    ------
    DataError
        If two share a class; the message names the sets and the class.
    """
    names = list(classes)
    for later, name in enumerate(names):
        for other in names[:later]:
            shared = np.intersect1d(classes[other], classes[name])
            if shared.size:
                raise DataError(f"{name}: expected no class of {other}; both have {str(shared[0])!r}")
