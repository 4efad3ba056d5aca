"""A figure as one Vega-Lite specification with its data: ``Chart``.

``save`` writes it as png, svg and pdf, ``fragment`` gives it as a part of a page;
``runtime_script`` is what a page needs once for charts that answer to the mouse, and ``STYLE``
their colours. Nothing of this needs a network. What is drawn is decided by the specification.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from audioprune.errors import OutputError
from audioprune.files import write_atomic
from audioprune.paths import cache_folder
from audioprune.report.figures.png import packed
from audioprune.report.figures.theme import CONFIG, PAGE_COLORS, page_style
from audioprune.report.runs.signs import visible

FORMATS = ("png", "svg", "pdf")
SCALE = 3.0
"""Pixels of a png per pixel of 1/96 inch: 288 dots per inch."""
_IDS = re.compile(r'(\bid="|="url\(#)(clip|gradient_)(\d+)')
_SIZE = re.compile(r'\b(width|height)="([\d.]+)"')
_SCRIPT = Path(__file__).parent.parent / "templates" / "charts.js"
STYLE = (
    f"""
.chart {{ {page_style(dark=False)} position: relative; }}
@media (prefers-color-scheme: dark) {{ .chart {{ {page_style(dark=True)} }} }}
"""
    + """\
.chart svg { display: block; width: 100%; max-width: 44rem; height: auto; }
.chart-note { position: absolute; z-index: 2; max-width: 20rem; padding: .25rem .5rem;
  border: 1px solid var(--chart-quiet); border-radius: 4px; background: var(--chart-ground);
  color: var(--chart-ink); font-size: .8rem; white-space: pre-line; overflow-wrap: anywhere;
  pointer-events: none; }
.chart-live .mark-symbol path[aria-label] { cursor: pointer; }
"""
)


@dataclass(frozen=True)
class Chart:
    """One figure.

    Attributes:
        spec: A Vega-Lite specification with its data, without ``config``. A datum with ``row``
            can be clicked.
        alt: What it shows, for those who cannot see it.
    """

    spec: Mapping[str, Any]
    alt: str = ""

    @cached_property
    def vega(self) -> dict[str, Any]:
        """The same as a specification of Vega, in the package's style."""
        return vega_of({**_visible(self.spec), "config": CONFIG})

    @cached_property
    def svg(self) -> str:
        """The picture as SVG, on a white ground."""
        return svg_of(self.vega)

    def save(self, stem: Path, formats: Sequence[str] = FORMATS) -> tuple[Path, ...]:
        """Write ``<stem>.<format>`` for every format.

        The same chart gives the same bytes, but for the order of the parts of a PDF.

        Args:
            stem: Path without an ending.
            formats: Any of ``FORMATS``.

        Raises:
            OutputError: A format is none of these, or the folder cannot be written.
        """
        drawn: dict[str, Callable[[str], bytes | str]] = {"png": png_of, "pdf": pdf_of, "svg": str}
        unknown = [each for each in formats if each not in drawn]
        if unknown:
            raise OutputError(
                f"{stem}: expected formats of {', '.join(FORMATS)}, got {unknown[0]}; choose one"
            )
        return tuple(
            write_atomic(stem.with_name(f"{stem.name}.{each}"), drawn[each](self.svg))
            for each in formats
        )

    def fragment(self, anchor: str) -> str:
        """Return the chart as HTML: its picture, and what ``runtime_script`` makes it live by.

        Args:
            anchor: Value of ``id``, unlike any other of the page.
        """
        picture = _IDS.sub(rf"\1{anchor}-\2\3", _of_page(self.svg))
        still = (
            f'<div class="chart-still" role="img" aria-label="{html.escape(visible(self.alt))}">'
        )
        # Compiled already: the browser has less to do, and nothing to warn of.
        data = _escaped(_in_page(self.vega))
        script = f'<script type="application/json">{data}</script>'
        picture = re.sub(r' xmlns(:xlink)?="[^"]*"', "", picture, count=2)  # a page knows them
        return (
            f'<div class="chart" id="{html.escape(anchor)}">{still}{picture}</div>{script}</div>'
        )


def runtime_script() -> str:
    """Return the content of the one script element that charts need.

    It holds vega-embed with all of Vega, and starts every chart of the page. A click on a point is
    the event ``chart:pick`` on the chart, which bubbles, with ``detail.row``;
    ``audiopruneCharts.mark(row)`` marks a row in all charts, ``null`` none.
    """
    return f"{_vega_library()}\n{_SCRIPT.read_text(encoding='utf-8')}"


@cache
def _vega_library() -> str:
    """Return Vega for a browser, once made from what vl-convert carries and then kept."""
    import vl_convert

    kept = (
        cache_folder()
        / f"vega-{vl_convert.get_vega_version()}-{vl_convert.get_vega_embed_version()}.js"
    )
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    made = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    try:
        write_atomic(kept, made)
    except OutputError:  # a cache that cannot be written is made again each time
        return made
    return made


def vega_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Compile a specification of Vega-Lite."""
    import vl_convert

    made: dict[str, Any] = vl_convert.vegalite_to_vega(dict(spec))
    return made


def svg_of(vega: Mapping[str, Any]) -> str:
    """Draw a specification of Vega; the first call of a process starts the library."""
    import vl_convert

    svg = str(vl_convert.vega_to_svg(dict(vega)))
    # The library counts these on from one picture to the next.
    known: dict[str, int] = {}
    return _IDS.sub(
        lambda found: f"{found[1]}{found[2]}{known.setdefault(found[3], len(known))}", svg
    )


def png_of(svg: str) -> bytes:
    """Return a picture of pixels."""
    import vl_convert

    return packed(bytes(vl_convert.svg_to_png(svg, scale=SCALE)))


def pdf_of(svg: str) -> bytes:
    """Return a page of its size: a pixel is three quarters of a point."""
    import vl_convert

    sized = _SIZE.sub(lambda found: f'{found[1]}="{0.75 * float(found[2]):g}"', svg, count=2)
    return bytes(vl_convert.svg_to_pdf(sized))


def _visible(value: Any) -> Any:
    """Return a specification in which signs that no one can see, and that end XML, are shown."""
    if isinstance(value, dict):
        return {key: _visible(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(each) for each in value]
    return visible(value) if isinstance(value, str) else value


def _of_page(svg: str) -> str:
    """Let the colours of a picture follow those of the page."""
    colors = "|".join(map(re.escape, PAGE_COLORS))
    painted = rf'(fill|stroke)="({colors})"'
    return re.sub(painted, lambda found: f'{found[1]}="{PAGE_COLORS[found[2]]}"', svg)


def _in_page(value: Any) -> Any:
    """Do the same with a specification, but for its data."""
    if isinstance(value, dict):
        return {
            key: each if key == "values" else _in_page(each)
            for key, each in value.items()
            if key != "$schema"
        }
    if isinstance(value, list):
        return [_in_page(each) for each in value]
    return PAGE_COLORS.get(value, value) if isinstance(value, str) else value


def _escaped(value: Any) -> str:
    """Write JSON that ends no script element."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
