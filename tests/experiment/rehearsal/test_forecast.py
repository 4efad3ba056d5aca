"""Units of the whole run times what one took; what is left belongs to the last open unit."""

from __future__ import annotations

from audioprune.experiment.rehearsal.forecast import (
    REST,
    Forecast,
    StepForecast,
    UnitCost,
    filled,
    unit_costs,
)
from audioprune.protocols.work import Work


def test_rest_is_shared_by_the_last_unit_that_was_not_timed() -> None:
    whole, few = [Work("a", 100), Work("b", 50)], [Work("a", 2), Work("b", 5)]
    assert unit_costs(whole, few, {"a": 0.5}, 10.0) == (
        UnitCost("a", 0.5, 100),
        UnitCost("b", 2.0, 50),
    )


def test_rest_happens_once_where_all_units_were_timed() -> None:
    found = unit_costs([Work("a", 100)], [Work("a", 2)], {"a": 0.5}, 3.0)
    assert found == (UnitCost("a", 0.5, 100), UnitCost(REST, 3.0, 1))
    assert unit_costs([], [], {}, 3.0) == (UnitCost(REST, 3.0, 1),)


def test_a_step_that_was_left_out_costs_what_others_cost() -> None:
    run = StepForecast("x", 1, (UnitCost("a", 0.5, 4),))
    out = StepForecast("y", 10, (UnitCost("a", 0.0, 8), UnitCost("b", 0.0, 1)), measured=False)
    assert filled([run, out])[1].units == (UnitCost("a", 0.5, 8), UnitCost("b", 0.0, 1))
    assert filled([run, out])[1].total_s == 40.0


def test_the_longest_part_is_named() -> None:
    steps = (
        StepForecast("x", 1, (UnitCost("a", 1.0, 10),), disk_bytes=5),
        StepForecast("y", 3, (UnitCost("a", 1.0, 9), UnitCost("b", 1.0, 1)), disk_bytes=7),
    )
    forecast = Forecast(steps)
    assert forecast.total_s == 40.0 and forecast.disk_bytes == 26
    assert forecast.dominating() == ("y", "a", 27 / 40)
    assert Forecast(()).dominating() is None
