"""What figures are built from: axes and their ticks, layers, sheets."""

from __future__ import annotations

from typing import Any

import pytest

from audioprune.report.figures.chart import Chart
from audioprune.report.figures.theme import Key, key_of, level_key
from audioprune.report.figures.views import (
    Axis,
    bands,
    bars,
    beside,
    blocks,
    dots,
    level,
    lines,
    log_axis,
    number,
    plot_width,
    range_of,
    rings,
    rule,
    score_axis,
    sheet,
    squares,
    stripes,
    texts,
    view,
    whiskers,
    whole_axis,
)

ROW = {"x": 1.0, "y": 2.0, "name": "a", "low": 1.0, "high": 3.0, "told": "a\nmuch", "text": "1"}


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1.0, 100.0], ["1", "3", "10", "30", "100"]),
        ([0.02, 0.05], ["0.02", "0.03", "0.05"]),
        ([3e6, 9e9], ["1e7", "1e8", "1e9", "1e10"]),
        ([5.0, 5.0], ["5"]),
    ],
)
def test_logarithmic_axes_hold_their_values_and_have_round_ticks(
    values: list[float], ticks: list[str]
) -> None:
    axis = log_axis("Size (MB)", values)
    assert axis.low < min(values) and axis.high > max(values) and axis.log
    assert set(ticks) <= set(axis.ticks.values()) and len(axis.ticks) <= 5
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 1], [0, 1]),
        ([1, 40], [10, 20, 30, 40]),
        ([0, 6], [0, 1, 2, 3, 4, 5, 6]),
        ([3], [3, 4]),
    ],
)
def test_whole_axes_have_whole_ticks_alone(values: list[float], ticks: list[int]) -> None:
    axis = whole_axis("Epoch", values)
    assert [tick for tick in axis.ticks if tick <= axis.high] == ticks[: len(axis.ticks)]
    assert all(float(tick).is_integer() for tick in axis.ticks)


def test_all_ticks_of_an_axis_are_drawn() -> None:
    axis = whole_axis("Epoch", [0, 10])
    rows = [{"x": each, "y": 1.0, "name": "a"} for each in range(11)]
    svg = Chart(sheet([view(axis, Axis("Loss"), [lines(rows, key_of(["a"]))])])).svg
    assert [f"{tick:g}" for tick in axis.ticks] == ["0", "2", "4", "6", "8", "10"]
    assert all(f">{tick:g}</text>" in svg for tick in axis.ticks)


def test_numbers_are_printed_as_they_are_read() -> None:
    found = [number(value) for value in (0, 0.005, 3, 99999, 2e5, 1.5e-7)]
    assert found == ["0", "0.005", "3", "99999", "2e5", "1.5e-7"]


def test_a_score_axis_leaves_room_at_both_ends() -> None:
    axis = score_axis("STOI (%)", [60.0, 70.0])
    assert (axis.low, axis.high) == (59.0, 71.0)
    assert score_axis("one value", [5.0]).low < 5.0 < score_axis("one value", [5.0]).high


def _layers() -> list[dict[str, Any]]:
    key, levels = key_of(["a", "b"]), level_key(["limit"])
    rows = [ROW, {**ROW, "x": 2.0, "hollow": True}]
    made = [lines(rows, key), bands(rows, key), range_of(rows), rings(rows), bars(rows, key)]
    made += [*dots(rows, key), *whiskers(rows, key), *whiskers(rows, key, flat=True)]
    made += [level(1.0, "limit", levels), level(1.0, "limit", levels, upright=True), rule(0.0)]
    return [*made, texts(rows), beside(rows), stripes([(0, 1)]), blocks(rows, key)]


def test_every_layer_keeps_its_data_and_has_axes_with_titles() -> None:
    x, y = Axis("Time (s)"), Axis("Level (dB)")
    made = view(x, y, _layers(), title="A title")
    assert made["title"]["text"] == ["A title"] and len(made["layer"]) > 15
    titles = {
        (name, " ".join(each["axis"]["title"]))
        for layer in made["layer"]
        for name, each in layer["encoding"].items()
        if "axis" in each
    }
    assert titles == {("x", "Time (s)"), ("y", "Level (dB)")}
    full, hollow = (
        layer
        for layer in made["layer"]
        if layer["mark"].get("filled") is not None and "size" in layer["encoding"]
    )
    assert full["data"]["values"] == [ROW] and hollow["data"]["values"][0]["hollow"]
    assert hollow["mark"]["fill"] == "#ffffff" and not hollow["mark"]["filled"]
    ends = [layer["encoding"]["x2"] for layer in made["layer"] if "x2" in layer["encoding"]]
    assert {"field": "high"} in ends


def test_rows_without_an_interval_have_none() -> None:
    assert whiskers([{"x": 1.0, "y": 2.0}, {"x": 1.0, "low": None, "high": 3.0}]) == []


def test_intervals_end_at_the_edges_of_a_fixed_axis() -> None:
    free, fixed = (
        view(Axis("x"), y, whiskers([ROW])) for y in (Axis("y"), Axis("y", low=0.0, high=2.0))
    )
    assert not any(layer["mark"].get("clip") for layer in free["layer"])
    assert all(layer["mark"]["clip"] for layer in fixed["layer"])


def test_squares_have_a_legend_with_its_unit() -> None:
    layer = squares([{"x": "a", "y": "b", "value": 3}], "Clips (%)", 0, 100, "blues")
    assert layer["encoding"]["color"]["legend"]["title"] == "Clips (%)"


def test_a_sheet_shares_its_legends_and_says_its_scale() -> None:
    made = sheet([view(Axis("x"), Axis("y"), [rule(0.0)])], "Scale: " + "desk " * 40, columns=2)
    assert made["columns"] == 2 and len(made["title"]["text"]) > 1
    assert set(made["resolve"]["scale"].values()) == {"shared"} and "params" not in made
    assert 2 * plot_width(2) < plot_width(1)


def test_a_key_without_colours_makes_dots_of_shapes_alone() -> None:
    (layer,) = dots(
        [ROW], Key(("a",), colors=("#000000",)), Key(("k",), shapes=("square",), field="kind")
    )
    assert layer["encoding"]["color"]["field"] == "name"
    assert layer["encoding"]["shape"]["field"] == "kind"
