"""A table fits its terminal: texts are wrapped, columns left out are named, names are harmless."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioprune.terminal.grid import Column, Grid, draw, lines
from audioprune.terminal.streams import cells, plain

GRID = Grid(
    (
        Column("Model"),
        Column("STOI (%)", right=True, weight=1),
        Column("File", right=True, weight=2),
        Column("Verdict"),
    ),
    (("FDNN compressed", "75.7", "0.33 MB", "no better than mixture"), ("Mixture", "-", "-", "-")),
    title="models",
    notes=("a note",),
)


def _texts(grid: Grid, width: int, where: str = "") -> list[str]:
    return [line.text for line in lines(grid, width, where)]


def test_a_wide_terminal_shows_all_in_one_line_a_row() -> None:
    found = _texts(GRID, 100)
    assert found[0] == "models" and found[-1] == "a note"
    assert found[1].split() == ["Model", "STOI", "(%)", "File", "Verdict"]
    assert found[3] == "FDNN compressed      75.7  0.33 MB  no better than mixture"
    assert found[4].split() == ["Mixture", "-", "-", "-"]


def test_what_does_not_fit_is_left_out_and_named() -> None:
    found = _texts(GRID, 44, "scores.csv has it")
    assert "File" not in found[1] and "STOI" in found[1]
    assert "not shown for want of width: File;" in " ".join(found)
    assert "scores.csv has it" in " ".join(found)
    narrow = _texts(GRID, 36)
    assert "STOI" not in narrow[1] and "Model" in narrow[1] and "Verdict" in narrow[1]


def test_long_texts_are_wrapped_before_columns_are_left_out() -> None:
    found = _texts(GRID, 50)
    assert "File" in found[1] and any(line.strip() == "mixture" for line in found)


def test_blocks_stand_above_their_first_row() -> None:
    grid = Grid((Column("a"),), (("1",), ("2",)), blocks={0: "first", 1: "second"})
    assert _texts(grid, 80) == ["a", "-", "first", "1", "second", "2"]


@given(
    st.lists(
        st.tuples(st.text(max_size=40), st.text(max_size=20), st.text(max_size=60)), max_size=2
    ),
    st.integers(40, 120),
)
@settings(max_examples=15, deadline=None)
def test_no_line_is_wider_and_none_holds_what_steers_a_terminal(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    grid = Grid((Column("a"), Column("b", True, 1), Column("c")), rows, title="\x1b[31mx")
    for line in lines(grid, width):
        assert plain(line.text) == line.text and cells(line.text) <= width


def test_a_name_that_steers_a_terminal_shows_as_text() -> None:
    (row,) = _texts(Grid((Column("a"),), (("\x1b[31m<b>\n`x`\u202e",),)), 80)[2:]
    assert row == "\\x1b[31m<b>\\n`x`\\u202e"


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    draw(Grid(GRID.columns, GRID.rows, colours={0: "bad"}), stream=stream)
    assert ("\x1b[" in stream.getvalue()) == coloured and "FDNN" in stream.getvalue()
    pipe = io.StringIO()
    draw(GRID, stream=pipe)
    assert "\x1b" not in pipe.getvalue()
