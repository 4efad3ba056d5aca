"""The DDSP autoencoder of Esling et al.: encoder, recurrent decoder, controls and their units.

``DDSP`` maps frequency and loudness (B, N, 2), and the note itself, to audio (B, N * 160). The
signal processing that turns controls into sound is in ``parts/ddsp_synthesis``; pitch, loudness
and the loss come from the task.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, cast

import torch
from torch import Tensor, nn

from audioprune.compress.units.builders import (
    Slices,
    gru_in,
    gru_units,
    layer_norm,
    linear_in,
    linear_out,
)
from audioprune.compress.units.chains import chain_units
from audioprune.compress.units.declare import UnitSet
from audioprune.errors import ConfigError, DataError, unknown_name
from audioprune.models.parts import ddsp_synthesis as synthesis
from audioprune.models.parts.layers import recurrent_units
from audioprune.models.parts.widths import check_whole
from audioprune.ranges import FOLLOWS, OneOf, Range

STRIDES = (4, 2, 4, 5)
BLOCK_SIZE = math.prod(STRIDES)
LATENTS = ("gaussian", "deterministic")
NOISE_SHIFT = -5.0  # the noise starts quiet
FIRST_DECAY, FIRST_WET = 5.0, -4.0  # a tail of about a second, quieter than the direct sound


class Controls(NamedTuple):
    """What the synthesizer needs for each frame.

    Attributes:
        amplitude: Level of all partials together, shape (B, N, 1).
        partials: Weights of the partials before normalisation, shape (B, N, K).
        noise: Magnitudes of the noise filter, shape (B, N, M).
    """

    amplitude: Tensor
    partials: Tensor
    noise: Tensor


class Decoder(nn.Module):
    """Map pitch, loudness and latent frames to controls.

    Two stacks of layers, a GRU over both and the latent, one more stack and three linear heads.
    """

    def __init__(self, hidden: int, depth: int, latent: int, partials: int, bands: int) -> None:
        super().__init__()
        self.f0_mlp = _mlp(1, hidden, depth)
        self.loudness_mlp = _mlp(1, hidden, depth)
        self.gru = nn.GRU(2 * hidden + latent, hidden, batch_first=True)
        self.out_mlp = _mlp(hidden, hidden, depth)
        self.amplitude = nn.Linear(hidden, 1)
        self.partials = nn.Linear(hidden, partials)
        self.noise = nn.Linear(hidden, bands)

    def forward(
        self, controls: Tensor, latent: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Controls, Tensor]:
        """Map frames to controls.

        Args:
            controls: Frequency in Hz and loudness, (B, N, 2).
            latent: Latent frames (B, N, Z); None if the decoder reads none.
            state: State (1, B, H) of the GRU before the first frame, zero if None.

        Returns:
            Controls and the state after the last frame.
        """
        parts = [
            self.f0_mlp(synthesis.scaled_pitch(controls[..., :1])),
            self.loudness_mlp(controls[..., 1:]),
        ]
        if latent is not None:
            parts.append(latent)
        values, state = self.gru(torch.cat(parts, -1), state)
        values = self.out_mlp(values)
        # The noise comes first: the order decides how gradients are summed, and so their last bit.
        noise = synthesis.mod_sigmoid(self.noise(values) + NOISE_SHIFT)
        found = Controls(
            amplitude=synthesis.mod_sigmoid(self.amplitude(values)),
            partials=synthesis.mod_sigmoid(self.partials(values)),
            noise=noise,
        )
        return found, cast(Tensor, state)

    def unit_sets(self, prefix: str) -> list[UnitSet]:
        """Return the units of every layer; sets that a normalisation crosses are not exact."""
        # The GRU reads the outputs of the pitch stack, then those of the loudness stack.
        pitches, loudnesses = _mlp_width(self.f0_mlp), _mlp_width(self.loudness_mlp)
        f0_readers = gru_in(f"{prefix}gru", self.gru, count=pitches)
        loudness_readers = gru_in(f"{prefix}gru", self.gru, offset=pitches, count=loudnesses)
        recurrent = gru_units(f"{prefix}gru", self.gru)
        recurrent += linear_in(f"{prefix}out_mlp.0", cast(nn.Linear, self.out_mlp[0]))
        heads: Slices = ()
        for name in ("amplitude", "partials", "noise"):
            heads += linear_in(prefix + name, cast(nn.Linear, self.get_submodule(name)))
        return [
            *_mlp_units(f"{prefix}f0_mlp", self.f0_mlp, f0_readers),
            *_mlp_units(f"{prefix}loudness_mlp", self.loudness_mlp, loudness_readers),
            UnitSet(f"{prefix}gru", recurrent),
            *_mlp_units(f"{prefix}out_mlp", self.out_mlp, heads),
        ]


class Reverb(nn.Module):
    """Convolve a signal with fixed noise whose decay and level are learned, two parameters."""

    impulse: Tensor

    def __init__(self, length: int, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        noise = 2 * torch.rand(length, generator=torch.Generator().manual_seed(0)) - 1
        self.register_buffer("impulse", noise, persistent=False)
        self.decay = nn.Parameter(torch.empty(()))
        self.wet = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set decay and level to where training begins."""
        nn.init.constant_(self.decay, FIRST_DECAY)
        nn.init.constant_(self.wet, FIRST_WET)

    def forward(self, signal: Tensor) -> Tensor:
        """Map a signal (B, T) to the reverberated one, cut to T samples."""
        length = signal.shape[-1]
        response = synthesis.reverb_response(
            self.impulse[:length], self.decay, self.wet, self.sample_rate
        )
        return synthesis.fft_convolve(signal, response)[..., :length]


class DDSP(nn.Module):
    """Re-synthesize notes by harmonics, filtered noise and reverberation.

    Pitch and loudness are given, the timbre is learned. A convolutional encoder gives latent
    frames of 160 samples. The decoder has 4,330,166 parameters with the 16 latent dimensions of
    the authors' code, 4,502,198 with 128 and 4,305,590 with none; the encoder 260,128 (16,
    Gaussian), 461,056 (128, Gaussian) or 346,240 (128, deterministic). Widths are read from the
    weights, so that a trimmed model runs as it is.

    In training, noise and latent samples come from torch's random generator; in evaluation the
    latent is its mean and the noise that of ``seed``, the same for every item, so that a result
    depends on its item alone.

    Args:
        hidden: Width of the stacks and of the GRU, 1 to 4096.
        depth: Linear layers of each stack, 1 to 8; each is followed by a layer normalisation and
            ReLU.
        latent: Latent dimensions Z, 0 to 1024; 0 is a model without encoder.
        latent_kind: ``"gaussian"``, whose encoder gives mean and log variance, or
            ``"deterministic"``.
        encoder_width: Channels of the encoder's three inner layers, 1 to 4096.
        partials: Number of harmonic partials K, 1 to 1024.
        filter_size: Samples of the noise filter, even, 2 to 4096; it has ``filter_size / 2 + 1``
            bands.
        reverb_length: Samples of the reverberation's response, 1 to 480,000.
        seed: Seed of the noise in evaluation, 0 to 2^31 - 1.
        sample_rate: Samples in one second of audio, 1000 to 192,000.

    Attributes:
        block_size: Samples of a frame.
        frames_per_second: Frames in one second of audio.
        time_dim: Axis of the frames in the controls.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Esling et al., Sec. 4.1 (hidden size 512, 3 layers, filter of 160, 100 partials), after
    Engel et al. (2020). Pitch enters as MIDI pitch / 127 as in the original DDSP, not in Hz;
    loudness enters as it is given and should be of order 1, such as the RMS of frames. The noise
    heads start at a shift of -5 as in the original. The paper's latent size of 128 is the encoder
    width of its code, whose latent has 16 dimensions.
    """

    sample_rate: int = 16_000
    block_size: int = BLOCK_SIZE
    frames_per_second: float = sample_rate / BLOCK_SIZE
    time_dim: int = 1

    def __init__(
        self,
        *,
        hidden: Annotated[int, Range(1, 4096)] = 512,
        depth: Annotated[int, Range(1, 8)] = 3,
        latent: Annotated[int, Range(0, 1024)] = 16,
        latent_kind: Annotated[str, OneOf(*LATENTS)] = "gaussian",
        encoder_width: Annotated[int, Range(1, 4096)] = 128,
        partials: Annotated[int, Range(1, 1024)] = 100,
        filter_size: Annotated[int, Range(2, 4096)] = 160,
        reverb_length: Annotated[int, Range(1, 480_000)] = 32_000,
        seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
        sample_rate: Annotated[int, Range(1000, 192_000), FOLLOWS] = 16_000,
    ) -> None:
        super().__init__()
        self.sample_rate = check_whole("sample_rate", sample_rate, 1000, 192_000)
        self.frames_per_second = sample_rate / BLOCK_SIZE
        check_whole("hidden", hidden, 1, 4096)
        check_whole("depth", depth, 1, 8)
        check_whole("encoder_width", encoder_width, 1, 4096)
        check_whole("partials", partials, 1, 1024)
        check_whole("reverb_length", reverb_length, 1, 480_000)
        self.latent = check_whole("latent", latent, 0, 1024)
        self.seed = check_whole("seed", seed, 0, 2**31 - 1)
        if latent_kind not in LATENTS:
            raise ConfigError(unknown_name("model.latent_kind", latent_kind, LATENTS))
        if check_whole("filter_size", filter_size, 2, 4096) % 2:
            raise ConfigError(
                f"expected an even filter_size, got {filter_size}; change model.filter_size"
            )
        self.gaussian = latent_kind == "gaussian"
        self.encoder = (
            _encoder(encoder_width, latent * (2 if self.gaussian else 1)) if latent else None
        )
        self.decoder = Decoder(hidden, depth, latent, partials, filter_size // 2 + 1)
        self.reverb = Reverb(reverb_length, self.sample_rate)

    def forward(self, controls: Tensor, audio: Tensor | None = None) -> Tensor:
        """Re-synthesize audio.

        Args:
            controls: Fundamental frequency in Hz and loudness of each frame, shape (B, N, 2).
            audio: The note itself, shape (B, N * 160), of which the encoder takes the timbre;
                not used without latent dimensions.

        Returns:
            Audio, shape (B, N * 160).

        Raises:
            DataError: Shapes do not fit, or the encoder has no audio.
        """
        if not self.latent:
            return self.decode(controls)
        if audio is None:
            raise DataError(
                f"expected audio for the {self.latent} latent dimensions, got none; give it, or "
                f"call decode with a latent"
            )
        return self.decode(controls, self.sample(*self.encode(audio)))

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log variance, if any, of the latent frames (B, N, Z) of audio (B, T).

        Raises:
            DataError: The audio is no whole number of frames.
            ConfigError: The model has no encoder.
        """
        if self.encoder is None:
            raise ConfigError("expected a model with an encoder, got latent=0; set model.latent")
        if audio.dim() != 2 or audio.shape[1] == 0 or audio.shape[1] % BLOCK_SIZE:
            raise DataError(
                f"expected audio (B, T) with T a multiple of {BLOCK_SIZE}, got "
                f"{tuple(audio.shape)}; pad or cut the notes"
            )
        values = self.encoder(audio.unsqueeze(1)).transpose(1, 2)
        if not self.gaussian:
            return values, None
        mean, log_variance = values.chunk(2, -1)
        return mean, log_variance

    def sample(self, mean: Tensor, log_variance: Tensor | None) -> Tensor:
        """Draw latent frames in training; in evaluation or without variance return the mean."""
        if log_variance is None or not self.training:
            return mean
        return mean + torch.exp(log_variance / 2) * torch.randn_like(mean)

    def decode(self, controls: Tensor, latent: Tensor | None = None) -> Tensor:
        """Synthesize audio (B, N * 160).

        Args:
            controls: Frequency in Hz and loudness, (B, N, 2).
            latent: Latent frames (B, N, Z); None if the model has none.

        Raises:
            DataError: Shapes do not fit.
        """
        wanted = (*controls.shape[:2], self.latent) if self.latent else None
        given = None if latent is None else tuple(latent.shape)
        if controls.dim() != 3 or controls.shape[2] != 2 or given != wanted:
            wish = f"expected controls (B, N, 2) and a latent of {self.latent} dimensions"
            got = f"{tuple(controls.shape)} and {given or 'none'}"
            raise DataError(f"{wish}, got {got}; cut both to the same frames")
        return self.synthesize(controls[..., 0], self.decoder(controls, latent)[0])

    def synthesize(self, f0_hz: Tensor, controls: Controls) -> Tensor:
        """Turn controls of frames at frequencies (B, N) in Hz into audio (B, N * 160)."""
        shares = synthesis.harmonic_distribution(controls.partials, f0_hz, self.sample_rate)
        harmonic = synthesis.harmonic_signal(
            f0_hz, controls.amplitude * shares, BLOCK_SIZE, self.sample_rate
        )
        return self.reverb(harmonic + synthesis.filtered_noise(controls.noise, self._noise(f0_hz)))

    def _noise(self, f0_hz: Tensor) -> Tensor:
        shape = (*f0_hz.shape, BLOCK_SIZE)
        if self.training:
            return 2 * torch.rand(shape, dtype=f0_hz.dtype, device=f0_hz.device) - 1
        one = torch.rand(shape[1:], generator=torch.Generator().manual_seed(self.seed))
        return (2 * one - 1).to(f0_hz).expand(shape)

    def initial_state(self, batch: int = 1) -> Tensor:
        """Return the state (1, batch, H) of the GRU before the first frame: zero."""
        units = recurrent_units(self.decoder.gru)
        return self.decoder.amplitude.weight.new_zeros(1, batch, units)

    def step(
        self, controls: Tensor, latent: Tensor | None, state: Tensor
    ) -> tuple[Controls, Tensor]:
        """Run one generation step of the decoder, without synthesis.

        Args:
            controls: Frequency and loudness of one frame, shape (B, 1, 2).
            latent: Latent frame (B, 1, Z), or None.
            state: State of the GRU before the frame.

        Returns:
            Controls of the frame and the state after it.
        """
        return self.decoder(controls, latent, state)

    def step_input(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the arguments of ``step`` for one frame, which is 160 samples."""
        controls = self._example_controls(1)
        latent = controls.new_zeros(1, 1, self.latent) if self.latent else None
        return controls, latent, self.initial_state()

    def streaming_part(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """Return the decoder, which maps frames to controls, an example and its axis of time."""
        controls = self._example_controls(20)
        if not self.latent:
            return self.decoder, (controls,), 1
        latent = torch.randn(1, 20, self.latent, generator=torch.Generator().manual_seed(0))
        return self.decoder, (controls, latent.to(controls)), 1

    def example_input(self, frames: int = 100) -> Tensor | tuple[Tensor, Tensor]:
        """Return the controls (1, frames, 2) of a rising note and random audio for the encoder."""
        controls = self._example_controls(frames)
        if not self.latent:
            return controls
        generator = torch.Generator().manual_seed(0)
        audio = torch.rand(1, frames * BLOCK_SIZE, generator=generator) - 0.5
        return controls, audio.to(controls)

    def example_seconds(self, frames: int = 100) -> float:
        """Return the seconds of audio that so many frames are."""
        return frames / self.frames_per_second

    def _example_controls(self, frames: int) -> Tensor:
        f0_hz, loudness = torch.linspace(220, 440, frames), torch.linspace(0.2, 0.1, frames)
        curves = torch.stack((f0_hz, loudness), -1)
        return curves[None].to(self.decoder.amplitude.weight)

    def synthesis_flops_per_second(self) -> float:
        """Estimate the operations of the synthesizer per second of audio.

        Each partial of each sample takes a product for its phase, a sine, counted as one
        operation, and two multiply-adds for the amplitudes of the frames around it. Transforms
        take 5 N log2 N; noise is filtered frame by frame, reverberation is one convolution for
        each second.
        """
        partials, bands = self.decoder.partials.out_features, self.decoder.noise.out_features
        size = 2 * (bands - 1)
        transforms = 5 * size * math.log2(size) + size
        noise = transforms + synthesis.convolution_flops(size + BLOCK_SIZE - 1) + size
        reverb = synthesis.convolution_flops(self.sample_rate + len(self.reverb.impulse) - 1)
        return self.sample_rate * (6 * partials + 4) + self.frames_per_second * noise + reverb

    def unit_sets(self) -> list[UnitSet]:
        """Return the units of the decoder and the encoder's inner channels.

        The latent, the inputs and the heads' outputs stay.
        """
        encoder = chain_units([("encoder", self.encoder)]) if self.encoder is not None else []
        return [*encoder, *self.decoder.unit_sets("decoder.")]


def _encoder(width: int, outputs: int) -> nn.Sequential:
    """Build four dilated convolutions that leave one frame of each 160 samples."""
    sizes = (1, width, width, width, outputs)
    convolutions = [
        nn.Conv1d(sizes[i], sizes[i + 1], 7, stride, padding=6, dilation=2)
        for i, stride in enumerate(STRIDES)
    ]
    layers: list[nn.Module] = []
    for convolution in convolutions[:-1]:
        layers += [convolution, nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, convolutions[-1])


def _mlp(inputs: int, width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(width if i else inputs, width), nn.LayerNorm(width), nn.ReLU()]
    return nn.Sequential(*layers)


def _mlp_width(stack: nn.Sequential) -> int:
    """Return how many outputs a stack has left."""
    return cast(nn.LayerNorm, stack[-2]).normalized_shape[0]


def _mlp_units(name: str, stack: nn.Sequential, readers: Slices) -> list[UnitSet]:
    """Return one set for each layer; ``readers`` read the last one."""
    sets = []
    for i in range(0, len(stack), 3):  # linear layer, normalisation, ReLU
        own = linear_out(f"{name}.{i}", cast(nn.Linear, stack[i]))
        own += layer_norm(f"{name}.{i + 1}", cast(nn.LayerNorm, stack[i + 1]))
        read = readers
        if i + 3 < len(stack):
            read = linear_in(f"{name}.{i + 3}", cast(nn.Linear, stack[i + 3]))
        sets.append(UnitSet(f"{name}.{i}", own + read, exact=False))
    return sets
