"""A controller that finds the regularizer's weight λ by which embeddings come to cost what they may."""

from __future__ import annotations

import logging
import math

from gossamer.errors import ConfigError
from gossamer.learning.budget.target import FlopsBudget

logger = logging.getLogger(__name__)

HEADROOM = 2.0
"""Training aims at this many times the target; calibration drops small entries for the rest."""

_FIRST_BALANCE = 0.02  # of the loss's gradient: what the first λ makes of the penalty's
_REACH = 12.0  # λ stays within e^±12 of its first value
_INTEGRAL_GAIN, _PROPORTIONAL_GAIN = 0.4, 0.4
_UNITS_OF_TIME = 25  # the gains are for so many observations while tightening
_LARGEST_ERROR, _LARGEST_STEP = 1.5, math.log(2.0)
_TOO_MANY_ZERO_ROWS, _GROWTH_OF_ZERO_ROWS = 0.02, 2.0
_BACK_OFF = 4.0


class BudgetController:
    r"""Learn first, then tighten, then hold: λ for each step, from measurements of the cost.

    Until ``start`` λ is 0. Then the cost is to fall from what it is to the aim, by an equal factor each
    step, until ``end``, and to stay there. λ is the multiplier of this constraint, and its logarithm
    moves by the logarithm of measured over wanted cost (dual ascent, with a proportional part that
    damps it):

    .. math:: \log\lambda \leftarrow \log\lambda + K_i \, e_t + K_p \, (e_t - e_{t-1}),
              \qquad e_t = \log(\text{measured} / \text{wanted})

    Only ratios enter: the first λ makes the penalty's gradient a fiftieth of the loss's, so that neither
    the scale of the loss nor that of the penalty matters. Errors and steps are limited, and λ has a
    range, so that nothing winds up where the aim cannot be reached. Where rows become all zero, λ is
    divided by 4, and stays below half of what it was.

    Needs no framework. In each step: ``balance`` while ``needs_balance``, then ``weight_at``; after every
    few steps ``observe``.

    Parameters
    ----------
    budget : FlopsBudget
        What to meet.
    dim : int
        Dimensions of an embedding.
    steps : int
        Of the whole training.
    start, end : float
        The shares of the steps between which the cost falls.
    headroom : float
        What is aimed at is the target times this, for a calibration after training that drops small
        entries; 1 where there is none. Nonzeros, whose squares make FLOPs, get its square root.

    Raises
    ------
    ConfigError
        If the target is above ``dim``, or another setting out of its range.

    Examples
    --------
    A toy that costs 9 / λ, whatever came before:

    >>> controller = BudgetController(FlopsBudget(flops_per_document=0.5), dim=64, steps=100, headroom=1.0)
    >>> cost = 30.0
    >>> for step in range(100):
    ...     if controller.needs_balance(step):
    ...         controller.balance(loss_gradient=1.0, penalty_gradient=1.0)
    ...     weight = controller.weight_at(step)
    ...     cost = 9.0 / weight if weight > 0.3 else 30.0
    ...     controller.observe(step + 1, cost)
    >>> controller.weight_at(10), round(controller.weight_at(99)), round(cost, 2)
    (0.0, 18, 0.5)
    """

    def __init__(
        self,
        budget: FlopsBudget,
        *,
        dim: int,
        steps: int,
        start: float = 0.2,
        end: float = 0.7,
        headroom: float = HEADROOM,
    ) -> None:
        budget.share(dim)  # refuses a target above dim
        if steps < 1:
            raise ConfigError(f"steps: expected at least 1; got {steps}")
        if not 0 <= start <= end <= 1:
            raise ConfigError(f"ramp: expected 0 <= start <= end <= 1; got {start} and {end}")
        if not 1 <= headroom < math.inf:
            raise ConfigError(f"headroom: expected a finite number of at least 1; got {headroom}")
        self.budget = budget
        self.aim = min(budget.target * (math.sqrt(headroom) if budget.counts_nonzeros else headroom), float(dim))
        self._start, self._end = round(start * steps), round(end * steps)
        self._unit = max(1.0, (self._end - self._start) / _UNITS_OF_TIME)
        self._first: float | None = None  # log of the first λ
        self._log: float | None = None  # log of λ
        self._ceiling = math.inf
        self._cost: float | None = None  # as last observed
        self._observed_at = 0
        self._start_cost: float | None = None
        self._error = 0.0
        self._zero_share = 0.0  # of rows; the least since tightening began
        self._n_back_offs = 0

    @property
    def interval(self) -> int:
        """After how many steps to observe again: about fifty times in all."""
        return max(1, round(self._unit))

    def needs_balance(self, step: int) -> bool:
        """Return whether the gradients of this step are wanted, to set the first λ."""
        return self._log is None and step >= self._start

    def balance(self, *, loss_gradient: float, penalty_gradient: float) -> None:
        """Set the first λ from the norms of two gradients with respect to the embeddings of one batch.

        Numbers that are not finite or not above 0 say nothing, and the next step's are wanted.
        """
        if 0 < loss_gradient < math.inf and 0 < penalty_gradient < math.inf:
            self._first = self._log = math.log(_FIRST_BALANCE * loss_gradient / penalty_gradient)

    def weight_at(self, step: int) -> float:
        """Return λ of one step, counted from 0; 0 until tightening begins."""
        return 0.0 if self._log is None or step < self._start else math.exp(self._log)

    def observe(self, step: int, cost: float, *, zero_share: float = 0.0) -> None:
        """Take in what the validation split costs after some steps, and move λ.

        Parameters
        ----------
        step : int
            Steps done.
        cost : float
            In the unit of the budget, at least 0.
        zero_share : float
            The share of its rows that are all zero.
        """
        if not 0 <= cost < math.inf:
            raise ConfigError(f"cost: expected a finite number of at least 0; got {cost}")
        elapsed, self._observed_at, self._cost = step - self._observed_at, step, cost
        if step < self._start or self._log is None:
            self._zero_share = zero_share
            return
        if self._start_cost is None:
            self._start_cost, elapsed = max(cost, 1e-9), min(elapsed, step - self._start)
        if self._backs_off(step, zero_share):
            return
        error = math.log(max(cost, 1e-9) / self.wanted_at(step))
        error = min(max(error, -_LARGEST_ERROR), _LARGEST_ERROR)
        passed = elapsed / self._unit
        change = _INTEGRAL_GAIN * error * passed + _PROPORTIONAL_GAIN * (error - self._error)
        limit = _LARGEST_STEP * max(passed, 1.0)
        self._error = error
        self._move(min(max(change, -limit), limit))

    def wanted_at(self, step: int) -> float:
        """Return what the split is to cost after so many steps, once tightening has begun."""
        first = self.aim if self._start_cost is None else max(self._start_cost, self.aim)
        done = min(1.0, (step - self._start) / max(1, self._end - self._start))
        return float(first * (self.aim / first) ** done)

    @property
    def is_saturated(self) -> bool:
        """Whether λ is as large as it may be and the cost is still above the aim."""
        is_full = self._log is not None and self._log >= self._largest - 1e-9
        return is_full and self._cost is not None and self._cost > self.aim

    @property
    def n_back_offs(self) -> int:
        """How often rows became all zero, and λ was divided."""
        return self._n_back_offs

    def state_dict(self) -> dict[str, float | int | None]:
        """Return all that changes over training, as JSON can hold it."""
        return {
            "first": self._first,
            "log_weight": self._log,
            "ceiling": None if self._ceiling == math.inf else self._ceiling,
            "cost": self._cost,
            "observed_at": self._observed_at,
            "start_cost": self._start_cost,
            "error": self._error,
            "zero_share": self._zero_share,
            "n_back_offs": self._n_back_offs,
        }

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._first, self._log = state["first"], state["log_weight"]
        self._ceiling = math.inf if state["ceiling"] is None else state["ceiling"]
        self._cost, self._start_cost = state["cost"], state["start_cost"]
        self._error, self._zero_share = float(state["error"] or 0), float(state["zero_share"] or 0)
        self._observed_at, self._n_back_offs = int(state["observed_at"] or 0), int(state["n_back_offs"] or 0)

    @property
    def _largest(self) -> float:
        assert self._first is not None
        return min(self._first + _REACH, self._ceiling)

    def _move(self, change: float) -> None:
        assert self._first is not None
        assert self._log is not None
        self._log = min(max(self._log + change, self._first - _REACH), self._largest)

    def _backs_off(self, step: int, zero_share: float) -> bool:
        """Divide λ if all-zero rows grow, and say so."""
        assert self._log is not None
        is_collapsing = zero_share > max(_TOO_MANY_ZERO_ROWS, _GROWTH_OF_ZERO_ROWS * self._zero_share)
        if not is_collapsing:
            self._zero_share = min(self._zero_share, zero_share)
            return False
        before = math.exp(self._log)
        self._ceiling = min(self._ceiling, self._log - math.log(2.0))
        self._error = 0.0
        self._n_back_offs += 1
        self._move(-math.log(_BACK_OFF))
        logger.warning(
            "step %d: %.0f %% of the rows are all zero, so the regularizer's weight falls from %.3g to %.3g",
            step, 100 * zero_share, before, math.exp(self._log),
        )  # fmt: skip
        return True
