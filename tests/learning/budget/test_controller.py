"""The controller: on a toy problem with a known optimum, and where nothing can be met."""

import json
import math

import numpy as np
import pytest

from gossamer.errors import ConfigError
from gossamer.learning import BudgetController, FlopsBudget

STEPS = 400
TARGET = 0.5


def controller_for(target=TARGET, **settings):
    return BudgetController(FlopsBudget(flops_per_document=target), dim=64, **{"steps": STEPS, **settings})


class Toy:
    """Minimize scale · ½ ‖a − c‖² under FLOPs(a) = F, by gradient descent: F and λ are known in closed form.

    Where all entries are positive, those of the optimum have means c̄_j / (1 + 2λ / b).
    """

    def __init__(self, *, scale=1.0):
        self.center = np.random.default_rng(0).uniform(1.0, 2.0, (5, 8))
        self.rows, self.scale = self.center.copy(), scale

    @property
    def flops(self):
        return float(np.square(np.abs(self.rows).mean(axis=0)).sum())

    def best_weight(self, flops):
        whole = np.square(self.center.mean(axis=0)).sum()
        return self.scale * len(self.center) / 2 * (math.sqrt(whole / flops) - 1)

    def gradients(self):
        return self.scale * (self.rows - self.center), np.sign(self.rows) * 2 * self.rows.mean(axis=0) / len(self.rows)

    def step(self, weight):
        of_loss, of_penalty = self.gradients()
        # Along the gradient, as long a step as the two curvatures allow.
        curvature = self.scale + 2 * weight / len(self.rows)
        self.rows -= 0.3 / curvature * (of_loss + weight * of_penalty)


def run(toy, controller, steps=range(STEPS)):
    weights = []
    for step in steps:
        # The toy starts at its optimum without a penalty; real losses have the noise of batches there.
        if controller.needs_balance(step):
            of_loss, of_penalty = toy.gradients()
            controller.balance(
                step,
                loss_gradient=max(np.linalg.norm(of_loss), toy.scale),
                penalty_gradient=np.linalg.norm(of_penalty),
            )
        weights.append(controller.weight_at(step))
        toy.step(weights[-1])
        if (step + 1) % controller.interval == 0:
            controller.observe(step + 1, toy.flops)
    return weights


@pytest.mark.parametrize("target", [6.0, 4.0, 2.0])
def test_the_optimum_of_the_toy_problem_is_found(target):
    toy, controller = Toy(), controller_for(target)
    weights = run(toy, controller)
    assert toy.flops == pytest.approx(target, rel=0.03)
    assert weights[-1] == pytest.approx(toy.best_weight(target), rel=0.05)


def test_it_learns_first_then_tightens_then_holds():
    toy, controller = Toy(), controller_for(4.0)
    weights, costs = [], []
    for step in range(STEPS):
        weights += run(toy, controller, [step])
        costs.append(toy.flops)
    assert weights[:80] == [0.0] * 80
    assert weights[80] > 0
    assert costs[79] == pytest.approx(Toy().flops)
    assert 4.0 < costs[180] < costs[79]
    assert costs[320:] == pytest.approx([4.0] * 80, rel=0.1)


def test_the_scale_of_the_loss_changes_the_weight_and_nothing_else():
    small, large = Toy(), Toy(scale=1000.0)
    of_small, of_large = run(small, controller_for(4.0)), run(large, controller_for(4.0))
    np.testing.assert_allclose(of_large, 1000 * np.array(of_small), rtol=1e-6)
    np.testing.assert_allclose(large.rows, small.rows)


def test_a_smaller_budget_takes_a_larger_weight():
    last = [run(Toy(), controller_for(target))[-1] for target in (10.0, 8.0, 6.0, 4.0)]
    assert last == sorted(last)
    assert last[0] < last[-1]


def test_a_higher_cost_moves_the_weight_up_more():
    moved = []
    for cost in (0.1, 0.4, 0.6, 2.0):
        controller = controller_for(start=0.0, end=0.0)
        controller.balance(0, loss_gradient=1.0, penalty_gradient=1.0)
        controller.observe(1, TARGET)
        before = controller.weight_at(1)
        controller.observe(2, cost)
        moved.append(controller.weight_at(2) / before)
    assert moved == sorted(moved)
    assert moved[1] < 1 < moved[2]
    assert 0.5 <= moved[0] < moved[-1] <= 2


def test_a_loss_that_rises_lowers_the_weight_and_a_little_rise_lets_it_wait(caplog):
    controller = controller_for(start=0.0, end=0.5)
    controller.balance(0, loss_gradient=1.0, penalty_gradient=1.0)
    weights = []
    for step, loss in ((8, 1015.0), (16, 1010.0), (24, 1005.0), (32, 1006.5), (40, 1005.0), (48, 1010.0)):
        controller.observe(step, 50.0, loss=loss)
        weights.append(controller.weight_at(step))
    assert weights[0] < weights[1] < weights[2] == weights[3] < weights[4]  # by 1.5 of the 10 that were learned
    assert weights[5] == pytest.approx(weights[4] / 4)
    (message,) = caplog.messages
    assert message.startswith("step 48: the loss rose to 1.01e+03, so the regularizer's weight falls")


def test_a_higher_loss_that_stays_is_the_new_level():
    controller = controller_for(start=0.0, end=0.5)
    controller.balance(0, loss_gradient=1.0, penalty_gradient=1.0)
    for step in range(8, 400, 8):
        controller.observe(step, 50.0, loss=10.0 if step == 8 else 5.0 if step < 100 else 6.0)
    assert controller.n_back_offs == 0
    assert controller.is_saturated  # so that it was let grow again


def test_a_state_that_went_through_json_goes_on_bit_for_bit():
    toy, controller = Toy(), controller_for(4.0)
    run(toy, controller, range(150))
    restored = controller_for(4.0)
    restored.load_state_dict(json.loads(json.dumps(controller.state_dict())))
    assert restored.state_dict() == controller.state_dict()
    twin = Toy()
    twin.rows = toy.rows.copy()
    assert run(twin, restored, range(150, STEPS)) == run(toy, controller, range(150, STEPS))


def test_a_fresh_state_goes_through_json_too():
    restored = controller_for()
    restored.load_state_dict(json.loads(json.dumps(controller_for().state_dict())))
    assert restored.state_dict() == controller_for().state_dict()


def test_a_weight_that_changes_nothing_does_not_wind_up():
    controller = controller_for(start=0.0, end=0.5)
    for step in range(STEPS):
        if controller.needs_balance(step):
            controller.balance(step, loss_gradient=3.0, penalty_gradient=0.5)
        controller.observe(step + 1, 50.0)
    assert controller.weight_at(STEPS) == pytest.approx(20 * 3.0 / 0.5)
    assert controller.is_saturated
    controller.observe(STEPS + 1, 0.01)
    assert controller.weight_at(STEPS + 1) < 0.95 * 20 * 3.0 / 0.5
    assert not controller.is_saturated


def test_rows_that_become_all_zero_lower_the_weight_and_are_reported(caplog):
    controller = controller_for(start=0.0, end=0.5)
    controller.balance(0, loss_gradient=1.0, penalty_gradient=1.0)
    controller.observe(8, 50.0, zero_share=0.001)
    before = controller.weight_at(8)
    assert caplog.messages == []
    controller.observe(16, 40.0, zero_share=0.3)
    assert controller.weight_at(16) == pytest.approx(before / 4)
    assert len(caplog.messages) == controller.n_back_offs == 1
    assert caplog.messages[0].startswith("step 16: 30 % of the rows are all zero, so the regularizer's weight falls")
    controller.observe(24, 40.0, zero_share=0.3)  # it rests: what was done takes time
    assert controller.weight_at(24) == pytest.approx(before / 4)
    for step in range(32, STEPS, 8):
        controller.observe(step, 40.0, zero_share=0.0)
    assert controller.weight_at(STEPS) == pytest.approx(before / 2)
    assert controller.n_back_offs == 1


def test_zero_rows_that_were_there_before_do_not_count(caplog):
    controller = controller_for(start=0.0)
    controller.observe(0, 50.0, zero_share=0.2)
    controller.balance(0, loss_gradient=1.0, penalty_gradient=1.0)
    for step in range(8, 80, 8):
        controller.observe(step, 50.0, zero_share=0.21)
    assert controller.n_back_offs == 0
    assert caplog.messages == []


def test_gradients_that_say_nothing_are_passed_over():
    controller = controller_for(start=0.0)
    for loss, penalty in ((0.0, 1.0), (1.0, 0.0), (math.nan, 1.0), (1.0, math.inf)):
        controller.balance(0, loss_gradient=loss, penalty_gradient=penalty)
        assert controller.needs_balance(1)
        assert controller.weight_at(1) == 0
    controller.observe(4, 0.0)  # no row has a nonzero: no logarithm either


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 65.0}, "budget: expected at most dim = 64 FLOPs per document; got 65"),
        ({"steps": 0}, "steps: expected at least 1; got 0"),
        ({"start": 0.8}, "ramp: expected 0 <= start <= end <= 1; got 0.8 and 0.7"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        controller_for(**settings)


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_a_cost_that_is_none_is_refused(cost):
    with pytest.raises(ConfigError, match="cost: expected a finite number of at least 0"):
        controller_for().observe(1, cost)
