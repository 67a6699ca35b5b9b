"""The pictures of a study: known data sets by name, or folders and zips of class folders."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from gossamer.arrays import TextArray
from gossamer.datasets.cifar import cifar100
from gossamer.datasets.idx import fashion_mnist
from gossamer.datasets.images import ImageCollection, LabeledImages
from gossamer.datasets.omniglot import Split, omniglot
from gossamer.errors import ConfigError, DataError, NotFoundError
from gossamer.study.image_config import ImageSettings
from gossamer.study.protocols.identification import check_disjoint, split_gallery, split_groups

OnProgress = Callable[[str, int, int], None]
_CIFAR_ARCHIVE = Path("cifar-100") / "cifar-100-python.tar.gz"
_GROCERY_ARCHIVE = Path("grocery-store") / "grocery_96px.zip"


@dataclass(frozen=True, kw_only=True)
class StudyImages:
    """What a study learns from, searches and asks."""

    train: LabeledImages
    search: LabeledImages
    """What is searched; in identification, where gallery and probes come from."""
    queries: LabeledImages | None
    """What is asked; None where it is among what is searched."""
    others: LabeledImages | None
    """What distractors are made of."""
    is_unseen: bool
    """Whether no class that is searched was learned from."""


def read_study_images(
    settings: ImageSettings, *, is_identification: bool, has_distractors: bool, on_progress: OnProgress
) -> StudyImages:
    """Read all pictures of a study and check their classes.

    For identification the groups of what is searched, such as alphabets, are split in half: gallery and probes are
    of one, distractors of the other. A group is the folder that holds class folders; where all lie in one, each
    class is a group.

    Raises
    ------
    NotFoundError, FormatError, DataError
        If pictures are not there or cannot be read, or classes are too few, or shared where none may be.
    ConfigError
        If the pictures have another size than the settings.
    """
    read = partial(_read, size=settings.size, channels=settings.channels, on_progress=on_progress)
    train = read(settings.train)
    if settings.unseen_classes is not None:
        train, search = _split_classes(train, settings.unseen_classes, seed=settings.split_seed)
    else:
        assert settings.search is not None
        search = read(settings.search)
    queries = None if settings.queries is None else read(settings.queries)
    if train.n_classes < 2:
        raise DataError(f"images, train: expected at least two classes to learn from; got {train.n_classes}")
    if not is_identification:
        asked = search if queries is None else queries
        least = 2 if queries is None else 1  # itself, too
        classes, counts = np.unique(search.labels, return_counts=True)
        if not np.isin(asked.labels, classes[counts >= least]).any():
            raise DataError("images: expected a query that shares its class with what is searched; there is none")
        is_unseen = np.intersect1d(train.labels, search.labels).size == 0
        return StudyImages(train=train, search=search, queries=queries, others=None, is_unseen=is_unseen)
    others = None
    if has_distractors:
        is_first, is_second = split_groups(_groups(search.labels), seed=settings.split_seed)
        search, others = search.take(is_first), search.take(is_second)
        check_disjoint(training=train.labels, gallery=search.labels, distractors=others.labels)
    check_disjoint(training=train.labels, gallery=search.labels)
    split_gallery(search.labels, seed=settings.split_seed)  # refuses a class of a single picture
    return StudyImages(train=train, search=search, queries=None, others=others, is_unseen=True)


def _read(name: str, *, size: int, channels: int, on_progress: OnProgress) -> LabeledImages:
    report = partial(on_progress, f"read {Path(name).name}")
    if name in KNOWN:
        images = KNOWN[name](size, channels, report)
    else:
        if not Path(name).exists():
            raise NotFoundError(
                f"images: expected one of {', '.join(KNOWN)}, or a folder or zip of class folders; there is no {name}"
            )
        images = ImageCollection.open(name).decode(size=size, channels=channels, on_progress=report)
    shape = images.pixels.shape[1:]
    if shape != (channels, size, size):
        raise ConfigError(
            f"images, size and channels: expected {shape[-1]} and {shape[0]}, as {name} has; got {size} and {channels}"
        )
    return images


def _split_classes(images: LabeledImages, n_unseen: int, *, seed: int) -> tuple[LabeledImages, LabeledImages]:
    """Draw the classes that are not learned from, but searched."""
    classes = np.unique(images.labels)
    if n_unseen > classes.size - 2:
        raise DataError(
            f"images, unseen_classes: expected at most {classes.size - 2} of {classes.size}, so that two are left to "
            f"learn from; got {n_unseen}"
        )
    unseen = np.random.default_rng(seed).choice(classes, n_unseen, replace=False)
    is_unseen = np.isin(images.labels, unseen)
    train, search = images.take(~is_unseen), images.take(is_unseen)
    check_disjoint(training=train.labels, searched=search.labels)
    return train, search


def _groups(labels: TextArray) -> TextArray:
    folders = np.array([posixpath.dirname(label) for label in labels])
    return folders if np.unique(folders).size > 1 else labels


def _data_folder(name: str) -> Path:
    if "GOSSAMER_DATA" not in os.environ:
        raise NotFoundError(f"{name}: expected GOSSAMER_DATA to name the folder of data sets; it is not set")
    return Path(os.environ["GOSSAMER_DATA"])


def _omniglot(split: Split, size: int, channels: int, report: Callable[[int, int], None]) -> LabeledImages:
    return ImageCollection.open(omniglot(split)).decode(size=size, channels=channels, on_progress=report)


def _fashion_mnist(split: Literal["train", "test"], *_: object) -> LabeledImages:
    return fashion_mnist(split)


def _cifar100(split: Literal["train", "test"], *_: object) -> LabeledImages:
    return cifar100(_data_folder("CIFAR-100") / _CIFAR_ARCHIVE, split)


def _grocery_store(size: int, channels: int, report: Callable[[int, int], None]) -> LabeledImages:
    lists = [f"dataset/{split}.txt" for split in ("train", "val", "test")]
    photos = ImageCollection.open(_data_folder("grocery-store") / _GROCERY_ARCHIVE, labels=lists)
    return photos.decode(size=size, channels=channels, on_progress=report)


KNOWN: Mapping[str, Callable[[int, int, Callable[[int, int], None]], LabeledImages]] = MappingProxyType(
    {
        "omniglot:background": partial(_omniglot, "background"),
        "omniglot:evaluation": partial(_omniglot, "evaluation"),
        "fashion-mnist:train": partial(_fashion_mnist, "train"),
        "fashion-mnist:test": partial(_fashion_mnist, "test"),
        "cifar-100:train": partial(_cifar100, "train"),
        "cifar-100:test": partial(_cifar100, "test"),
        "grocery-store": _grocery_store,
    }
)
"""The data sets that have a name: functions of size, channels and a report of progress.

Omniglot is downloaded if need be; the others lie in the folder that ``GOSSAMER_DATA`` names.
"""
