import numpy as np
import pytest
from scipy import stats

from gossamer.errors import DataError
from gossamer.study.ratings.intervals import paired_interval


def test_with_one_seed_it_is_that_of_the_mean_over_users(rng):
    differences = rng.normal(0.1, 1, (1, 400))
    found = paired_interval(differences)
    expected = stats.t.interval(0.95, 399, differences.mean(), stats.sem(differences[0]))
    assert found.mean == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=0.01)


def test_what_differs_by_seed_widens_it(rng):
    users = rng.normal(0, 0.1, (5, 300))
    by_seed = users + np.array([-0.2, -0.1, 0.0, 0.1, 0.2])[:, None]
    narrow, wide = paired_interval(users), paired_interval(by_seed)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert wide.low < 0 < wide.high
    assert str(narrow).startswith(f"{narrow.mean:+.4f} (")


def test_no_differences_are_refused():
    with pytest.raises(DataError, match="at least one"):
        paired_interval(np.zeros((0, 3)))
