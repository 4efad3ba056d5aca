"""docs/scale.md is what scripts/scale_page.py writes of the measurements in docs/scale/."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import scale_page  # noqa: E402


def test_the_page_is_written_from_the_measurements() -> None:
    written = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert written == scale_page.page(), "run: python scripts/scale_page.py"


def test_tables_of_a_gpu_take_the_place_of_the_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_page, "DATA", tmp_path)
    assert "No result of a GPU is here" in scale_page.page()
    speed = {"audio_s_per_s": 1000.4, "waiting": 0.01, "busy": 0.9, "peak_gb": 3.5, "items": 8}
    rows = [
        {"part": "machine", "device": "Made GPU", "torch": "9", "tiny": False},
        {"part": "parity", "name": "fdnn", "ok": True, "differences": {"score": 1e-6}},
        {"part": "throughput", "name": "fdnn", "ok": True, "bf16": speed, "seconds": 1},
        {"part": "packing", "name": "fdnn", "ok": False, "error": "no", "seconds": 2},
    ]
    (tmp_path / "gpu_check.jsonl").write_text("\n".join(map(json.dumps, rows)))
    growth = {"note": "Made.", "tables": [{"title": "T", "head": ["h"], "rows": [[1]]}]}
    (tmp_path / "growth.json").write_text(json.dumps(growth))
    page = scale_page.page()
    assert "On Made GPU with torch 9" in page and "| fdnn | 1.0e-06 | yes |" in page
    assert "| fdnn | bf16 | 1000 | 1.0% | 90% | 3.5 GB |" in page
    assert "| packing | fdnn | no | 2 s |" in page and "**T**" in page
