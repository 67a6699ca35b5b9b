"""Keys, labels and fingerprints travel together and are checked once."""

import numpy as np
import pytest

from gossamer import Catalog
from gossamer.errors import DataError, MismatchError, ShapeError


def test_rows_without_keys_are_called_by_their_number():
    assert Catalog(n=3).key(2) == "2"
    assert Catalog(n=3).label(2) is None


def test_taking_rows_takes_their_names():
    catalog = Catalog(n=3, keys=np.array(["a", "b", "c"]), labels=np.array(["x", "y", "x"]), fingerprint="f")
    part = catalog.take([2, 0])
    assert (part.n, part.key(0), part.label(0), part.fingerprint) == (2, "c", "x", "f")
    assert catalog.take(np.array([False, True, False])).keys.tolist() == ["b"]


def test_wrong_numbers_and_repeated_keys_are_refused():
    with pytest.raises(ShapeError, match=r"labels: expected shape \(3,\)"):
        Catalog(n=3, labels=np.array(["x"]))
    with pytest.raises(DataError, match="'a' occurs 2 times"):
        Catalog(n=3, keys=np.array(["a", "b", "a"]))


def test_rows_of_two_models_are_not_compared():
    ours, theirs, unknown = (Catalog(n=0, fingerprint=mark) for mark in ("1234", "5678", ""))
    with pytest.raises(MismatchError, match="queries: expected embeddings of model 1234; got those of model 5678"):
        ours.check_same_model(theirs, name="queries")
    ours.check_same_model(unknown, name="queries")
    ours.check_same_model(ours, name="queries")
