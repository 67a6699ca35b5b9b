"""A controller that finds the regularizer's weight λ by which embeddings come to cost what they may."""

from __future__ import annotations

import logging
import math

from gossamer.errors import ConfigError
from gossamer.learning.budget.target import FlopsBudget

logger = logging.getLogger(__name__)

_FIRST_BALANCE, _LARGEST_BALANCE, _SMALLEST_BALANCE = 0.02, 20.0, 1e-6  # λ · penalty's gradient / loss's gradient
_BALANCE_MEMORY = 0.7  # of the last gradients' ratio in the next
_INTEGRAL_GAIN, _PROPORTIONAL_GAIN = 0.4, 0.4
_UNITS_OF_TIME = 25  # the gains are for so many observations while tightening
_LARGEST_ERROR, _LARGEST_STEP = 1.5, math.log(1.5)
_TOO_MANY_ZERO_ROWS, _GROWTH_OF_ZERO_ROWS = 0.02, 2.0
_BACK_OFF, _UNITS_OF_REST = 4.0, 3
_RISE_THAT_WAITS, _RISE_THAT_BACKS_OFF = 0.1, 0.3  # of the loss, as a share of what was learned
_FORGETTING = 0.1  # of the lowest loss, in a unit of time: a loss that stays where λ brought it is the new level


class BudgetController:
    r"""Learn first, then tighten, then hold: λ for each step, from measurements of the cost.

    Until ``start`` λ is 0. Then the cost is to fall from what it is to the target, by an equal factor each
    step, until ``end``, and to stay there. λ is the multiplier of this constraint, and its logarithm
    moves by the logarithm of measured over wanted cost (dual ascent, with a proportional part that
    damps it):

    .. math:: \log\lambda \leftarrow \log\lambda + K_i \, e_t + K_p \, (e_t - e_{t-1}),
              \qquad e_t = \log(\text{measured} / \text{wanted})

    Only ratios enter, so that neither the scale of the loss nor that of the penalty matters: the first λ
    makes the penalty's gradient a fiftieth of the loss's, and none makes it more than twenty times
    that. At the optimum of the constrained problem the two are equal, but for the noise of batches in the
    loss's; far beyond, a target cannot be reached. Errors and steps are
    limited too, so that nothing winds up. Where rows become all zero, λ is divided by 4, rests, and stays
    below half of what it was.

    Needs no framework. In each step: ``balance`` if ``needs_balance``, then ``weight_at``; after every
    `interval` steps ``observe``.

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

    Raises
    ------
    ConfigError
        If the target is above ``dim``, or another setting out of its range.

    Examples
    --------
    A toy that costs 9 / λ, whatever came before:

    >>> controller = BudgetController(FlopsBudget(flops_per_document=0.5), dim=64, steps=100)
    >>> cost = 30.0
    >>> for step in range(100):
    ...     if controller.needs_balance(step):
    ...         controller.balance(step, loss_gradient=1.0, penalty_gradient=1.0)
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
    ) -> None:
        budget.share(dim)  # refuses a target above dim
        if steps < 1:
            raise ConfigError(f"steps: expected at least 1; got {steps}")
        if not 0 <= start <= end <= 1:
            raise ConfigError(f"ramp: expected 0 <= start <= end <= 1; got {start} and {end}")
        self.budget = budget
        self._start, self._end = round(start * steps), round(end * steps)
        self._unit = max(1.0, (self._end - self._start) / _UNITS_OF_TIME)
        self._log: float | None = None  # of λ
        self._ratio: float | None = None  # log of the loss's gradient over the penalty's, smoothed
        self._balanced_at = -1
        self._ceiling = math.inf
        self._cost: float | None = None  # as last observed
        self._observed_at = 0
        self._start_cost: float | None = None
        self._error = 0.0
        self._zero_share = 0.0  # of rows; the least since tightening began
        self._first_loss: float | None = None
        self._level: float | None = None  # the lowest loss, slowly forgotten
        self._n_back_offs = 0
        self._rests_until = -1

    @property
    def interval(self) -> int:
        """After how many steps to observe again: about fifty times in all."""
        return max(1, round(self._unit))

    def needs_balance(self, step: int) -> bool:
        """Return whether the gradients of this step are wanted: at the first one, and once an interval."""
        return step >= self._start and (self._ratio is None or step - self._balanced_at >= self.interval)

    def balance(self, step: int, *, loss_gradient: float, penalty_gradient: float) -> None:
        """Take in the norms of two gradients with respect to the embeddings of one batch.

        Numbers that are not finite or not above 0 say nothing.
        """
        if not (0 < loss_gradient < math.inf and 0 < penalty_gradient < math.inf):
            return
        self._balanced_at = step
        ratio = math.log(loss_gradient / penalty_gradient)
        if self._ratio is None or self._log is None:
            self._ratio, self._log = ratio, ratio + math.log(_FIRST_BALANCE)
            return
        self._ratio += (1 - _BALANCE_MEMORY) * (ratio - self._ratio)
        self._move(0.0)

    def weight_at(self, step: int) -> float:
        """Return λ of one step, counted from 0; 0 until tightening begins."""
        return 0.0 if self._log is None or step < self._start else math.exp(self._log)

    def observe(self, step: int, cost: float, *, zero_share: float = 0.0, loss: float | None = None) -> None:
        """Take in what the validation split costs after some steps, and move λ.

        Parameters
        ----------
        step : int
            Steps done.
        cost : float
            In the unit of the budget, at least 0.
        zero_share : float
            The share of its rows that are all zero.
        loss : float, optional
            Of training, without the penalty: its mean over the steps since the last observation. Any
            scale and offset.
        """
        if not 0 <= cost < math.inf:
            raise ConfigError(f"cost: expected a finite number of at least 0; got {cost}")
        passed = (step - self._observed_at) / self._unit
        self._observed_at, self._cost = step, cost
        rise = self._rise_of(loss, passed)
        if step < self._start or self._log is None:
            self._zero_share = zero_share
            return
        if self._start_cost is None:
            self._start_cost, passed = max(cost, 1e-9), min(passed, (step - self._start) / self._unit)
        if self._backs_off(step, zero_share, rise, loss) or step < self._rests_until:
            return
        error = math.log(max(cost, 1e-9) / self.wanted_at(step))
        error = min(max(error, -_LARGEST_ERROR), _LARGEST_ERROR)
        change = _INTEGRAL_GAIN * error * passed + _PROPORTIONAL_GAIN * (error - self._error)
        limit = _LARGEST_STEP * max(passed, 1.0)
        self._error = error
        self._move(min(max(change, -limit), 0.0 if rise > _RISE_THAT_WAITS else limit))

    def wanted_at(self, step: int) -> float:
        """Return what the split is to cost after so many steps, once tightening has begun."""
        first = self.budget.target if self._start_cost is None else max(self._start_cost, self.budget.target)
        done = min(1.0, (step - self._start) / max(1, self._end - self._start))
        return float(first * (self.budget.target / first) ** done)

    @property
    def is_saturated(self) -> bool:
        """Whether λ is as large as it may be and the cost is still above the target."""
        is_full = self._log is not None and self._log >= self._largest - 1e-9
        return is_full and self._cost is not None and self._cost > self.budget.target

    @property
    def n_back_offs(self) -> int:
        """How often λ was divided, since rows became all zero or the loss rose."""
        return self._n_back_offs

    def state_dict(self) -> dict[str, float | int | None]:
        """Return all that changes over training, as JSON can hold it."""
        return {
            "log_weight": self._log,
            "ratio": self._ratio,
            "balanced_at": self._balanced_at,
            "ceiling": None if self._ceiling == math.inf else self._ceiling,
            "cost": self._cost,
            "observed_at": self._observed_at,
            "start_cost": self._start_cost,
            "error": self._error,
            "zero_share": self._zero_share,
            "first_loss": self._first_loss,
            "level": self._level,
            "n_back_offs": self._n_back_offs,
            "rests_until": self._rests_until,
        }

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Go on from a state that `state_dict` returned."""
        self._log, self._ratio = state["log_weight"], state["ratio"]
        self._ceiling = math.inf if state["ceiling"] is None else state["ceiling"]
        self._cost, self._start_cost = state["cost"], state["start_cost"]
        self._first_loss, self._level = state["first_loss"], state["level"]
        self._error, self._zero_share = float(state["error"] or 0), float(state["zero_share"] or 0)
        for name in ("balanced_at", "observed_at", "n_back_offs", "rests_until"):
            setattr(self, f"_{name}", int(state[name] or 0))

    @property
    def _largest(self) -> float:
        assert self._ratio is not None
        return min(self._ratio + math.log(_LARGEST_BALANCE), self._ceiling)

    def _move(self, change: float) -> None:
        assert self._log is not None
        assert self._ratio is not None
        self._log = min(max(self._log + change, self._ratio + math.log(_SMALLEST_BALANCE)), self._largest)

    def _rise_of(self, loss: float | None, passed: float) -> float:
        """Return how far the loss is above its lowest, as a share of what it had fallen."""
        if loss is None or not math.isfinite(loss):
            return 0.0
        if self._first_loss is None or self._level is None:
            self._first_loss = self._level = loss
        fallen, above = self._first_loss - self._level, loss - self._level
        if above <= 0:
            self._level = loss
            return 0.0
        self._level += min(1.0, _FORGETTING * passed) * above
        return above / fallen if fallen > 0 else 0.0

    def _backs_off(self, step: int, zero_share: float, rise: float, loss: float | None) -> bool:
        """Divide λ if all-zero rows grow or the loss rises, and say so."""
        assert self._log is not None
        has_zero_rows = zero_share > max(_TOO_MANY_ZERO_ROWS, _GROWTH_OF_ZERO_ROWS * self._zero_share)
        self._zero_share = min(self._zero_share, zero_share)
        if not has_zero_rows and rise <= _RISE_THAT_BACKS_OFF:
            return False
        if step < self._rests_until:
            return True
        before = math.exp(self._log)
        self._ceiling = min(self._ceiling, self._log - math.log(2.0))
        self._move(-math.log(_BACK_OFF))
        self._error, self._n_back_offs = 0.0, self._n_back_offs + 1
        self._rests_until = step + round(_UNITS_OF_REST * self._unit)
        sign = f"{100 * zero_share:.0f} % of the rows are all zero" if has_zero_rows else f"the loss rose to {loss:.3g}"
        logger.warning(
            "step %d: %s, so the regularizer's weight falls from %.3g to %.3g",
            step, sign, before, math.exp(self._log),
        )  # fmt: skip
        return True
