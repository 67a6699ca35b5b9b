import numpy as np
import pytest

from gossamer.study.ratings import cells

N_USERS, N_ITEMS = 40, 60


@pytest.fixture
def rows():
    """Ratings by users of three tastes, of twenty items each: eight of their taste and one of any."""
    rng = np.random.default_rng(0)
    found = []
    for user in range(N_USERS):
        own = rng.choice(np.arange(20) + user % 3 * 20, 8, replace=False)
        own = np.unique(np.append(own, rng.integers(N_ITEMS)))
        found += [(f"u{user}", f"i{item}", rng.integers(1, 6)) for item in own]
    return found


@pytest.fixture
def ratings_file(tmp_path, rows):
    path = tmp_path / "ratings.csv"
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
    return path


@pytest.fixture(autouse=True)
def small_codes(monkeypatch):
    monkeypatch.setattr(cells, "DENSE_DIM", 8)
    monkeypatch.setattr(cells, "SPARSE_DIM", 32)
