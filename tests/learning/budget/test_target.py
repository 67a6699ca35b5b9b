"""What a search may cost, in three units."""

import dataclasses
import math

import pytest

from gossamer.errors import ConfigError
from gossamer.learning import FlopsBudget


def test_an_even_share_of_rows_costs_the_target():
    assert 400 * FlopsBudget(flops_per_document=0.25).share(400) ** 2 == pytest.approx(0.25)
    assert 400 * FlopsBudget(nnz_per_row=20.0).share(400) == pytest.approx(20.0)


def test_nonzeros_are_flops_of_even_rows():
    assert FlopsBudget(nnz_per_row=20.0).even_flops_per_document(400) == pytest.approx(1.0)
    assert FlopsBudget(flops_per_document=0.3).even_flops_per_document(400) == 0.3


@pytest.mark.parametrize("microseconds", [20.0, 55.5, 4000.0])
def test_microseconds_become_flops_by_any_cost_function(microseconds):
    def cost(postings):
        return 10.0 + 0.02 * postings**0.9

    budget = FlopsBudget(query_us=microseconds, n_docs=2000, cost=cost)
    assert cost(budget.target * 2000) == pytest.approx(microseconds)
    assert budget.unit == "FLOPs per document"


def test_a_tenth_above_or_below_is_met():
    budget = FlopsBudget(flops_per_document=2.0)
    assert [budget.is_met_by(cost) for cost in (1.79, 1.81, 2.0, 2.19, 2.21)] == [False, True, True, True, False]


def test_a_budget_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FlopsBudget(nnz_per_row=2.0).nnz_per_row = 3.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "budget: expected exactly one of flops_per_document, nnz_per_row, query_us; got none"),
        ({"flops_per_document": 1.0, "nnz_per_row": 2.0}, "exactly one of .*; got flops_per_document, nnz_per_row"),
        ({"flops_per_document": 0.0}, "flops_per_document: expected a finite number above 0; got 0"),
        ({"nnz_per_row": math.nan}, "nnz_per_row: expected a finite number above 0; got nan"),
        ({"query_us": math.inf}, "query_us: expected a finite number above 0"),
        ({"query_us": 10.0}, "query_us: expected n_docs and cost with it"),
        ({"query_us": 10.0, "n_docs": 5}, "query_us: expected n_docs and cost with it"),
        ({"flops_per_document": 1.0, "n_docs": 5}, "query_us: expected n_docs and cost with it, and only with it"),
        ({"flops_per_document": 1.0, "n_docs": 5, "cost": float}, "query_us: expected n_docs and cost with it"),
        ({"query_us": 10.0, "n_docs": 0, "cost": float}, "n_docs: expected a whole number of at least 1; got 0"),
        ({"query_us": 10.0, "n_docs": 5.5, "cost": float}, "n_docs: expected a whole number of at least 1; got 5.5"),
        ({"query_us": 3.0, "n_docs": 9, "cost": lambda n: 5 + n}, "expected more than the 6.0 µs of a query that"),
        ({"query_us": 3.0, "n_docs": 9, "cost": lambda n: n / (n + 9)}, "cost: expected a function that grows"),
    ],
)
def test_what_is_no_target_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        FlopsBudget(**settings)


def test_more_than_every_dimension_of_every_row_is_refused():
    with pytest.raises(ConfigError, match="budget: expected at most dim = 8 FLOPs per document; got 9"):
        FlopsBudget(flops_per_document=9.0).share(8)
