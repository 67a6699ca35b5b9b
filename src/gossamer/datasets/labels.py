"""Lists that say which images to take: CSV files of path and label, and text files of classes."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gossamer.arrays import TextArray
from gossamer.datasets.file_trees import FileTree
from gossamer.errors import ConfigError, DataError, FormatError, NotFoundError


class ListFile(NamedTuple):
    """A list that says which images to take."""

    file: str | Path
    """What the caller named it."""
    text: str
    inside: str | None
    """Its name inside the tree of images, if it lies there."""


def open_list(tree: FileTree, file: str | Path) -> ListFile:
    """Read a list that is a file on disk, or else a file of the tree.

    Raises
    ------
    NotFoundError
        If it is neither.
    FormatError
        If it is not UTF-8 text.
    """
    path = Path(file)
    inside: str | None = None
    if path.is_file():
        data = path.read_bytes()
        if path.resolve().is_relative_to(tree.root.resolve()):
            inside = path.resolve().relative_to(tree.root.resolve()).as_posix()
    elif (inside := posixpath.normpath(path.as_posix())) in tree.names:
        with tree.open(inside) as opened:
            data = opened.read()
    else:
        raise NotFoundError(f"list: expected a file on disk or in {tree.root}; there is no {file}")
    try:
        return ListFile(file, data.decode("utf-8-sig"), inside)
    except UnicodeDecodeError as error:
        raise FormatError(f"list: expected UTF-8 text; {file} is not ({error.reason}, byte {error.start})") from error


def read_labels(tree: FileTree, files: Sequence[str | Path], *, label_column: str) -> dict[str, str]:
    """Read CSV lists of path and label; return the label of each listed file of the tree.

    Rules as in `gossamer.datasets.images.ImageCollection.open`.
    """
    known = set(tree.names)
    labels: dict[str, str] = {}
    for file in files:
        listed = open_list(tree, file)
        folder = posixpath.dirname(listed.inside or "")
        for line, path, label in _rows(listed, label_column=label_column):
            name = posixpath.normpath(posixpath.join(folder, path))
            if name not in known:
                raise NotFoundError(f"labels: expected images of {tree.root}; {file}, line {line}, names {name}")
            if labels.setdefault(name, label) != label:
                raise DataError(
                    f"labels: expected one label for each image; {name} is {labels[name]!r} and, in {file}, "
                    f"line {line}, {label!r}"
                )
    return labels


def read_classes(listed: ListFile) -> list[str]:
    """Read a list of classes, one on each line; blank lines are passed over."""
    classes = [line.strip() for line in listed.text.splitlines() if line.strip()]
    if not classes:
        raise DataError(f"classes: expected one class on each line; {listed.file} is empty")
    return classes


def _rows(listed: ListFile, *, label_column: str) -> list[tuple[int, str, str]]:
    """Return line number, path and label of each row."""
    file = listed.file
    reader = csv.reader(io.StringIO(listed.text, newline=""), skipinitialspace=True, strict=True)
    try:
        numbered = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise FormatError(f"labels: expected CSV; {file}, line {reader.line_num}: {error}") from error
    header = numbered.pop(0)[1] if numbered and numbered[0][1][0].strip().lower() == "path" else None
    if not numbered:
        raise DataError(f"labels: expected rows of path and label; {file} has none")
    column = _column(label_column, header, file=file)
    for line, row in numbered:
        if len(row) <= column or not row[column].strip():
            raise FormatError(f"labels: expected a label in column {column}; {file}, line {line}, has none")
    return [(line, row[0], row[column].strip()) for line, row in numbered]


def _column(label_column: str, header: Sequence[str] | None, *, file: str | Path) -> int:
    if label_column.isdecimal() and int(label_column) > 0:
        return int(label_column)
    names = [] if header is None else [name.strip() for name in header]
    if label_column not in names[1:]:
        columns = f"its header names {', '.join(names)}" if names else "it has no header (a first row: path, ...)"
        raise ConfigError(
            f"label column: expected a number of at least 1, or the name of a column of {file}; "
            f"got {label_column!r}, and {columns}"
        )
    return names.index(label_column)


def read_row_labels(file: str | Path, n: int) -> TextArray:
    """Read the labels of rows that have no paths: one a line, in the order of the rows.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is not UTF-8 text, or has not ``n`` lines.
    """
    path = Path(file)
    if not path.is_file():
        raise NotFoundError(f"labels: expected a file; there is none at {path}")
    try:
        labels = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"labels: expected UTF-8 text; {path} is not (byte {error.start})") from error
    if len(labels) != n:
        raise FormatError(f"labels: expected {n} lines in {path}, one for each row; got {len(labels)}")
    return np.array(labels, dtype=np.str_)
