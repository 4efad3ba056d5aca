"""The network that tells enhanced from clean speech in adversarial training: a discriminator.

``Discriminator`` judges a frame beside the coded frame that it came from: pairs (B, 2, T) to
values (B, 1). The losses and the order of the updates belong to the adversarial task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from audioprune.errors import ConfigError, unknown_name
from audioprune.models.dcae import StridedConv, check_kernel, initialise_, scaled_channels
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.widths import check_whole
from audioprune.ranges import NoKey, OneOf, Range

CHANNELS = (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024)
NORMS = ("batch", "spectral", "virtual", "none")
HEAD = (256, 128)
_FLOOR = 1e-5


class VirtualBatchNorm(nn.Module):
    """Normalise each item by the statistics of a fixed reference batch and of the item itself.

    Of R reference items and one more, each has the share 1 / (R + 1) in mean and mean square; the
    reference items are normalised by the reference alone. Mean and mean square run over time and,
    in the reference, over its items.

    Args:
        channels: Channels C of the input.

    Source: Salimans et al., "Improved techniques for training GANs", NIPS 2016, Sec. 3.5, with the
    shares of its common implementation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor, references: int) -> Tensor:
        """Normalise values (R + B, C, T), whose first ``references`` items R are the reference."""
        moments = torch.stack((values.mean(2), values.square().mean(2)))  # (2, R + B, C)
        reference = moments[:, :references].mean(1, keepdim=True)
        share = 1 / (references + 1)
        joined = share * moments[:, references:] + (1 - share) * reference
        mean, square = torch.cat((reference.expand(-1, references, -1), joined), 1).unsqueeze(3)
        normal = (values - mean) * (square - mean.square()).clamp_min(0).add(_FLOOR).rsqrt()
        return normal * self.weight[:, None] + self.bias[:, None]


class JudgedConv(nn.Module):
    """Shorten a signal by a strided convolution, normalise it if wanted, and apply a PReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, stride: int, norm: str
    ) -> None:
        super().__init__()
        self.block = StridedConv(inputs, outputs, kernel_size, stride)
        self.norm: nn.Module | None = None
        if norm == "batch":
            self.norm = nn.BatchNorm1d(outputs)
        elif norm == "virtual":
            self.norm = VirtualBatchNorm(outputs)

    def forward(self, values: Tensor, references: int) -> Tensor:
        """Map values (B, C, T) to (B, C', T / stride).

        Args:
            values: The reference items of virtual normalisation, then the items to judge.
            references: Number of reference items; 0 for other normalisations.
        """
        linear = self.block.linear(values)
        if isinstance(self.norm, VirtualBatchNorm):
            linear = self.norm(linear, references)
        elif self.norm is not None:
            linear = self.norm(linear)
        return self.block.act(linear)


class Discriminator(nn.Module):
    """Judge frames, given the coded frames: near 1 for clean, near 0 for enhanced frames.

    Strided convolutions as in the encoder of the generator, then linear layers of 256, 128 and 1
    units with PReLU between them. In training the signal is rolled by a random number of samples
    before each convolution, one for the whole batch, so that the place of a sample in the frame
    says nothing.

    Args:
        channels: Outputs of the convolutions at width 1.
        width: Multiplier of all channel counts, a multiple of 1/16 up to 4.
        kernel_size: Taps of every convolution, odd.
        stride: Shortening by each convolution, 2 to 4.
        norm: ``batch``, ``virtual`` (statistics of a reference batch), ``spectral`` (of all
            weights) or ``none``.
        phase_shift: Most samples to roll by, 0 for none.
        reference_items: Most frames of the reference batch of ``virtual``.
        frame_length: Samples T of a frame, a multiple of stride^layers.

    Attributes:
        reference: Reference batch (reference_items, 2, T) of virtual normalisation.
        reference_count: How many frames of it are set.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: the published PyTorch implementation of Pascual et al., "SEGAN: Speech enhancement
    generative adversarial network", INTERSPEECH 2017, whose paper has virtual batch normalisation;
    the rolls are those of Donahue et al., "Adversarial audio synthesis", ICLR 2019. The talk of
    Plain & Biswas does not describe its discriminator.
    """

    reference: Tensor
    reference_count: Tensor
    blocks: Layers[JudgedConv]

    def __init__(
        self,
        *,
        channels: Annotated[Sequence[int], Range(1, 65_536)] = CHANNELS,
        width: Annotated[float, Range(0.0625, 4)] = 1.0,
        kernel_size: Annotated[int, Range(3, 255)] = 31,
        stride: Annotated[int, Range(2, 4)] = 2,
        norm: Annotated[str, OneOf(*NORMS)] = "batch",
        phase_shift: Annotated[int, Range(0, 1024)] = 5,
        reference_items: Annotated[int, Range(1, 1024)] = 16,
        frame_length: Annotated[int, NoKey()] = 16384,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ConfigError(unknown_name("discriminator.norm", norm, NORMS))
        widths = [2, *scaled_channels(channels, width)]
        self.norm = norm
        self.phase_shift = check_whole("phase_shift", phase_shift, 0, 1024)
        check_kernel(kernel_size, check_whole("stride", stride, 2, 4))
        multiple = stride ** len(channels)
        shortest = stride ** (len(channels) - 1) * (kernel_size // 2 + 1)
        if frame_length % multiple or frame_length < shortest:
            raise ConfigError(
                f"discriminator: expected frames of a multiple of {multiple} samples that a "
                f"kernel of {kernel_size} taps fits into at "
                f"its last layer, got {frame_length}; change task.frame_length or "
                f"task.discriminator.channels"
            )
        self.blocks = Layers(
            JudgedConv(widths[i], widths[i + 1], kernel_size, stride, norm)
            for i in range(len(channels))
        )
        flat = widths[-1] * (frame_length // multiple)
        first, second = HEAD
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, first),
            nn.PReLU(first),
            nn.Linear(first, second),
            nn.PReLU(second),
            nn.Linear(second, 1),
        )
        initialise_(self)
        if norm == "spectral":
            for module in list(self.modules()):
                if isinstance(module, nn.Conv1d | nn.Linear):
                    spectral_norm(module)
        if norm == "virtual":
            items = check_whole("reference_items", reference_items, 1, 1024)
            self.register_buffer("reference", torch.zeros(items, 2, frame_length))
            self.register_buffer("reference_count", torch.tensor(0))
            self._count = 0  # as far as it is known on the CPU

    @torch.no_grad()
    def observe(self, pairs: Tensor) -> None:
        """Take pairs of clean and coded frames (B, 2, T) as the reference batch, once."""
        if self.norm == "virtual" and not self._taken():
            count = min(len(pairs), len(self.reference))
            self.reference[:count] = pairs[:count]
            self.reference_count.fill_(count)
            self._count = count

    def forward(self, pairs: Tensor) -> Tensor:
        """Judge pairs (B, 2, T) of a frame and the coded frame, giving values (B, 1).

        Raises:
            ConfigError: A pair has another shape, or virtual normalisation has no reference batch
                yet.
        """
        if pairs.dim() != 3 or pairs.shape[1] != 2:
            raise ConfigError(
                f"expected pairs (B, 2, T) of a frame and its coded frame, got "
                f"{tuple(pairs.shape)}; join both on axis 1"
            )
        references = self._references()
        values = torch.cat((self.reference[:references].to(pairs), pairs)) if references else pairs
        for block in self.blocks:
            values = block(self._rolled(values), references)
        return self.head(values[references:])

    def _references(self) -> int:
        if self.norm != "virtual":
            return 0
        if not self._taken():
            raise ConfigError(
                "virtual normalisation: expected a reference batch, got none; call "
                "observe(pairs) before the first pass"
            )
        return self._taken()

    def _taken(self) -> int:
        """Return the pairs of the reference batch, read from their device once."""
        if not self._count:
            self._count = int(self.reference_count)
        return self._count

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        self._count = 0
        super()._load_from_state_dict(*arguments, **options)

    def _rolled(self, values: Tensor) -> Tensor:
        if not self.training or not self.phase_shift:
            return values
        size = int(torch.randint(1, self.phase_shift + 1, ()))
        right = bool(torch.rand(()) < 0.5)
        return values.roll(size if right else -size, 2)
