"""Fixtures of the report tests, and the path of the run folders they make."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fake_runs import SCALE, FakeRun, undraw  # noqa: E402


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out and draw no figure, for tests of what is in them and of what is said of them."""
    undraw(monkeypatch)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., FakeRun]:
    """Make a run folder below ``tmp_path / "runs"``."""

    def make(
        name: str,
        model: str = "fdnn",
        pipeline: str = "p2_unstructured",
        seed: int = 0,
        scale: str = SCALE,
        **config: Any,
    ) -> FakeRun:
        parts = {"pipeline": {"name": pipeline, **config.pop("pipeline_config", {})}}
        if "model_config" in config:
            parts["model"] = config.pop("model_config")
        return FakeRun(tmp_path / "runs" / name, model, pipeline, seed, scale, {**parts, **config})

    return make
