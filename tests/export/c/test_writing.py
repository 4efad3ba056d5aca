"""Whether C that was written compiles without a warning and equals torch, weights coded or not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from audioprune.compress.units.trimmed_layers import TrimmedAttention, count_
from audioprune.errors import ConfigError
from audioprune.export.c.compiled import compilers
from audioprune.export.c.files import c_files
from audioprune.export.c.pointwise import c_number
from audioprune.export.samples import with_transform
from audioprune.export.streaming import streaming
from audioprune.export.writing import export
from audioprune.models.fdnn import FDNN
from audioprune.tasks.enhancement import Enhancement

compiled = pytest.mark.skipif(not compilers(), reason="no C compiler")


class Mixed(nn.Module):
    """Layers of every kind that C knows, on (B, 4, N, 6)."""

    frames_per_second, time_dim = 10.0, 2

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 8, (3, 3), (1, 2), (0, 1), (2, 1), groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.PReLU(8)
        self.across = nn.GRU(8, 3, 2, bidirectional=True, batch_first=True)
        self.along = nn.LSTM(18, 12)
        self.level = nn.LayerNorm(12)
        self.up = nn.ConvTranspose2d(4, 4, (2, 3), (1, 2), (0, 1), (0, 1), groups=2)
        nn.init.uniform_(self.act.weight)
        self.norm.running_mean.uniform_(-0.5, 0.5)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, values):
        batch, _, frames, bins = values.shape
        padded = nn.functional.pad(values, (0, 0, 4, 0))
        inner = self.act(self.norm(self.conv(padded)))
        rows = inner.permute(0, 2, 3, 1).reshape(batch * frames, 3, 8)
        rows = self.across(rows)[0].reshape(batch, frames, 18).transpose(0, 1)
        level = torch.sigmoid(self.level(self.along(rows)[0])).permute(1, 2, 0)
        inner = nn.functional.elu(level.unflatten(1, (4, 3)).transpose(2, 3)) + 0.5
        made = self.up(inner)[:, :, :-1] * torch.tanh(values).mean(1, keepdim=True)
        return torch.cat((made, values[:, :2] / (1 + values[:, 2:].abs())), 1)

    def example_input(self):
        return torch.randn(1, 4, 20, 6, generator=torch.Generator().manual_seed(1))


@compiled
def test_layers_of_every_kind_equal_torch(tmp_path):
    (row,) = export(Mixed().eval(), tmp_path / "mixed", format="c", streaming=True)
    assert row.parity < 1e-5 and row.streaming and "101 frames compared" in row.note
    for compiler in compilers():
        assert compiler in row.note
    names = ["CMakeLists.txt", "kernels.h", "mixed.c", "mixed.h"]
    assert sorted(path.name for path in Path(row.path).iterdir()) == names
    assert "_codes" not in (tmp_path / "mixed" / "mixed.c").read_text()


class Trimmed(nn.Module):
    """Norms that count units that left, and attention over frequencies, on (B, N, 5, 6)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norms = nn.ModuleList([nn.LayerNorm(6), nn.RMSNorm(6), nn.GroupNorm(2, 6)])
        for norm in self.norms:
            count_(norm)
            norm.counted += 2
        self.mixed = nn.MultiheadAttention(6, 2, batch_first=True)
        self.mixed.__class__ = TrimmedAttention

    def forward(self, values):
        layer, root, groups = self.norms
        rows = root(layer(values)).flatten(0, 1)
        rows = groups(rows.transpose(1, 2)).transpose(1, 2)
        rows = nn.functional.softplus(self.mixed(rows, rows, rows, need_weights=False)[0], 3, 2)
        return rows.unflatten(0, values.shape[:2])


@compiled
def test_layers_that_were_trimmed_equal_torch(tmp_path):
    options = {"format": "c", "streaming": True, "time_dim": 1}
    (row,) = export(Trimmed().eval(), tmp_path / "net", torch.randn(1, 9, 5, 6), **options)
    assert row.parity < 1e-5


def test_numbers_and_facts_are_written_as_c_reads_them():
    assert [c_number(float(word)) for word in ("0.5", "-2", "inf", "-inf", "nan")] == [
        "0.5f",
        "(-2.0f)",
        "INFINITY",
        "(-INFINITY)",
        "NAN",
    ]
    stream = streaming(nn.Linear(3, 2).eval(), torch.randn(1, 9, 3), 1)
    header = c_files(stream, "net", {"note": "a **// b"})[0]["net.h"]
    assert header.count("*/") == 1


@compiled
def test_few_values_are_kept_as_codes(tmp_path):
    model = FDNN(bins=9, width=16, depth=1, context=1).eval()
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.copy_(layer.weight.sign() * 0.1)
    (row,) = export(model, tmp_path / "net", format="c", streaming=True)
    assert row.parity < 1e-5
    assert "w_layers_0_weight_codes" in (tmp_path / "net" / "net.c").read_text()
    # 288 and 144 weights of a byte, two values each, 16 + 9 biases
    assert "ROM 548 bytes" in row.note and "432 MACs" in row.note


@compiled
@pytest.mark.slow
def test_a_program_filters_a_recording(tmp_path):
    task, model = Enhancement(), FDNN(width=8, depth=1).eval()
    facts = {"sample_rate": "16000", "delay_samples": "160"}
    samples = with_transform(model, task)
    export(samples, tmp_path / "net", format="c", streaming=True, metadata=facts)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    words = [compilers()[0], *flags, "main.c", "net.c", "-lm", "-o", "filter"]
    subprocess.run(words, cwd=tmp_path / "net", check=True)
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="PCM_16")
    program, recording = str(tmp_path / "net" / "filter"), (tmp_path / "a.wav").read_bytes()
    done = subprocess.run([program, "0.1"], input=recording, capture_output=True, check=True)
    (tmp_path / "b.wav").write_bytes(done.stdout)
    noisy, _ = soundfile.read(tmp_path / "a.wav")
    found, rate = soundfile.read(tmp_path / "b.wav")
    signal = torch.from_numpy(noisy).float().reshape(1, -1, 160) / 0.1
    with torch.no_grad():
        wanted = samples(signal).reshape(-1).numpy() * 0.1
    assert rate == 16000 and len(found) == len(noisy)
    assert np.abs(found - wanted).max() < 1e-4
    refused = subprocess.run([program], input=recording[:20], capture_output=True, check=False)
    assert refused.returncode == 1 and b"expected a mono WAV" in refused.stderr


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Sequential(nn.ReLU(), nn.LogSigmoid()), {}, "layer 1: .*log_sigmoid"),
        (nn.GELU("tanh"), {}, "gelu.* with options"),
        (nn.Linear(3, 3), {"streaming": False}, "streaming=true"),
    ],
)
def test_what_has_no_form_in_c_is_refused(model, options, words, tmp_path):
    given = {"streaming": True, "format": "c", "time_dim": 1} | options
    with pytest.raises(ConfigError, match=words):
        export(model, tmp_path / "net", torch.randn(1, 9, 3), **given)
    assert not list(tmp_path.iterdir())
