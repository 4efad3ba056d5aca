"""Figures in the page: the same points in fewer bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from audioprune.report.page.pictures import embedded


def test_a_figure_keeps_every_point(tmp_path: Path) -> None:
    points = np.zeros((60, 80, 3), np.uint8)
    points[20:40, :, 1] = 200
    points[::7, ::5] = 255
    path = tmp_path / "a.png"
    Image.fromarray(points).save(path, compress_level=0)
    kind, data = embedded(path).split(",")
    assert kind == "data:image/webp;base64" and len(data) < path.stat().st_size
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert np.array_equal(np.asarray(image), points)


def test_what_is_no_image_is_embedded_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"not drawn")
    assert embedded(path) == "data:image/png;base64," + base64.b64encode(b"not drawn").decode()
