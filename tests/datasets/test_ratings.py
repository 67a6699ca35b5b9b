"""Ratings of tiny files, of MovieLens where it is there, and each way in which a row can be wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from gossamer.datasets.ratings import read_ratings
from gossamer.errors import DataError, FormatError, NotFoundError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "ratings.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_file_as_movielens_has_it(write):
    ratings = read_ratings(
        write("userId,movieId,rating,timestamp\n7,31,2.5,1260759144\n7,5,3,1260759179\n9,31,4.0,0\n")
    )
    assert len(ratings) == 3
    assert ratings.users.tolist() == [0, 0, 1]
    assert ratings.items.tolist() == [0, 1, 0]
    assert ratings.values.tolist() == [2.5, 3, 4]
    assert ratings.timestamps.tolist() == [1260759144, 1260759179, 0]
    assert (ratings.user_keys.tolist(), ratings.item_keys.tolist()) == (["7", "9"], ["31", "5"])


def test_files_without_header_or_timestamp_with_any_text_as_names(write):
    ratings = read_ratings(write('\ufeffAnna,"Pickles, sour",-1\r\n\r\nBert, Brot ,1e-3\r\n'))
    assert ratings.user_keys.tolist() == ["Anna", "Bert"]
    assert ratings.item_keys.tolist() == ["Pickles, sour", "Brot"]
    assert ratings.values.tolist() == pytest.approx([-1, 1e-3])
    assert ratings.timestamps is None


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("1,2,3\n1,3\n", FormatError, "line 2, has 2 fields"),
        ("1,2,3\n\n1,3,4,5\n", FormatError, "line 3, has 4 fields"),
        ("user,item\n1,2\n", FormatError, "line 2, has 2 fields"),
        ("1,2,good\n", FormatError, "finite number as rating; .*line 1, has 'good'"),
        ("1,2,nan\n", FormatError, "line 1, has 'nan'"),
        ("1,2,1e39\n", FormatError, "line 1, has '1e39'"),
        ("1,2,3,4\n1,3,3,noon\n", FormatError, "whole number as timestamp; .*line 2, has 'noon'"),
        ("1,2,3,99999999999999999999\n", FormatError, "line 1, has '9999"),
        (" ,2,3\n", FormatError, "a user in every row; .*line 1"),
        ("1,,3\n", FormatError, "an item in every row; .*line 1"),
        ("1,2,3\n2,2,3\n1,2,4\n", DataError, "line 3, repeats user '1' and item '2' of line 1"),
        ("", DataError, "at least one"),
        ("userId,movieId,rating\n", DataError, "at least one"),
        ('1,2,3\n1,"3,4\n', FormatError, "UTF-8 CSV"),
        (b"1,2,3\n\xff,3,4\n", FormatError, "UTF-8 CSV"),
    ],
)
def test_rows_that_are_wrong_are_refused_with_their_line(write, text, error, message):
    with pytest.raises(error, match=message):
        read_ratings(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="there is none at .*nothing.csv"):
        read_ratings(tmp_path / "nothing.csv")


def test_movielens_small_is_read_whole():
    path = Path(os.environ.get("GOSSAMER_DATA", "")) / "movielens-small" / "ratings.csv"
    if not path.is_file():
        pytest.skip("MovieLens is not in GOSSAMER_DATA")
    ratings = read_ratings(path)
    assert (len(ratings), ratings.user_keys.size, ratings.item_keys.size) == (100_836, 610, 9_724)  # its README.txt
    assert np.unique(ratings.values).tolist() == [x / 2 for x in range(1, 11)]
