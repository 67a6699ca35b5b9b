"""Users and items: two towers whose inner products rank the items of each user."""

from gossamer.learning.two_towers.config import TwoTowersConfig
from gossamer.learning.two_towers.histories import Histories
from gossamer.learning.two_towers.model import TwoTowers, train_two_towers

__all__ = ["Histories", "TwoTowers", "TwoTowersConfig", "train_two_towers"]
