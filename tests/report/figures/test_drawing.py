"""Figures: the numbers in the CSV beside each, the footer, the letters of panels."""

from __future__ import annotations

import csv
from pathlib import Path

from fake_runs import drawn_rows

from audioprune.report.figures.drawing import (
    Line,
    Panel,
    first_of,
    footer_of,
    lettered,
    line_figure,
)
from audioprune.report.runs.entry import Value

PNG = b"\x89PNG\r\n\x1a\n"


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_lines_and_their_csv(tmp_path) -> None:
    line = Line("FDNN", ((0.0, Value(1.0)), (1.0, Value(0.5, 0.1, 2)), (2.0, Value(None))), "desk")
    panels = [Panel("(a)", "left (%)", "percent", (line,), ("Unprocessed", 0.25))]
    drawn = line_figure(tmp_path, "lines", panels, 1, "iteration", "A caption.")
    rows = _read(drawn.csv)
    assert [(row["line"], row["x"], row["mean"], row["std"]) for row in rows] == [
        ("FDNN", "0", "100", ""),
        ("FDNN", "1", "50", "10"),
        ("FDNN", "2", "", ""),
        ("Unprocessed", "", "25", ""),
    ]
    dots = drawn_rows(drawn, "point")
    assert [(row["x"], row["y"], row.get("low"), row.get("high")) for row in dots] == [
        (0.0, 100.0, None, None),
        (1.0, 50.0, 40.0, 60.0),
    ]
    assert drawn_rows(drawn, "line") == dots and drawn_rows(drawn, "rule")[-1]["y"] == 25.0
    assert rows[0]["scale"] == "desk, not a reproduction" and "from 100.00 to 50.00" in drawn.alt
    before = drawn.png.read_bytes()
    assert before.startswith(PNG) and b"Software" not in before
    assert (
        line_figure(tmp_path, "lines", panels, 1, "iteration", "A caption.").png.read_bytes()
        == before
    )


def test_the_footer_names_every_scale_once() -> None:
    assert footer_of(["desk", "paper", "desk", ""]) == "Scale: desk, not a reproduction | paper"


def test_panels_are_lettered_by_their_place_in_the_paper() -> None:
    assert lettered(["one", "two"]) == ("(a) one", "(b) two")


def test_a_caption_says_how_many_tensors_are_drawn() -> None:
    assert first_of(80, 80) == ""
    assert first_of(80, 96) == " The first 80 of 96 tensors are drawn; the CSV holds all."
