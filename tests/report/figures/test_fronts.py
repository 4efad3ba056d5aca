"""Figures of costs and scores: what is joined, marked and numbered, and where."""

from __future__ import annotations

from audioprune.report.figures.fronts import Front, Mark, front_chart, numbers
from audioprune.report.figures.views import log_axis, score_axis


def _mark(place: int, cost: float | None, score: float | None, kind: str = "") -> Mark:
    costs, scores = {"MB": cost}, {"STOI (%)": score}
    return Mark(str(place), f"model {place}", "a", kind, str(place), costs=costs, scores=scores)


def _layers(chart, kind: str, place: int = 0) -> list[dict]:
    layers = chart.spec["concat"][place]["layer"]
    return [layer for layer in layers if layer["mark"]["type"] == kind]


def test_models_without_a_cost_or_score_have_no_place() -> None:
    marks = [_mark(0, 1.0, 50.0), _mark(1, None, 60.0), _mark(2, 0.0, 60.0), _mark(3, 2.0, None)]
    chart = front_chart(marks, [Front("MB", "STOI (%)")], alt="")
    (dots,) = _layers(chart, "point")
    assert [row["row"] for row in dots["data"]["values"]] == ["0"]
    linear = front_chart(marks, [Front("MB", "STOI (%)", log=False)], alt="")
    assert len(_layers(linear, "point")[0]["data"]["values"]) == 2, "nothing has a place here"


def test_the_line_joins_what_it_is_told_and_dots_say_their_name() -> None:
    marks = [_mark(place, 1.0 + place, 50.0 + place) for place in range(4)]
    chart = front_chart(marks, [Front("MB", "STOI (%)", [0, 3, 9], ("input", 40.0))], alt="")
    (line,) = _layers(chart, "line")
    assert [row["x"] for row in line["data"]["values"]] == [1.0, 4.0]
    assert _layers(chart, "rule")[0]["data"]["values"] == [{"y": 40.0, "level": "input"}]
    row = _layers(chart, "point")[0]["data"]["values"][2]
    assert row["told"] == "model 2\nMB: 3\nSTOI (%): 52" and row["row"] == "2"
    size = _layers(chart, "point")[0]["encoding"]["size"]
    assert size["condition"]["test"] == "marked !== '' && datum.row === marked"


def test_kinds_have_shapes_and_a_legend_of_their_own() -> None:
    marks = [_mark(0, 1.0, 50.0, "pruned"), _mark(1, 2.0, 51.0, "dense")]
    (dots,) = _layers(front_chart(marks, [Front("MB", "STOI (%)")], alt=""), "point")
    shape = dots["encoding"]["shape"]
    assert (shape["field"], shape["scale"]["domain"]) == ("kind", ["pruned", "dense"])
    assert "scale" in dots["encoding"]["color"]


def test_numbers_cover_neither_a_dot_nor_one_another() -> None:
    rows = [{"x": 1.0 + place / 5000, "y": 50.0, "text": str(place)} for place in range(12)]
    x, y = log_axis("MB", [1.0, 2.0]), score_axis("STOI", [49.0, 51.0])
    shown = [layer["data"]["values"][0]["text"] for layer in numbers(rows, x, y, 100, 100)]
    assert 2 <= len(shown) < 12, "those without a place are left out"
    assert len(numbers([rows[0], {**rows[1], "x": 1.9}], x, y, 300, 100)) == 2
    assert numbers([{**rows[0], "text": ""}], x, y, 100, 100) == []
