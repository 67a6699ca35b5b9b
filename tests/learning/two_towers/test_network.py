import math

import numpy as np
import pytest
import torch

from gossamer.errors import ConfigError
from gossamer.learning.two_towers import TwoTowersConfig
from gossamer.learning.two_towers.calibration import calibrate_towers, towers_cost
from gossamer.learning.two_towers.network import TwoTowersNetwork, kept_entries, sampled_softmax


def test_sampled_softmax_by_hand():
    scores = torch.tensor([[1.0, 0.0, 2.0, 0.5], [0.0, 3.0, 1.0, 0.0]])
    expected = torch.tensor([1.0, 2.0, 0.5, 1.0])
    is_owned = torch.tensor([[True, False, False, False], [False, True, False, True]])
    first = -math.log(math.e / (math.e + 0.5 + 2 * math.e**2 + math.e**0.5))
    second = -math.log((math.e**3 / 2) / (math.e**3 / 2 + 1 + 2 * math.e))
    loss = sampled_softmax(scores, expected.log(), is_owned, torch.tensor([0, 1]))
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-6)


def test_users_count_alike_whatever_their_targets():
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    is_owned = torch.tensor([[True, True, False, True], [False, False, True, True]])
    loss = sampled_softmax(scores, torch.zeros(4), is_owned, torch.tensor([0, 0, 1]))
    assert float(loss) == pytest.approx((math.log(2) + math.log(3)) / 2)


def test_with_every_item_drawn_it_is_the_softmax_over_all_items():
    scores = torch.tensor([[0.3, -1.0, 0.3, 2.0]])  # one target, then all three items, of which it is the first
    is_owned = torch.tensor([[True, True, False, False]])
    scores[0, 1] = scores[0, 0]
    loss = sampled_softmax(scores, torch.zeros(4), is_owned, torch.tensor([0]))
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(scores[:, 1:], torch.tensor([0]))))


def test_a_users_features_are_the_sum_over_the_root_of_the_count():
    network = TwoTowersNetwork(TwoTowersConfig(n_items=5, dim=4, width=3)).eval()
    codes = network.users(torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 4]))
    table = network.owned_features.weight
    expected = network.user_head(torch.stack([table[:4].sum(dim=0) / 2, table[4]]))
    torch.testing.assert_close(codes, expected)


def test_dropping_leaves_an_items_other_entries_as_they_are():
    codes = torch.tensor([[0.5, 0.2, 0.0], [0.1, 0.05, 0.0], [-0.3, 0.2, 0.3]])
    kept = kept_entries(codes, torch.tensor([0.25, 0.2, 0.4]))
    assert kept.tolist() == [[True, False, False], [True, False, False], [True, False, True]]


def test_the_cost_counts_pairs_that_share_a_dimension():
    users = np.float32([[1, 0, 2], [0, 0, 1]])
    items = np.float32([[0, 1, 3], [1, 1, 0], [0, 0, 1], [0, 0, 2]])
    shared = sum(int((u != 0) @ (i != 0)) for u in users for i in items)
    assert towers_cost(users, items) == pytest.approx(shared / 8)


def calibrated(target):
    """Return what said to cost, codes before and codes after, of towers that learned nothing."""
    torch.manual_seed(0)
    network = TwoTowersNetwork(TwoTowersConfig(n_items=400, dim=32, width=16, activation="relu", flops_per_item=1.0))
    bags, items = (torch.randint(400, (1500,)), torch.arange(0, 1500, 5)), torch.arange(400)
    with torch.no_grad():
        for _ in range(60):  # batch norm learns what to expect
            network.users(*bags), network.unit_items(items)
        network.log_scales += torch.randn(400)
        network.eval()
        before = network.users(*bags).numpy(), network.items(items).numpy()
        said = calibrate_towers(network, *before, flops_per_item=target)
        return said, before, (network.users(*bags).numpy(), network.items(items).numpy())


def test_calibration_meets_the_budget_by_items_alone():
    said, before, after = calibrated(0.2)
    assert towers_cost(*before) > 0.3
    assert said == pytest.approx(towers_cost(*after), rel=1e-6)
    assert said == pytest.approx(0.2, rel=0.02)
    np.testing.assert_array_equal(before[0], after[0])
    is_kept = after[1] != 0
    np.testing.assert_array_equal(after[1][is_kept], before[1][is_kept])
    longest = np.argsort(-np.linalg.norm(before[1], axis=1))
    assert is_kept[longest[:100]].sum() > 1.2 * is_kept[longest[-100:]].sum()


def test_where_items_have_no_more_to_drop_users_do():
    said, _, (users, items) = calibrated(0.035)
    assert ((items != 0).sum(axis=1) <= 1).all()
    assert said == pytest.approx(towers_cost(users, items), rel=1e-6)
    assert said == pytest.approx(0.035, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "relu"}, "if and only if codes are sparse"),
        ({"flops_per_item": 1.0}, "if and only if codes are sparse"),
        ({"activation": "relu", "flops_per_item": 200.0}, "at most dim = 128"),
        ({"activation": "top-k"}, "expected one of"),
        ({"hidden_share": 1.0}, "below 1"),
        ({"temperature": 0}, "above 0"),
        ({"n_items": 0}, "at least 1"),
        ({"device": 3}, "device"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TwoTowersConfig(**{"n_items": 10, **settings})
