"""Validation scores are those of the items alone, in their order, however many pass at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from signal_toys import signal_run

from audioprune.models.lstm import LSTM
from audioprune.steps.validation import Validation
from audioprune.tasks.enhancement import Enhancement


class Recordings:
    """A corpus whose validation recordings have different lengths."""

    def valid(self) -> list[dict[str, Any]]:
        draw = torch.Generator().manual_seed(0)
        clean = [torch.randn(length, generator=draw) for length in (3000, 4800, 3200, 3000)]
        return [{"clean": each, "noisy": each + 0.1 * each.roll(7)} for each in clean]


def test_items_in_batches_have_the_scores_of_each_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LSTM(width=6, depth=1)
    run = replace(signal_run(tmp_path), task=Enhancement(target="magnitude"), model=model)
    run.data = Recordings()
    rows: list[int] = []
    model.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    found = []
    for run.task.score_batch in (None, 10.0):
        rows.clear()
        with Validation(run, ["si_sdr", "l1"], items=3) as validation:
            found.append((validation.of(model), validation.counted(model)))
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-6)
    assert found[1][1] == found[0][1] and max(rows) == 3


def test_the_run_tells_its_task_how_much_passes_at_once(tmp_path: Path) -> None:
    run = signal_run(tmp_path)
    run.config["runtime"]["score_batch"] = 3.5
    assert replace(run, task=Enhancement()).task.score_batch == 3.5
