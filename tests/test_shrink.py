"""The page of public networks: what it says of forms, and that it shows only what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed, hydra_started
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.shrink import DATA, PAGE, dynamic_int8  # noqa: E402
from scripts.shrinking.page import page_text  # noqa: E402
from scripts.shrinking.plans import NETWORKS  # noqa: E402
from scripts.shrinking.timing import cpu_ms_per_second  # noqa: E402


def _form(size: int, score: float) -> dict[str, Any]:
    metrics = {"decisions_changed": score, "correlation": None}
    known = {"bytes": size, "macs_per_second": 2e6, "cpu_ms_per_second": 1.5, "score": score}
    return {**known, "metrics": metrics, "command": ["prune", "model=zoo/silero_vad", str(size)]}


def _found(**forms: dict[str, Any]) -> dict[str, Any]:
    whole = {"original": _form(1000, 0.0), "int8": _form(600, 0.002), "audio": "made"}
    return {"silero_vad": {**whole, "held_out": {"quiet": 3}, "forms": forms}}


def test_the_smallest_form_within_the_drop_is_named() -> None:
    first, second, third, *rest = (form.name for form in NETWORKS["silero_vad"].forms)
    forms = {first: _form(500, 0.005), second: _form(250, 0.01), third: _form(100, 0.02)}
    text = page_text(NETWORKS, _found(**forms))
    assert f"at most 0.01 worse than the original's: **{second}**." in text
    assert f"| **{second}** | 250 | 4.0x | 2.0 | 1.50 | 0.0100 |  |" in text
    assert f"Not measured: {'; '.join(rest)}." in text
    assert text.count("Not measured. `python") == 3
    worse = page_text(NETWORKS, _found(**{first: _form(500, 0.05)}))
    assert "No form that was tried keeps decisions_changed at most 0.01 worse" in worse


def test_the_page_is_that_of_the_stored_numbers() -> None:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
    assert PAGE.read_text() == page_text(NETWORKS, found)


@pytest.mark.slow
def test_commands_of_the_plans_compose() -> None:
    with hydra_started():
        for name, network in NETWORKS.items():
            assert len({form.name for form in network.forms}) == len(network.forms)
            for form in network.forms[-2:]:  # one by weights, one by units
                words = [*network.data(None), *network.options, *form.options, "checkpoint=w.pt"]
                assert composed(form.verb, f"model=zoo/{name}", *words).model.name == name


class Small(nn.Module):
    """A network whose example lasts a tenth of a second."""

    frames_per_second = 100.0
    time_dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 10, 8)


def test_time_and_int8() -> None:
    model = Small().eval()
    small = dynamic_int8(model)
    inputs = torch.randn(1, 10, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(small(inputs), model(inputs), atol=0.1)
    assert 0 < cpu_ms_per_second(model) < 1000 and cpu_ms_per_second(small, model) > 0


def test_the_data_are_chosen_by_their_labels(tmp_path: Path) -> None:
    assert "data=audio_folder" in NETWORKS["silero_vad"].data("x")
    assert "data=synthetic_notes" in NETWORKS["crepe_tiny"].data("x")
    assert "data=synthetic_speech" in NETWORKS["silero_vad"].data(None)
