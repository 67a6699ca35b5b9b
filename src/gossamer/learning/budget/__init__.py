"""What a search may cost, and how strongly the regularizer weighs at each step so that it costs that."""

from gossamer.learning.budget.controller import BudgetController
from gossamer.learning.budget.schedule import QuadraticSchedule
from gossamer.learning.budget.target import FlopsBudget

__all__ = ["BudgetController", "FlopsBudget", "QuadraticSchedule"]
