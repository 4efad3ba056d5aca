"""Charts: files that say the same again, parts of a page, names of any kind."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
import vl_convert
from fake_runs import size_of

from audioprune.errors import OutputError
from audioprune.report.figures import chart as module
from audioprune.report.figures.chart import Chart, runtime_script
from audioprune.report.figures.fronts import Front, Mark, front_chart
from audioprune.report.figures.theme import GROUND, INK, WIDTH

HOSTILE = (
    '<script>alert("x")</script>',
    "]]></svg>",
    "a & b' \u1b5b",
    "\x1b[31mred",
    "../up",
    "two\nlines",
    "url(#clip0)",
)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def chart() -> Chart:
    """A front of models whose names are as bad as names can be."""
    marks = [
        Mark(
            row=f"row-{place}",
            name=name,
            group=name,
            text=str(place),
            hollow=place == 2,
            costs={"MB": 2.0**place},
            scores={"STOI (%)": 60.0 + place},
            spreads={"STOI (%)": 1.5},
        )
        for place, name in enumerate(HOSTILE)
    ]
    view = Front("MB", "STOI (%)", [0, 3, 6], ("unprocessed", 50.0))
    return front_chart(marks, [view], footer="Scale: <desk>", alt='An "alt" & more')


def _texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_name_is_shown_once_and_as_text(chart: Chart) -> None:
    root = ElementTree.fromstring(chart.svg)
    assert not list(root.iter(f"{SVG}script")) and not list(root.iter("script"))
    texts = Counter(_texts(chart.svg))
    shown = [name.replace("\x1b", "␛") for name in HOSTILE]
    assert all(texts[name] == 1 for name in (*shown, "Scale: <desk>", "unprocessed"))
    told = [node.get("aria-label") for node in root.iter(f"{SVG}path") if node.get("aria-label")]
    assert len(told) == len(HOSTILE) and told[0].startswith("<script>") and "MB: 1" in told[0]


def test_axes_say_what_is_on_them(chart: Chart) -> None:
    assert {"MB", "STOI (%)"} <= set(_texts(chart.svg))


def test_letters_can_be_read_at_the_width_of_a_column(chart: Chart) -> None:
    root = ElementTree.fromstring(chart.svg)
    sizes = [
        float(found[1])
        for node in root.iter(f"{SVG}text")
        if (found := re.search(r"([\d.]+)px", node.get("font-size") or ""))
    ]
    column = 85 / 25.4 * 72  # points
    width = float(root.get("width") or 0)
    assert width <= 1.05 * WIDTH and sizes and min(sizes) * column / width >= 5.9


def test_the_same_chart_gives_the_same_files(chart: Chart, tmp_path: Path) -> None:
    png, svg, pdf = chart.save(tmp_path / "one" / "a.b")
    again = Chart(json.loads(json.dumps(chart.spec)), chart.alt)
    other = again.save(tmp_path / "two" / "a.b")
    assert [path.name for path in (png, svg, pdf)] == ["a.b.png", "a.b.svg", "a.b.pdf"]
    assert png.read_bytes() == other[0].read_bytes() and svg.read_text() == other[1].read_text()
    assert pdf.read_bytes().startswith(b"%PDF-") and pdf.stat().st_size > 5000
    (box,) = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
    width, height = size_of(png)
    root = ElementTree.fromstring(svg.read_text())
    assert (width, height) == (3 * int(root.get("width")), 3 * int(root.get("height")))
    assert width >= 85 / 25.4 * 285, "fine enough for paper"
    assert [float(each) for each in box] == [width / 4, height / 4], "points: three of four pixels"
    assert not list(tmp_path.rglob("*.tmp*"))


def test_an_unknown_format_is_refused(chart: Chart, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected formats of png, svg, pdf, got gif"):
        chart.save(tmp_path / "a", ("png", "gif"))
    assert not list(tmp_path.iterdir())


def test_a_part_of_a_page_holds_the_specification_and_its_picture(chart: Chart) -> None:
    part = chart.fragment("fig-1")
    found = re.fullmatch(
        r'<div class="chart" id="fig-1"><div class="chart-still" role="img" '
        r'aria-label="An &quot;alt&quot; &amp; more">(<svg.*</svg>)</div>'
        r'<script type="application/json">([^<>&]*)</script></div>',
        part,
        re.S,
    )
    assert found
    spec = json.loads(found[2])
    rows = [row["row"] for data in spec["data"] for row in data.get("values", []) if "row" in row]
    assert sorted(set(rows)) == [f"row-{place}" for place in range(7)]
    assert {"name": "marked", "value": ""} in spec["signals"]
    assert "://" not in part, "nothing that a network could hold"
    assert 'id="fig-1-clip0"' in found[1] and '"url(#fig-1-clip0)"' in found[1]
    assert ' id="clip' not in found[1] and '="url(#clip' not in found[1]
    for text in (found[1], found[2]):
        assert f'"{INK}"' not in text and f'"{GROUND}"' not in text
    assert "var(--chart-ink, #1b1f24)" in found[1] and "var(--chart-ink, #1b1f24)" in found[2]


def test_the_library_is_made_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda words: made.append(words) or "lib")
    for _ in range(2):
        module._vega_library.cache_clear()
        script = runtime_script()
    module._vega_library.cache_clear()
    assert made == ["window.vegaEmbed = vegaEmbed;"]
    assert script.startswith("lib\n") and "chart:pick" in script
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".js"]


@pytest.mark.slow
def test_the_library_stands_in_a_page() -> None:
    module._vega_library.cache_clear()
    script = runtime_script()
    assert len(script) < 1_000_000 and "</script" not in script and "<!--" not in script
