"""How a drawn figure stands in the page: ``markup`` gives its HTML.

A chart stands as the drawing that it is, in the colours of the page; a figure without one, as a
picture of pixels.
"""

from __future__ import annotations

import base64
import html

from audioprune.report.figures.drawing import Figure


def markup(figure: Figure, anchor: str, live: bool = False) -> str:
    """Return a figure without its caption.

    Args:
        figure: What was drawn.
        anchor: Value of ``id``, unlike any other of the page.
        live: Whether a chart answers to the mouse; the page then needs ``runtime_script``.
    """
    if figure.chart:
        return figure.chart.fragment(anchor, live)
    data = base64.b64encode(figure.png.read_bytes()).decode("ascii")
    alt = html.escape(figure.alt)
    return f'<img id="{html.escape(anchor)}" alt="{alt}" src="data:image/png;base64,{data}">'
