"""A table in a terminal: columns that fit, and the names of those that do not: ``Grid``.

Long texts are wrapped first, then columns are left out by their weight. `draw` prints it, on a
terminal with colours by rich. Nothing is computed here; cells are texts.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from audioprune.terminal import streams
from audioprune.terminal.streams import cells, cut, plain

_GAP = 2
_LEAST_TEXT = 16
_MOST_WORD = 28


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        header: Its name.
        right: Whether its cells are numbers.
        weight: The larger, the sooner it is left out; 0 for never.
    """

    header: str
    right: bool = False
    weight: float = 0.0


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        columns: Its columns.
        rows: Its cells, row by row.
        title: A line above it.
        blocks: Titles above rows, by the place of the first row below them.
        notes: Lines below it.
        colours: Of rows by their places: ``"bad"``, or nothing.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""
    blocks: Mapping[int, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    colours: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One line of a drawn table.

    Attributes:
        text: What it says.
        style: ``"head"``, ``"rule"``, ``"title"``, ``"note"``, a colour of a row, or nothing.
    """

    text: str
    style: str = ""


def lines(grid: Grid, width: int, where: str = "") -> list[Line]:
    """Return a table as lines of at most so many columns.

    Args:
        grid: The table.
        width: Columns of a line.
        where: Where the columns that do not fit are found, such as the name of a CSV file.
    """
    body = [[" ".join(plain(cell).split()) for cell in row] for row in grid.rows]
    kept, widths = _fitting(grid.columns, body, width)
    heads = [grid.columns[place].header for place in kept]
    found = [Line(each, "title") for each in _wrapped(grid.title, width)]
    found += [Line(text, "head") for text in _row(heads, kept, widths, grid.columns)]
    found.append(Line((" " * _GAP).join("-" * each for each in widths), "rule"))
    for place, row in enumerate(body):
        if place in grid.blocks:
            found += [Line(each, "title") for each in _wrapped(grid.blocks[place], width)]
        cells_of_row = [row[each] for each in kept]
        colour = grid.colours.get(place, "")
        found += [Line(text, colour) for text in _row(cells_of_row, kept, widths, grid.columns)]
    gone = [each.header for place, each in enumerate(grid.columns) if place not in kept]
    notes = list(grid.notes)
    if gone:
        there = f"; {where}" if where else ""
        notes.append(f"not shown for want of width: {', '.join(gone)}{there}")
    for note in notes:
        found += [Line(each, "note") for each in _wrapped(note, width)]
    return found


def _fitting(
    columns: Sequence[Column], body: Sequence[Sequence[str]], width: int
) -> tuple[list[int], list[int]]:
    """Return the places of the columns that fit, and how wide each of them is."""
    natural = [
        max([cells(column.header), *(cells(row[place]) for row in body)])
        for place, column in enumerate(columns)
    ]
    least = [_least(column, place, body) for place, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while True:
        room = width - _GAP * (len(kept) - 1)
        if sum(least[place] for place in kept) <= room:
            return kept, _shared(columns, kept, natural, least, room)
        droppable = [place for place in kept if columns[place].weight > 0]
        if not droppable:
            return kept, _squeezed([least[place] for place in kept], room)
        kept.remove(max(droppable, key=lambda place: (columns[place].weight, place)))


def _least(column: Column, place: int, body: Sequence[Sequence[str]]) -> int:
    """Return how narrow a column may be: that of its numbers, or a text's longest word."""
    texts = [column.header, *(row[place] for row in body)]
    whole = max(map(cells, texts))
    if column.right:
        return max([_least_header(column.header), *(cells(row[place]) for row in body)])
    longest = max((cells(word) for text in texts for word in text.split()), default=0)
    return min(whole, max(_LEAST_TEXT, min(longest, _MOST_WORD)))


def _least_header(text: str) -> int:
    """Return the least width at which a header takes two lines."""
    width = max(cells(word) for word in text.split())
    while len(textwrap.wrap(text, width)) > 2:
        width += 1
    return width


def _shared(
    columns: Sequence[Column],
    kept: Sequence[int],
    natural: Sequence[int],
    least: Sequence[int],
    room: int,
) -> list[int]:
    """Give what is left of a line to the columns that want more: texts first, by their need."""
    widths = {place: least[place] for place in kept}
    spare = room - sum(widths.values())
    order = sorted(kept, key=lambda each: (columns[each].right, natural[each] - least[each]))
    for place in order:
        wanting = [
            each
            for each in kept
            if widths[each] < natural[each] and columns[each].right == columns[place].right
        ]
        if place in wanting:
            more = min(natural[place] - least[place], spare // len(wanting))
            widths[place] += more
            spare -= more
    return [widths[place] for place in kept]


def _squeezed(widths: Sequence[int], room: int) -> list[int]:
    """Make columns that may not be left out narrower, the widest first."""
    found = list(widths)
    while sum(found) > room and max(found) > 4:
        found[found.index(max(found))] -= 1
    return found


def _row(
    texts: Sequence[str], kept: Sequence[int], widths: Sequence[int], columns: Sequence[Column]
) -> list[str]:
    """Return one row in as many lines as its longest cell needs."""
    wrapped = [_cell(text, width) for text, width in zip(texts, widths, strict=True)]
    height = max(map(len, wrapped), default=1)
    found = []
    for level in range(height):
        parts = []
        for place, cell, width in zip(kept, wrapped, widths, strict=True):
            text = cell[level] if level < len(cell) else ""
            space = " " * (width - cells(text))
            parts.append(space + text if columns[place].right else text + space)
        found.append((" " * _GAP).join(parts).rstrip())
    return found


def _cell(text: str, width: int) -> list[str]:
    if cells(text) <= width:
        return [text]
    parts = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    return [cut(part, width) for part in parts]


def _wrapped(text: str, width: int) -> list[str]:
    found = textwrap.wrap(plain(text), width, break_long_words=False, break_on_hyphens=False)
    return [cut(each, width) for each in found]


def draw(grid: Grid, where: str = "", stream: TextIO | None = None) -> None:
    """Print a table as wide as the terminal, or in 100 columns where there is none.

    Args:
        grid: The table.
        where: Where the columns that do not fit are found.
        stream: Where it goes; None for standard output.
    """
    stream = sys.stdout if stream is None else stream
    rich = streams.is_rich(stream)
    width = streams.width(streams.MOST_COLUMNS if not rich else 200)
    found = lines(grid, width, where)
    if not rich:
        print("\n".join(line.text for line in found), file=stream)
        return
    from rich.text import Text

    console = streams.console(stream)
    for line in found:
        text = line.text.replace("-", "─") if line.style == "rule" else line.text
        console.print(Text(text, style=_STYLES.get(line.style, "")), soft_wrap=True)


_STYLES = {
    "head": "bold",
    "title": "bold cyan",
    "rule": "bright_black",
    "note": "bright_black",
    "bad": "red",
}
