"""A test set in batches has the signals and rows of its items alone, whatever the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audioprune.metrics.scorer import Scorer
from audioprune.models.dcae import DCAE
from audioprune.models.fdnn import FDNN
from audioprune.models.gcrn import GCRN
from audioprune.models.lstm import LSTM
from audioprune.models.tcnn import TCNN
from audioprune.tasks.adversarial import Adversarial
from audioprune.tasks.enhancement import Enhancement
from audioprune.tasks.signal_scores import scored

LENGTHS = (4000, 9600, 5003, 4000, 6240, 6401)


class Recordings:
    """Six recordings of different lengths and levels."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.items = []
        for index, length in enumerate(LENGTHS):
            clean = torch.sin(0.1 * torch.arange(length)) * (0.1 + 0.2 * index)
            noisy = clean + 0.05 * torch.randn(length, generator=draw)
            more = {"id": f"r{index}", "noise": "white", "snr_db": 0.0}
            self.items.append({"clean": clean, "noisy": noisy, **more})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


class Net(nn.Module):
    """A user's network over frames (B, N, F) of which nothing is known."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.recurrent = nn.LSTM(161, 80, batch_first=True, bidirectional=kind == "bidirectional")
        self.conv = nn.Conv1d(161, 161, 3, padding=1)
        self.output = nn.Linear(160 if kind == "bidirectional" else 80, 161)

    def forward(self, frames: Tensor) -> Tensor:
        if self.kind == "normalised_over_time":
            frames = frames / frames.square().mean((1, 2), keepdim=True).sqrt()
        if self.kind == "knows_the_batch":
            frames = frames / frames.square().mean().sqrt()
        values = self.output(self.recurrent(frames)[0])
        if self.kind == "looks_ahead":
            values = self.conv(values.transpose(1, 2)).transpose(1, 2)
        return torch.sigmoid(values)


def _networks() -> dict[str, tuple[Any, nn.Module, bool]]:
    torch.manual_seed(0)
    tcnn = TCNN(width=0.0625)
    for module in tcnn.modules():  # statistics that are not those of a new network
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    mask = {"target": "magnitude", "output": "mask", "feature": "log", "dry": 0.2}
    dcae = DCAE(channels=(16, 32), kernel_size=7)
    judge = {"channels": [4, 4], "kernel_size": 5}
    frames = {"frame_length": 512, "frames_per_call": 8, "discriminator": judge}
    known = {
        "fdnn": (Enhancement(), FDNN(width=8), True),
        "lstm": (Enhancement(**mask), LSTM(width=8, depth=2), True),
        "tcnn": (Enhancement(target="waveform"), tcnn, True),
        "gcrn": (Enhancement(target="complex"), GCRN(width=0.0625), True),
        "window_squared": (Enhancement(ola_norm="window_squared"), FDNN(width=8), True),
        "dcae": (Adversarial(**frames), dcae, True),
        "dcae_overlap": (Adversarial(overlap=64, level=0.1, **frames), dcae, True),
    }
    for kind in ("causal", "bidirectional", "looks_ahead", "normalised_over_time"):
        known[kind] = (Enhancement(), Net(kind), kind == "causal")
    return known


NETWORKS = _networks()


@pytest.mark.parametrize("name", NETWORKS)
def test_signals_are_those_of_the_items_alone(name: str) -> None:
    task, model, shares = NETWORKS[name]
    model.eval()
    rows: list[int] = []
    handle = model.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    found = []
    for task.score_batch in (None, 2.0):  # one alone, then 2 s at once
        rows.clear()
        made = {place: signal for place, _, signal in task.enhance_items(model, Recordings())}
        found.append([made[place] for place in range(len(LENGTHS))])
        assert task.score_batch or name.startswith("dcae") or set(rows) == {1}
    handle.remove()
    task.score_batch = None
    assert [len(signal) for signal in found[1]] == list(LENGTHS)
    for alone, together in zip(*found, strict=True):
        assert np.abs(alone).max() > 1e-4
        np.testing.assert_allclose(together, alone, rtol=0, atol=2e-6 * np.abs(alone).max())
    # causal networks share batches; others only with recordings of their length
    assert max(rows) == (8 if name.startswith("dcae") else 3 if shares else 2)


def test_a_network_that_mixes_the_items_of_a_batch_is_told_from_others() -> None:
    task, model = Enhancement(), Net("knows_the_batch").eval()
    found = []
    items = [item for item in Recordings().items if item["id"] != "r3"]  # all of other lengths
    for task.score_batch in (None, 2.0):
        made = {place: signal for place, _, signal in task.enhance_items(model, items)}
        found.append(np.concatenate([made[place] for place in range(len(items))]))
    np.testing.assert_array_equal(*found)


def test_rows_are_those_of_the_items_alone_and_in_their_order() -> None:
    task, model, _ = NETWORKS["lstm"]
    rows = []
    for task.score_batch in (None, 2.0):
        with Scorer(["si_sdr", "stoi", "lsd"], 16000, 2) as scorer:
            options = {"condition": "c", "variant": "mine"}
            rows.append(task.score(model.eval(), Recordings(), scorer, **options))
    task.score_batch = None
    one, other = rows
    for variant in ("mixture", "mine"):
        assert one[variant]["failures"] == other[variant]["failures"]
        for kind in ("metrics", "std"):
            assert one[variant][kind] == pytest.approx(other[variant][kind], abs=1e-6)


def test_scores_come_back_by_version_in_the_order_of_the_items() -> None:
    class Names:
        def score(self, items: Any) -> list[str]:
            return [f"{name}{float(signal[0]):g}" for name, _, signal in items]

    clean = torch.zeros(2)
    items = [{"id": name, "clean": clean, "noisy": clean} for name in "ab"]
    made = [(1, items[1], [np.ones(2), np.full(2, 2)]), (0, items[0], [np.ones(2), np.ones(2)])]
    assert scored(Names(), iter(made)) == [["a0", "b0"], ["a1", "b1"], ["a1", "b2"]]
