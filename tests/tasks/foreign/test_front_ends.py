"""What networks from elsewhere are fed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from audioprune.dsp import STFT, frame_signal, mel_filters
from audioprune.errors import ConfigError, DataError
from audioprune.tasks.foreign.front_ends import FrontEnd


class Own(nn.Module):
    """A network with a front end of its own."""

    def front_end(self, waveform: Tensor) -> Tensor:
        return 2 * waveform


def _made(kind: str, batch: dict[str, Tensor], signal: str | None = None) -> Tensor:
    return FrontEnd(kind, signal, 16000, 320, 160, 20).inputs(nn.Identity(), batch)


def test_every_kind_of_input() -> None:
    audio = torch.randn(2, 1600, generator=torch.Generator().manual_seed(0))
    batch = {"audio": audio}
    spectrum = STFT(320, 160).analysis(audio)
    assert torch.equal(_made("waveform", batch), audio) and torch.equal(
        _made("model", batch), audio
    )
    assert torch.equal(_made("channel", batch), audio[:, None])
    assert torch.equal(_made("frames", batch), frame_signal(audio, 320, 160))
    assert torch.equal(_made("magnitude", batch), spectrum.abs())
    both = _made("complex", batch)
    assert torch.equal(torch.complex(both[:, 0], both[:, 1]), spectrum)
    mel = torch.log(spectrum.abs().square() @ mel_filters(20, 320, 16000).T + 1e-6)
    assert torch.equal(_made("mel", batch), mel) and mel.shape == (2, 11, 20)
    features = torch.zeros(2, 2, 4, 5)
    assert _made("features", {"features": features}) is features
    own = FrontEnd("model", None, 16000, 320, 160, 20).inputs(Own(), batch)
    assert torch.equal(own, 2 * audio)


def test_which_signal() -> None:
    batch = {"noisy": torch.zeros(2, 8), "clean": torch.ones(2, 8)}
    assert _made("waveform", batch).sum() == 0
    assert _made("waveform", batch, "clean").sum() == 16
    assert torch.equal(_made("waveform", batch, "both"), torch.cat(tuple(batch.values())))
    with pytest.raises(DataError, match="expected 'audio' in every item, got noisy, clean"):
        _made("waveform", batch, "audio")
    with pytest.raises(DataError, match="expected 'features'"):
        _made("features", batch)
    for wrong in (("mels", None), ("mel", "loud")):
        with pytest.raises(ConfigError, match="unknown task"):
            FrontEnd(*wrong, 16000, 320, 160, 20)
