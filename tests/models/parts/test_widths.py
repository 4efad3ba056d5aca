"""Whether arguments are checked and the nearest width is found."""

from __future__ import annotations

import pytest

from audioprune.errors import ConfigError
from audioprune.models.parts.widths import check_sixteenths, check_whole, nearest_width


@pytest.mark.parametrize("value", [0, 11, 2.0, True, "3", None, float("nan")])
def test_a_value_that_is_no_whole_number_in_range_is_refused(value):
    with pytest.raises(
        ConfigError,
        match="expected depth as a whole number from 1 to 10, got .*; change model.depth",
    ):
        check_whole("depth", value, 1, 10)


def test_limits_are_allowed():
    assert [check_whole("depth", value, 1, 10) for value in (1, 10)] == [1, 10]


@pytest.mark.parametrize("value", [0, -1, 0.1, 4.0625, float("nan"), float("inf"), True, "1"])
def test_a_multiplier_that_is_no_sixteenth_in_range_is_refused(value):
    with pytest.raises(ConfigError, match="expected width as a multiple of 1/16"):
        check_sixteenths("width", value, 4)


@pytest.mark.parametrize(("value", "sixteenths"), [(1 / 16, 1), (0.25, 4), (1, 16), (4.0, 64)])
def test_a_multiplier_is_returned_in_sixteenths(value, sixteenths):
    assert check_sixteenths("width", value, 4) == sixteenths


@pytest.mark.parametrize(
    ("params", "width"), [(1, 1), (100, 10), (109, 10), (111, 11), (900, 30), (850, 29)]
)
def test_nearest_width_of_a_square(params, width):
    assert nearest_width(lambda w: w * w, params, 30) == width


def test_of_two_equally_near_widths_the_smaller_one_is_returned():
    assert nearest_width(lambda w: 10 * w, 15, 30) == 1


@pytest.mark.parametrize("params", [0, -5, 1.5, True])
def test_a_wrong_number_of_parameters_is_refused(params):
    with pytest.raises(ConfigError, match="whole number above 0"):
        nearest_width(lambda w: w, params, 30)


def test_more_parameters_than_the_largest_model_are_refused():
    with pytest.raises(ConfigError, match="expected at most 900 parameters"):
        nearest_width(lambda w: w * w, 901, 30)
