"""Whether exported files run as torch does, say what they are, and leave nothing of a failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from audioprune.errors import ConfigError
from audioprune.export.runtimes.script import FACTS
from audioprune.export.writing import export

EXAMPLE = torch.randn(1, 12, 6, generator=torch.Generator().manual_seed(0))


class Stack(nn.Module):
    """A causal convolution, two kinds of recurrent layers and a linear one on (B, N, 6)."""

    frames_per_second, time_dim = 100.0, 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(6, 8, 3, dilation=2)
        self.lstm = nn.LSTM(8, 16, 2, batch_first=True)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.last = nn.Linear(8, 6)

    def forward(self, frames):
        padded = nn.functional.pad(frames.transpose(1, 2), (4, 0))
        values = torch.tanh(self.conv(padded)).transpose(1, 2)
        return self.last(self.gru(self.lstm(values)[0])[0])

    def example_input(self):
        return EXAMPLE


class Both(nn.Module):
    """A layer that runs both ways, which only a whole pass can have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.LSTM(6, 4, bidirectional=True, batch_first=True)

    def forward(self, frames):
        return self.rnn(frames)[0]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return Stack().eval()


@pytest.fixture(scope="module")
def streamed(model, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "frame.onnx"
    facts = {"sample_rate": "16000"}
    return export(model, path, streaming=True, int8=["dynamic", "static"], metadata=facts)


def test_a_streaming_file_equals_torch_and_its_int8_forms_are_rows(streamed):
    whole, dynamic, static = streamed
    assert whole.parity < 1e-5 and whole.snr_db > 100
    assert [row.numbers for row in streamed] == ["float32", "int8 dynamic", "int8 static"]
    assert [Path(row.path).stat().st_size for row in streamed] == [
        row.file_bytes for row in streamed
    ]
    assert dynamic.file_bytes < 0.75 * whole.file_bytes  # the LSTM's weights are a byte each
    assert all(20 < row.snr_db < 100 for row in (dynamic, static))
    assert whole.real_time_factor > 0 and whole.worst_frame_ms > 0


def test_a_streaming_file_names_its_states_and_facts(streamed):
    import onnx

    graph = onnx.load(streamed[0].path)
    names = ["frames", "conv_past", "lstm_h", "lstm_c", "gru_h"]
    assert [each.name for each in graph.graph.input] == names
    assert [each.name for each in graph.graph.output] == [
        "out",
        *(f"{name}_out" for name in names[1:]),
    ]
    facts = {each.key: each.value for each in graph.metadata_props}
    assert facts["states"] == ",".join(names[1:]) and facts["sample_rate"] == "16000"
    assert len(facts["weights_sha256"]) == 64 and facts["frames_per_second"] == "100"
    shapes = [[d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.graph.input]
    assert shapes[:2] == [[1, 1, 6], [1, 8, 4]] or shapes[1] == [1, 6, 4]
    assert b"/" + b"site-packages" not in Path(streamed[0].path).read_bytes()


@pytest.mark.parametrize("kind", [pytest.param(Stack, marks=pytest.mark.slow), Both])
def test_a_whole_file_takes_every_batch_and_length(kind, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = kind().eval()
    (row,) = export(model, tmp_path / "whole.onnx", EXAMPLE, time_dim=1)
    assert row.parity < 1e-5 and not row.note
    session = runtime.InferenceSession(row.path)
    assert session.get_inputs()[0].shape == ["batch", "time", 6]
    frames = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(1))
    (found,) = session.run(None, {"frames": frames.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), model(frames), atol=1e-5, rtol=0)


@pytest.mark.parametrize("streaming", [False, True])
def test_torchscript_equals_torch(model, streaming, tmp_path):
    path = tmp_path / "model.pt"
    (row,) = export(model, path, format="torchscript", streaming=streaming)
    assert row.parity < 1e-5 and row.file_bytes == path.stat().st_size
    extra = {FACTS: ""}
    torch.jit.load(path, _extra_files=extra)
    assert json.loads(extra[FACTS])["model"] == "Stack"


class Odd(nn.Module):
    def forward(self, frames):
        return torch.special.bessel_j0(frames)


def test_an_operator_without_onnx_form_is_named_with_its_layer(tmp_path):
    pytest.importorskip("onnxscript")
    model = nn.Sequential(nn.ReLU(), Odd())
    with pytest.raises(ConfigError, match="layer 1: .*bessel_j0"):
        export(model, tmp_path / "odd.onnx", EXAMPLE, time_dim=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("m.onnx", {"format": "onx"}, "closest: onnx"),
        ("m.pt", {}, "ends in .onnx, got '.pt'"),
        ("m.pte", {"format": "executorch"}, r"\(executorch 1\.\d+ goes with torch 2\.\d+\)"),
        ("m.pt", {"format": "torchscript", "int8": ["static"]}, "int8: expected nothing with"),
        ("m.onnx", {"int8": ["both"]}, "int8: expected one of dynamic, static"),
    ],
)
def test_bad_arguments_are_one_line(model, name, options, words, tmp_path):
    with pytest.raises(ConfigError, match=words) as found:
        export(model, tmp_path / name, **options)
    assert "\n" not in str(found.value) and not list(tmp_path.iterdir())


def test_a_form_that_differs_is_not_written(model, tmp_path, monkeypatch):
    from audioprune.export import writing

    monkeypatch.setattr(writing, "gap", lambda found, wanted: 1e-4)
    with pytest.raises(ConfigError, match="difference of 0.0001"):
        export(model, tmp_path / "m.pt", format="torchscript")
    assert not list(tmp_path.iterdir())
