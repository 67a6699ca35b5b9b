"""Ratings: which user gave which item how much, in a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gossamer.arrays import FloatArray, OffsetArray, TextArray
from gossamer.errors import DataError, FormatError, NotFoundError

_HEADERS = ("user", "userid", "user_id")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratings:
    """Ratings of items by users, in the order of the file; each pair of user and item once."""

    users: OffsetArray
    """The number of the user of each rating: shape (n,), int64, from 0."""
    items: OffsetArray
    """The number of the item of each rating: shape (n,), int64, from 0."""
    values: FloatArray
    """How much: shape (n,), float32."""
    timestamps: OffsetArray | None
    """When, in the file's own unit: shape (n,), int64; None if the file has none."""
    user_keys: TextArray
    """What the file calls each user: shape (n_users,), in the order of their first ratings."""
    item_keys: TextArray
    """What the file calls each item: shape (n_items,), in that order."""

    def __len__(self) -> int:
        return self.values.size


def read_ratings(path: str | Path) -> Ratings:
    """Read ``user,item,rating`` or ``user,item,rating,timestamp``, one rating a line.

    A first row whose first field is user, userId or user_id is a header, as MovieLens has it
    (``userId,movieId,rating,timestamp``). Blank lines are passed over; users and items are any text.

    Parameters
    ----------
    path : str or Path
        A CSV file in UTF-8.

    Raises
    ------
    NotFoundError
        If there is no such file.
    FormatError
        If it is not UTF-8 CSV, or a row has other fields; the message names the line.
    DataError
        If there are no ratings, or two of one item by one user.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"ratings: expected a file; there is none at {path}")
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    lines: dict[tuple[int, int], int] = {}
    values, timestamps = [], []
    n_fields = 0
    for line, row in _rows(path):
        n_fields = n_fields or len(row)
        if len(row) != n_fields or n_fields not in (3, 4):
            raise FormatError(
                f"ratings: expected user, item, rating and perhaps timestamp in every row; {path}, line {line}, "
                f"has {len(row)} fields"
            )
        user, item = _text(row[0], "a user", path, line), _text(row[1], "an item", path, line)
        pair = users.setdefault(user, len(users)), items.setdefault(item, len(items))
        if (first := lines.setdefault(pair, line)) != line:
            raise DataError(
                f"ratings: expected one rating of an item by a user; {path}, line {line}, repeats user {user!r} and "
                f"item {item!r} of line {first}"
            )
        values.append(_number(row[2], path, line))
        if n_fields == 4:
            timestamps.append(_whole_number(row[3], path, line))
    if not values:
        raise DataError(f"ratings: expected at least one; {path} has none")
    numbers = np.array(list(lines), np.int64)
    return Ratings(
        users=numbers[:, 0],
        items=numbers[:, 1],
        values=np.array(values, np.float32),
        timestamps=np.array(timestamps, np.int64) if timestamps else None,
        user_keys=np.array(list(users)),
        item_keys=np.array(list(items)),
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row but the header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        is_first = True
        try:
            for row in reader:
                if row and not (is_first and row[0].strip().lower() in _HEADERS):
                    yield reader.line_num, row
                is_first = is_first and not row
        except (csv.Error, UnicodeDecodeError) as error:
            raise FormatError(f"ratings: expected UTF-8 CSV; {path}, line {reader.line_num + 1}: {error}") from error


def _text(field: str, name: str, path: Path, line: int) -> str:
    if not field.strip():
        raise FormatError(f"ratings: expected {name} in every row; {path}, line {line}, has none")
    return field.strip()


def _number(field: str, path: Path, line: int) -> float:
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise FormatError(f"ratings: expected a finite number as rating; {path}, line {line}, has {field!r}")
    return number


def _whole_number(field: str, path: Path, line: int) -> int:
    try:
        number = int(field)
    except ValueError:
        number = 1 << 63
    if abs(number) >= 1 << 63:
        raise FormatError(f"ratings: expected a whole number as timestamp; {path}, line {line}, has {field!r}")
    return number
