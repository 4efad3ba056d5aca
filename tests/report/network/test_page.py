"""Layers as a page with a graph: complete, escaped, with nothing from elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as tree
from pathlib import Path

from network_facts import FACTS, layer

from audioprune.report.network.page import color_of, graph_of, write_network_page


def _luminance(color: str) -> float:
    levels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_needs_nothing_else_and_is_escaped(tmp_path: Path) -> None:
    evil = layer("<script>x</script>", reason="a & b < c", after=["inner"])
    facts = {**FACTS, "model": "<b>Net</b>", "layers": [*FACTS["layers"], evil]}
    text = write_network_page(tmp_path / "n.html", facts).read_text(encoding="utf-8")
    assert "<script" not in text and "<b>" not in text and "&lt;script&gt;" in text
    assert not re.search(r"(?:src|href)=|url\(|@import", text)
    picture = tree.fromstring(re.search(r"<svg.*?</svg>", text, re.DOTALL).group())
    names = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"input", "inner", "outer", "<script>x</script>", "output"} <= set(names)


def test_the_same_facts_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_network_page(tmp_path / name, FACTS) for name in ("a.html", "b.html"))
    assert one.read_bytes() == two.read_bytes()


def test_lines_join_layers_and_carry_the_colour_of_their_group() -> None:
    graph = graph_of(FACTS)
    assert [line["color"] for line in graph["lines"]] == ["", color_of(1), ""]
    assert [box["text"] for box in graph["boxes"]] == ["input", "inner", "outer", "output"]
    rows = [box["y"] for box in graph["boxes"]]
    assert rows == sorted(rows) and graph["height"] > rows[-1]


def test_a_line_that_passes_a_box_goes_around_it_by_a_lane_of_its_own() -> None:
    layers = [layer("a"), layer("b", after=["a"]), layer("c", after=["a", "b"])]
    skips = [*layers, layer("d", after=["a", "c"])]
    graph = graph_of({**FACTS, "layers": skips, "last": ["d"]})
    around = [line["path"] for line in graph["lines"] if "H" in line["path"]]
    lanes = {re.search(r"Q(\S+) ", path).group(1) for path in around}
    assert len(around) == 2 and len(lanes) == 2
    left = graph["boxes"][0]["x"]
    assert all(0 < float(lane) < left for lane in lanes)


def test_white_text_can_be_read_on_every_colour() -> None:
    colors = [color_of(number) for number in range(1, 30)]
    assert len(set(colors)) > 25
    plain = [color for color in colors if color.startswith("#")]
    # 3 : 1 is what the guidelines ask of bold text; hues beyond the palette are darker still
    assert min(1.05 / (_luminance(color) + 0.05) for color in plain) >= 3
