"""What a network from elsewhere is fed: ``FrontEnd`` makes its input of a batch of audio (B, T).

Nothing is learned here, and nothing is scaled but by the network's own front end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audioprune.dsp import STFT, frame_signal, mel_filters
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.protocols import Batch, HasFrontEnd

INPUTS = ("model", "waveform", "channel", "frames", "magnitude", "complex", "mel", "features")
SIGNALS = ("noisy", "clean", "both", "audio")
_TINY = 1e-6


@dataclass(frozen=True)
class FrontEnd:
    """Makes a network's input.

    Attributes:
        kind: ``model``: what the network's own ``front_end`` makes, the waveform where it has
            none; ``waveform`` (B, T); ``channel`` (B, 1, T); ``frames`` of samples (B, N, L);
            ``magnitude`` (B, N, F); ``complex`` (B, 2, N, F); ``mel``, the logarithm of mel power
            (B, N, M); ``features`` (B, C, M, N), as the corpus has them.
        signal: Which audio of the corpus, ``noisy``, ``clean``, ``both`` one after the other, or
            ``audio``; None takes ``audio`` where there is one, else ``noisy``.
        sample_rate: In Hz.
        frame_length: Samples of a frame; also the size of the transform.
        hop_length: Samples from one frame to the next.
        mels: Bands M.

    Raises:
        ConfigError: A name is unknown, or a frame is not longer than 0.
    """

    kind: str
    signal: str | None
    sample_rate: int
    frame_length: int
    hop_length: int
    mels: int

    def __post_init__(self) -> None:
        if self.kind not in INPUTS:
            raise ConfigError(unknown_name("task.input", self.kind, INPUTS))
        if self.signal is not None and self.signal not in SIGNALS:
            raise ConfigError(unknown_name("task.signal", self.signal, SIGNALS))

    def inputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return what a network is fed for a batch.

        Args:
            model: The network, which may have a front end of its own.
            batch: What the corpus gives.

        Raises:
            DataError: The batch has no such signal.
        """
        if self.kind == "features":
            return self._of(batch, "features")
        audio = self.audio(batch)
        if self.kind == "model" and isinstance(model, HasFrontEnd):
            return model.front_end(audio)
        return self._transformed(audio)

    def settings_for(self, shape: tuple[int, ...]) -> list[str]:
        """Return the choices of settings that feed such a shape, as they are typed.

        Args:
            shape: Of a network's input, such as (1, 20, 161).
        """
        if len(shape) == 2:
            return ["task.input=waveform"]
        if len(shape) == 3 and shape[1] == 1:
            return ["task.input=channel"]
        if len(shape) == 3:
            return [
                self._typed("magnitude", frame_length=2 * (shape[2] - 1)),
                self._typed("mel", mels=shape[2]),
                self._typed("frames", frame_length=shape[2]),
            ]
        if len(shape) == 4 and shape[1] == 2:
            return [self._typed("complex", frame_length=2 * (shape[3] - 1))]
        return ["task.input=features"] if len(shape) == 4 else []

    def _typed(self, kind: str, frame_length: int = 0, mels: int = 0) -> str:
        """Return a kind of input and its sizes where they are not those of now."""
        said = [f"task.input={kind}"]
        if frame_length and frame_length != self.frame_length:
            said.append(f"task.frame_length={frame_length}")
            if self.hop_length > frame_length:
                said.append(f"task.hop_length={max(1, frame_length // 2)}")
        if mels and mels != self.mels:
            said.append(f"task.mels={mels}")
        return " ".join(said)

    def audio(self, batch: Batch) -> Tensor:
        """Return the waveforms of a batch (B, T), of ``both`` (2 B, T)."""
        if self.signal == "both":
            return torch.cat((self._of(batch, "noisy"), self._of(batch, "clean")))
        chosen = self.signal or ("audio" if "audio" in batch else "noisy")
        return self._of(batch, chosen)

    def _of(self, batch: Batch, name: str) -> Tensor:
        if name not in batch:
            raise DataError(
                f"expected {name!r} in every item, got {', '.join(batch)}; choose task.input, "
                f"task.signal or another data=..."
            )
        value: Tensor = batch[name]
        return value

    def _transformed(self, audio: Tensor) -> Tensor:
        if self.kind in ("model", "waveform"):
            return audio
        if self.kind == "channel":
            return audio.unsqueeze(1)
        if self.kind == "frames":
            return frame_signal(audio, self.frame_length, self.hop_length)
        spectrum = STFT(self.frame_length, self.hop_length).analysis(audio)
        if self.kind == "magnitude":
            return spectrum.abs()
        if self.kind == "complex":
            return torch.stack((spectrum.real, spectrum.imag), 1)
        filters = mel_filters(self.mels, self.frame_length, self.sample_rate).to(audio)
        return torch.log(spectrum.abs().square() @ filters.T + _TINY)
