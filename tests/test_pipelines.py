"""Every shipped pipeline, tiny: every file that a row names is there and was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from composing import hydra_started
from tiny_pipelines import NAMES, tiny_pipeline
from tiny_runs import rows, start

from audioprune.experiment import model_io
from audioprune.experiment.model_io import load_model_file


@pytest.fixture(scope="module", autouse=True)
def composed() -> Iterator[None]:
    with hydra_started():
        yield


@pytest.fixture(autouse=True)
def own_task(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(model_io, "_package_task", lambda task, known=None: task)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_a_row_names_is_the_one_that_was_measured(
    tmp_path: Path, name: str
) -> None:
    plain = tiny_pipeline(name, tmp_path)
    assert start(tmp_path / "run", plain) == "finished"
    named = [row for row in rows(tmp_path / "run") if row.get("file")]
    files = [row["file"] for row in named]
    assert named and len(set(files)) == len(files), "two rows name one file"
    for row in named:
        file = (tmp_path / ("made" if name == "evaluate" else "run")) / row["file"]
        loaded = load_model_file(file, plain["model"])
        assert file.stat().st_size == row["bytes_file"]
        if "nonzero" in row or "params_nonzero" in row:
            nonzero = sum(
                int(parameter.count_nonzero()) for parameter in loaded.model.parameters()
            )
            assert nonzero == row.get("nonzero", row.get("params_nonzero"))
