"""Whether C that was written compiles without a warning and equals torch, weights coded or not."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from torch import nn

from audioprune.compress.units.trimmed_layers import TrimmedAttention, count_
from audioprune.errors import ConfigError
from audioprune.export.c import compiled as compiling
from audioprune.export.c.compiled import compilers
from audioprune.export.c.files import c_files
from audioprune.export.c.pointwise import c_number
from audioprune.export.samples import with_transform
from audioprune.export.streaming import streaming
from audioprune.export.writing import export
from audioprune.models.fdnn import FDNN
from audioprune.models.zoo.crepe import Crepe
from audioprune.models.zoo.silero_vad import SileroVAD
from audioprune.tasks.enhancement import Enhancement

compiled = pytest.mark.skipif(not compilers(), reason="no C compiler")


@pytest.fixture(autouse=True)
def little_optimised(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let compilers optimise little by default, which takes half the time; `-O3` where slow."""
    if request.config.option.markexpr == "not slow":
        monkeypatch.setattr(compiling, "FLAGS", (*compiling.FLAGS[:-1], "-O1"))


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
        self.once = nn.Conv2d(4, 4, (2, 8), 1, (0, 1), groups=2)  # one result a step
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
        made = made + self.once(padded[:, :, 3:])
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


FUNCTIONS = [
    F.selu,
    F.hardswish,
    F.hardsigmoid,
    F.mish,
    F.relu6,
    F.celu,
    F.logsigmoid,
    F.softshrink,
    F.silu,
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: x.clamp(-0.3, 0.4) + x.clamp(max=0.1) + x.clamp(min=-0.2),
    lambda x: torch.where(x > 0.2, x.sign(), x * x.floor()),
    lambda x: x.masked_fill(x < -0.5, 2.0),
    lambda x: torch.add(x, x.round(), alpha=3) + torch.sub(x, x.exp(), alpha=0.5),
    lambda x: torch.div(x, 0.3, rounding_mode="floor") + x.remainder(0.7),
    lambda x: x.softmax(2) + x.log_softmax(3),
    lambda x: x.cumsum(3) + x.flip(3).roll(1, 3),
    lambda x: F.pad(x, (2, 1, 0, 0), mode="reflect")[..., 1:-2],
    lambda x: F.pad(x, (1, 2, 0, 0), mode="circular")[..., 2:-1],
    lambda x: F.pad(x, (-1, 1)),
    lambda x: x.unfold(3, 3, 2).amax(3)[..., [0, 1, 0, 1, 1, 0]],
    lambda x: x - x.amin(3, keepdim=True) + x.std(3, keepdim=True) + x.var((2, 3), keepdim=True),
    lambda x: x + torch.linalg.vector_norm(x, dim=3, keepdim=True),
    lambda x: F.glu(torch.cat((x, x.flip(2)), 3), 3) + x.mean((2, 3), keepdim=True),
    lambda x: F.interpolate(F.max_pool2d(x, (1, 2)), scale_factor=(1, 2)),
    lambda x: F.avg_pool2d(x, (1, 3), 1, (0, 1)) + F.adaptive_avg_pool2d(x, (4, 1)),
    lambda x: torch.fft.rfft(x).abs().sum(3, keepdim=True) * torch.fft.rfft(x).real[..., :1] + x,
    lambda x: F.instance_norm(x) + F.group_norm(x, 1),
]


class Functions(nn.Module):
    """Everything without weights that C knows, on frames (B * N, 2, 4, 6)."""

    def forward(self, values):
        rows = values.flatten(0, 1)
        return torch.stack([run(rows) for run in FUNCTIONS], 1).unflatten(0, values.shape[:2])


@pytest.mark.slow
@compiled
def test_every_function_equals_torch(tmp_path):
    options = {"format": "c", "streaming": False, "time_dim": 1}
    example = torch.randn(1, 7, 2, 4, 6, generator=torch.Generator().manual_seed(3))
    (row,) = export(Functions(), tmp_path / "net", example, **options)
    assert row.parity < 1e-5 and not row.streaming and "2 signals compared" in row.note


class Folded(nn.Module):
    """Normalisations behind each kind of convolution, a plain recurrent layer, on (B, 4, N)."""

    frames_per_second, time_dim = 100.0, 2

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.inner = nn.Conv1d(4, 8, 3), nn.Conv1d(8, 8, 1, groups=2, bias=False)
        self.up = nn.ConvTranspose1d(8, 6, 1, groups=2)
        self.norms = nn.ModuleList([nn.BatchNorm1d(size) for size in (8, 8, 6)])
        self.table, self.rnn = nn.Linear(6, 16), nn.RNN(16, 8, nonlinearity="relu")
        for norm in self.norms:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, values):
        inner = torch.tanh(self.norms[0](self.conv(F.pad(values, (2, 0)))))
        inner = torch.tanh(self.norms[1](self.inner(inner)))
        inner = torch.tanh(self.norms[2](self.up(inner)))
        return self.rnn(self.table(inner.permute(2, 0, 1)))[0].permute(1, 2, 0)

    def example_input(self):
        return torch.randn(1, 4, 20, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@compiled
def test_normalisations_go_into_the_layer_before_them(tmp_path):
    (row,) = export(Folded().eval(), tmp_path / "net", format="c", streaming=True)
    text = (tmp_path / "net" / "net.c").read_text()
    assert row.parity < 1e-5 and "ap_affine" not in text and "running" not in text
    floats = 96 + 32 + 24 + 8 + 8 + 6 + (96 + 16) + (128 + 64 + 16)
    assert row.rom_bytes == 4 * floats  # nothing of the normalisations is left


@pytest.mark.slow
@compiled
def test_codes_of_all_widths_stay_packed(tmp_path):
    model, generator = Folded().eval(), torch.Generator().manual_seed(3)

    def codes(weight: torch.Tensor, count: int) -> torch.Tensor:
        found = torch.randint(count, weight.shape, generator=generator)
        found.view(-1)[:2] = torch.tensor([0, count - 1])
        return found

    with torch.no_grad():
        conv, up, table, inner = model.conv.weight, model.up.weight, model.table.weight, model.rnn
        table.copy_(torch.randn(32, generator=generator)[codes(table, 32)] * 0.3)
        inner.weight_ih_l0.copy_(codes(inner.weight_ih_l0, 2) - 0.3)
        inner.weight_hh_l0.copy_((codes(inner.weight_hh_l0, 255) - 127) * 1e-3)
        conv.copy_((codes(conv, 8) - 3) * (torch.rand(8, 1, 1, generator=generator) + 0.1))
        up.copy_((codes(up, 16) - 8) * 0.1)
    (row,) = export(model, tmp_path / "net", format="c", streaming=True)
    text = (tmp_path / "net" / "net.c").read_text()
    assert row.parity < 1e-5
    for words in (
        "w_table_weight_book, NULL, NULL, 5u}",
        "w_rnn_weight_ih_l0_book, NULL, NULL, 1u}",
        "w_rnn_weight_hh_l0_zero, w_rnn_weight_hh_l0_scale, 8u}",
        "NULL, w_conv_weight_zero, w_conv_weight_scale, 3u}",
        "w_up_weight = {w_up_weight_values, NULL, NULL, NULL, NULL, 32u}",  # too small for a table
    ):
        assert words in text, words


@pytest.mark.slow
@compiled
def test_weights_of_eight_bits_are_written_beside(tmp_path):
    model = Folded().eval()
    kept = [weight.clone() for weight in model.parameters()]
    plain, small = export(model, tmp_path / "net", format="c", streaming=True, int8=["weights"])
    assert small.numbers == "int8 weights" and Path(small.path).name == "net_int8"
    assert small.parity < 1e-5 and 20 < small.snr_db < plain.snr_db - 40
    assert small.rom_bytes < 0.6 * plain.rom_bytes and small.macs == plain.macs
    assert all(torch.equal(a, b) for a, b in zip(kept, model.parameters(), strict=True))


@compiled
@pytest.mark.parametrize("kind", [partial(Crepe, size="tiny"), SileroVAD])
@pytest.mark.slow
def test_public_networks_become_c(kind, tmp_path):
    (row,) = export(kind().eval(), tmp_path / "net", format="c", streaming=True)
    assert row.parity < 1e-4 and "frames compared" in row.note


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


@pytest.mark.slow
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
    # 288 and 144 weights of a bit and a byte behind them, two values each, 16 + 9 biases
    assert row.rom_bytes == 37 + 19 + 16 + 100 and row.macs == 432


def _written_filter(folder: Path) -> tuple[nn.Module, np.ndarray]:
    """Write a small enhancer with its transform, and a recording beside it."""
    task, model = Enhancement(), FDNN(width=8, depth=1).eval()
    facts = {"sample_rate": "16000", "delay_samples": "160"}
    samples = with_transform(model, task)
    export(samples, folder / "net", format="c", streaming=True, metadata=facts)
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    soundfile.write(folder / "a.wav", noise, 16000, subtype="PCM_16")
    return samples, soundfile.read(folder / "a.wav")[0]


def _filtered(samples: nn.Module, noisy: np.ndarray) -> np.ndarray:
    signal = torch.from_numpy(noisy).float().reshape(1, -1, 160) / 0.1
    with torch.no_grad():
        return samples(signal).reshape(-1).numpy() * 0.1


@compiled
@pytest.mark.slow
def test_a_program_filters_a_recording(tmp_path):
    samples, noisy = _written_filter(tmp_path)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=all"]
    words = [compilers()[0], *flags, "main.c", "net.c", "-lm", "-o", "filter"]
    subprocess.run(words, cwd=tmp_path / "net", check=True)
    program, recording = str(tmp_path / "net" / "filter"), (tmp_path / "a.wav").read_bytes()
    done = subprocess.run([program, "0.1"], input=recording, capture_output=True, check=True)
    (tmp_path / "b.wav").write_bytes(done.stdout)
    found, rate = soundfile.read(tmp_path / "b.wav")
    assert rate == 16000 and len(found) == len(noisy)
    assert np.abs(found - _filtered(samples, noisy)).max() < 1e-4
    refused = subprocess.run([program], input=recording[:20], capture_output=True, check=False)
    assert refused.returncode == 1 and b"expected a mono WAV" in refused.stderr


@compiled
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")
def test_cmake_builds_the_program_and_the_plugin(tmp_path):
    samples, noisy = _written_filter(tmp_path)
    for words in (["-S", "net", "-B", "build"], ["--build", "build"]):
        subprocess.run(["cmake", *words], cwd=tmp_path, check=True, capture_output=True)
    program, recording = tmp_path / "build" / "net_wav", (tmp_path / "a.wav").read_bytes()
    done = subprocess.run([str(program), "0.1"], input=recording, capture_output=True, check=True)
    assert len(done.stdout) == len(recording)
    plugin = tmp_path / "build" / "net_ladspa.so"
    if not Path("/usr/include/ladspa.h").exists():
        pytest.skip("no ladspa.h")
    found = _through_plugin(plugin, noisy, level=0.1)
    wanted = _filtered(samples, noisy)
    assert np.abs(found[160:] - wanted[:-160]).max() < 1e-5  # later by a hop


@compiled
@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/include/ladspa.h").exists(), reason="no ladspa.h")
@pytest.mark.parametrize("compiler", compilers())
def test_the_plugin_compiles_without_a_warning(compiler, tmp_path):
    _written_filter(tmp_path)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]
    words = [compiler, *flags, "ladspa.c", "net.c", "-lm", "-o", "net.so"]
    subprocess.run(words, cwd=tmp_path / "net", check=True)
    assert (
        shutil.which("analyseplugin") is None
        or b'"Level" input, control'
        in subprocess.run(
            ["analyseplugin", "./net.so"], cwd=tmp_path / "net", check=True, capture_output=True
        ).stdout
    )


class Descriptor(ctypes.Structure):
    """What a plugin says of itself, as ladspa.h has it."""

    _fields_ = [
        ("number", ctypes.c_ulong),
        ("label", ctypes.c_char_p),
        ("properties", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("maker", ctypes.c_char_p),
        ("copyright", ctypes.c_char_p),
        ("ports", ctypes.c_ulong),
        *((name, ctypes.c_void_p) for name in ("kinds", "names", "hints", "data")),
        ("make", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)),
        (
            "connect",
            ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p),
        ),
        ("activate", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("run", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ulong)),
        *((name, ctypes.c_void_p) for name in ("adding", "gain", "deactivate")),
        ("gone", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]


def _through_plugin(path: Path, noisy: np.ndarray, level: float) -> np.ndarray:
    """Run a plugin as a host does, in place and in blocks of uneven size."""
    library = ctypes.CDLL(str(path))
    library.ladspa_descriptor.restype = ctypes.POINTER(Descriptor)
    found = library.ladspa_descriptor(0).contents
    assert found.ports == 4 and not library.ladspa_descriptor(1)
    assert not found.make(ctypes.addressof(found), 44100)
    handle = found.make(ctypes.addressof(found), 16000)
    audio = noisy.astype(np.float32)
    controls = np.array([level, 0], np.float32)
    for port in (2, 3):
        found.connect(handle, port, controls[port - 2 :].ctypes.data)
    found.activate(handle)
    begin = 0
    while begin < len(audio):
        count = min(len(audio) - begin, 1 + begin % 977)
        for port in (0, 1):
            found.connect(handle, port, audio[begin:].ctypes.data)
        found.run(handle, count)
        begin += count
    assert controls[1] == 320
    found.gone(handle)
    return audio


class Inverse(nn.Module):
    """What has no function in C."""

    def forward(self, values):
        return torch.erfinv(values.clamp(-0.9, 0.9))


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Sequential(nn.ReLU(), Inverse()), {}, "layer 1: .*erfinv"),
        (nn.AvgPool1d(2, ceil_mode=True), {}, "avg_pool1d.* with options"),
        (nn.Linear(3, 3), {"int8": ["static"]}, "one of weights with format=c"),
    ],
)
def test_what_has_no_form_in_c_is_refused(model, options, words, tmp_path):
    given = {"streaming": True, "format": "c", "time_dim": 1} | options
    with pytest.raises(ConfigError, match=words):
        export(model, tmp_path / "net", torch.randn(1, 9, 3), **given)
    assert not list(tmp_path.iterdir())
