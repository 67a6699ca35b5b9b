import numpy as np
import pytest

from gossamer.learning.two_towers import Histories, TwoTowersConfig, train_two_towers

N_ITEMS = 40


def tastes(n_users=60, seed=0):
    """Users of four tastes, each of ten items, of which a user has some, and now and then another item."""
    rng = np.random.default_rng(seed)
    users = []
    for user in range(n_users):
        own = rng.choice(np.arange(10) + user % 4 * 10, 6, replace=False)
        users.append(np.unique(np.append(own, rng.integers(N_ITEMS))))
    return users


@pytest.fixture
def histories():
    return Histories(tastes(), n_items=N_ITEMS)


@pytest.fixture(scope="session")
def settings():
    """A run that takes a moment."""
    sizes = {"width": 16, "n_users": 20, "n_targets": 2, "n_negatives": 40}
    return {"n_items": N_ITEMS, "steps": 80, "learning_rate": 2e-2, "device": "cpu", **sizes}


@pytest.fixture(scope="session")
def sparse_settings(settings):
    return {**settings, "dim": 64, "activation": "relu", "flops_per_item": 1.0}


@pytest.fixture(scope="session")
def sparse_towers(sparse_settings):
    return train_two_towers(Histories(tastes(), n_items=N_ITEMS), TwoTowersConfig(**sparse_settings))
