"""Scales: in words, and never read as a reproduction."""

from __future__ import annotations

from audioprune.report.runs.scales import honest_scale, scale_text


def test_scales_never_read_as_a_reproduction() -> None:
    assert honest_scale("desk; 20 mixtures") == "desk; 20 mixtures, not a reproduction"
    assert honest_scale("paper; 320000 mixtures") == "paper; 320000 mixtures"
    assert honest_scale(honest_scale("desk")) == honest_scale("desk")
    assert scale_text({"width": 64}) == "width 64"
