"""The gated convolutional recurrent network of Tan & Wang: layers, units, stages, one-frame steps.

``GCRN`` maps noisy to clean complex spectra (B, 2, N, F). The transform, the loss and the scaling
of the signal belong to the enhancement task; ``gcrn_reference`` reads the authors' weights.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.builders import Slices
from audioprune.compress.units.declare import Role, Slice, UnitSet, blocks, rows
from audioprune.errors import ConfigError
from audioprune.models.parts.gcrn_layers import Decoder, GatedConv, GroupedLSTM
from audioprune.models.parts.layers import Layers
from audioprune.models.parts.streaming import State, Tensors
from audioprune.models.parts.widths import check_rate, check_sixteenths, nearest_width
from audioprune.protocols import Stage
from audioprune.ranges import FOLLOWS, Range

ENCODER = (1, 2, 4, 8, 16)  # channels in sixteenths of the width
DECODER = (8, 4, 2, 1, 0)  # the last layer has one channel at every width
ENCODER_BINS = (80, 39, 19, 9, 4)
GROUPS = (1, 2, 4, 8)
MAX_WIDTH = 4


class GCRN(nn.Module):
    """Map noisy to clean complex spectra by an encoder, two grouped LSTM layers and two decoders.

    Convolutions span one frame, so that all memory lies in the LSTM layers. Batch normalisation
    and ELU follow each gated layer; in the decoders ELU follows the concatenation and so acts on
    encoder outputs a second time, as in the authors' code. Sizes at width 1: 18,159,948,
    9,771,340, 5,577,036 and 3,479,884 parameters with 1, 2, 4 and 8 groups. Widths are read from
    the weights, so that a trimmed model runs as it is.

    Args:
        groups: Groups G of the LSTM layers: 1, 2, 4 or 8.
        width: Multiplier of all channel counts, a multiple of 1/16 up to 4; 1 is the published
            model.
        frames_per_second: Frames in one second of audio, with which costs are counted.

    Attributes:
        bins: Number of frequency bins F.
        time_dim: Axis of the frames in the input and the output.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source: Tan & Wang, "Learning complex spectral mapping with gated convolutional recurrent
    networks for monaural speech enhancement", TASLP 2020, and the authors' public code; GCRN of
    Tan & Wang, ICASSP 2021, Table 2.
    """

    frames_per_second: float = 100.0
    bins: int = 161
    time_dim: int = 2
    encoder: Layers[GatedConv]
    recurrent: Layers[GroupedLSTM]

    def __init__(
        self,
        *,
        groups: Annotated[int, Range(1, 8)] = 2,
        width: Annotated[float, Range(0.0625, 4)] = 1.0,
        frames_per_second: Annotated[float, Range(above=0), FOLLOWS] = 100.0,
    ) -> None:
        super().__init__()
        self.frames_per_second = check_rate(frames_per_second)
        if isinstance(groups, bool) or groups not in GROUPS:
            raise ConfigError(
                f"expected groups as one of {', '.join(map(str, GROUPS))}, got {groups!r}; "
                f"change model.groups"
            )
        scale = check_sixteenths("width", width, MAX_WIDTH)
        self.groups, self.width = groups, width
        encoded = [2, *[scale * share for share in ENCODER]]
        decoded = [encoded[-1], *[scale * share or 1 for share in DECODER]]
        # Each decoder layer reads the one before it and the encoder layer of its size.
        inputs = [decoded[i] + encoded[5 - i] for i in range(5)]
        features = encoded[-1] * ENCODER_BINS[-1]
        self.encoder = Layers(GatedConv(encoded[i], encoded[i + 1]) for i in range(5))
        self.recurrent = Layers(
            GroupedLSTM(features, groups, interleave) for interleave in (True, False)
        )
        self.real = Decoder(inputs, decoded[1:], self.bins)
        self.imag = Decoder(inputs, decoded[1:], self.bins)

    @classmethod
    def width_for(cls, params: int, *, groups: int = 2) -> float:
        """Return the width whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.
            groups: As in the constructor.

        Returns:
            A multiple of 1/16.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model.
        """

        def count(sixteenths: int) -> int:
            with torch.device("meta"):
                model = cls(groups=groups, width=sixteenths / 16)
            return sum(parameter.numel() for parameter in model.parameters())

        return nearest_width(count, params, MAX_WIDTH * 16) / 16

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map noisy to clean spectra (B, 2, N, F), real part first."""
        values = spectrum
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return the layers as (parameter prefixes, function); in turn they are the forward pass.

        The two decoders run side by side, so that a stage of theirs has two prefixes. The values
        between two stages are a tuple: the encoder outputs that are still to be read, then the
        newest output or, in the decoders, the newest two.
        """
        stages: list[Stage] = [("encoder.0.", self._begin)]
        stages += [(f"encoder.{i}.", partial(self._encode, i)) for i in range(1, 5)]
        stages += [("recurrent.0.", self._enter), ("recurrent.1.", self._recur)]
        for i in range(5):
            prefixes = (f"real.layers.{i}.", f"imag.layers.{i}.")
            stages.append((prefixes, partial(self._decode, i)))
        return [*stages, (("real.output.", "imag.output."), self._finish)]

    def _begin(self, spectrum: Tensor) -> Tensors:
        return (F.elu(self.encoder[0](spectrum)),)

    def _encode(self, layer: int, values: Tensors) -> Tensors:
        return (*values, F.elu(self.encoder[layer](values[-1])))

    def _enter(self, values: Tensors) -> Tensors:
        # the last encoder output is read again by the decoders
        return (*values, self.recurrent[0](_to_features(values[-1]))[0])

    def _recur(self, values: Tensors) -> Tensors:
        return (*values[:-1], self.recurrent[1](values[-1])[0])

    def _decode(self, layer: int, values: Tensors) -> Tensors:
        if layer == 0:
            *kept, last, features = values
            joined = torch.cat((_from_features(features, last), last), 1)
            real = imag = joined
        else:
            *kept, real, imag = values
        skip = kept[-1] if kept else None
        return (
            *kept[:-1],
            self.real.level(real, layer, skip),
            self.imag.level(imag, layer, skip),
        )

    def _finish(self, values: Tensors) -> Tensor:
        real, imag = values
        return torch.cat((self.real.output(real), self.imag.output(imag)), 1)

    def initial_state(self, batch: int = 1) -> State:
        """Return zero states h and c of each group of each layer, each (1, batch, units)."""
        weight = self.real.output.weight
        sizes = [size for layer in self.recurrent for size in layer.units()]
        return tuple(weight.new_zeros(1, batch, size) for size in sizes for _ in "hc")

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map a noisy frame (B, 2, F) and the state before it to a clean frame and the next state.

        Equal to the forward pass in evaluation mode, where normalisation does not depend on other
        frames.
        """
        values = self._begin(frame.unsqueeze(2))  # (B, 2, 1, F)
        for layer in range(1, 5):
            values = self._encode(layer, values)
        first = 2 * len(self.recurrent[0].groups)
        features, after = self.recurrent[0](_to_features(values[-1]), state[:first])
        features, later = self.recurrent[1](features, state[first:])
        values = (*values, features)
        for layer in range(5):
            values = self._decode(layer, values)
        return self._finish(values).squeeze(2), after + later

    def example_input(self, frames: int = 100) -> Tensor:
        """Return spectra (1, 2, frames, F) of fixed random values from a normal distribution."""
        values = torch.randn(1, 2, frames, self.bins, generator=torch.Generator().manual_seed(0))
        return values.to(self.real.output.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels and LSTM units that can be removed.

        - ``encoder.0`` to ``encoder.3``: channels, read by the next layer and by both decoders.
        - ``encoder.4.g``: channels of the last layer whose four bins enter LSTM group g; both
          decoders read them too.
        - ``recurrent.0.g.k``: units of LSTM group g of the first layer that group k of the second
          layer reads.
        - ``recurrent.1.g``: output channels, each of four LSTM units of group g of the second
          layer, that both decoders read.
        - ``real.i``, ``imag.i``: channels of a decoder layer.

        The sets of the LSTM layers are not exact: layer normalisation takes mean and variance over
        all units, so that a masked unit still counts and a trimmed one does not. All others are
        exact. Groups may become unequal; the forward pass splits and sorts by the sizes and ranks
        that are left.
        """
        return [
            *[self._encoder_units(i) for i in range(4)],
            *self._bottleneck_units(),
            *self._first_units(),
            *self._second_units(),
            *[_decoder_units("real", self.real, i) for i in range(4)],
            *[_decoder_units("imag", self.imag, i) for i in range(4)],
        ]

    def _encoder_units(self, layer: int) -> UnitSet:
        name, units = f"encoder.{layer}", rows(0, self._channels(layer))
        written = _gated(name, 0, units, "out") + _normed(f"{name}.norm", units)
        read = _gated(f"encoder.{layer + 1}", 1, units, "in") + self._skips(layer, units)
        return UnitSet(name, written + read)

    def _channels(self, layer: int) -> int:
        """Return how many channels an encoder layer writes."""
        return self.encoder[layer].value.weight.shape[0]

    def _skips(self, layer: int, units: Tensor) -> Slices:
        """Return what both decoders read of encoder channels."""
        partner = 4 - layer
        slices: Slices = ()
        for part, decoder in (("real", self.real), ("imag", self.imag)):
            # The encoder's channels come last, behind as many as each decoder has left.
            first = decoder.layers[partner].value.weight.shape[0] - self._channels(layer)
            slices += _gated(f"{part}.layers.{partner}", 0, units + first, "in")
        return slices

    def _bottleneck_units(self) -> list[UnitSet]:
        sizes = self.recurrent[0].inputs()
        bins, start, sets = sum(sizes) // self._channels(4), 0, []
        for group, size in enumerate(sizes):
            count = size // bins
            units = rows(start, count)
            start += count
            reader = f"recurrent.0.groups.{group}.weight_ih_l0"
            written = _gated("encoder.4", 0, units, "out") + _normed("encoder.4.norm", units)
            read = (Slice(reader, 1, blocks(0, count, bins), "in"), *self._skips(4, units))
            sets.append(UnitSet(f"encoder.4.{group}", written + read))
        return sets

    def _first_units(self) -> list[UnitSet]:
        sets, start, places = [], 0, self._places()
        for group, size in enumerate(self.recurrent[0].units()):
            own, first = places[start : start + size], 0
            for reader, width in enumerate(self.recurrent[1].inputs()):
                units = torch.nonzero((own >= first) & (own < first + width))
                read = Slice(
                    f"recurrent.1.groups.{reader}.weight_ih_l0", 1, own[units] - first, "in"
                )
                slices = (
                    *_recurrent(f"recurrent.0.groups.{group}", size, units),
                    *_affine("recurrent.0.norm", own[units]),
                    Slice("recurrent.0.order", 0, units + start, "in"),
                    read,
                )
                sets.append(UnitSet(f"recurrent.0.{group}.{reader}", slices, exact=False))
                first += width
            start += size
        return sets

    def _places(self) -> Tensor:
        """Return where each output of the first layer's groups is once they are interleaved."""
        order = self.recurrent[0].order
        if order is None:
            return torch.arange(sum(self.recurrent[0].units()))
        return order.cpu().argsort().argsort()

    def _second_units(self) -> list[UnitSet]:
        sizes, sets, start = self.recurrent[1].units(), [], 0
        channels = self.real.layers[0].value.weight.shape[0] - self._channels(4)
        bins = sum(sizes) // channels
        for group, size in enumerate(sizes):
            units = blocks(0, size // bins, bins)
            read = rows(start // bins, size // bins)
            slices = (
                *_recurrent(f"recurrent.1.groups.{group}", size, units),
                *_affine("recurrent.1.norm", units + start),
                *_gated("real.layers.0", 0, read, "in"),
                *_gated("imag.layers.0", 0, read, "in"),
            )
            sets.append(UnitSet(f"recurrent.1.{group}", slices, exact=False))
            start += size
        return sets


def _decoder_units(part: str, decoder: Decoder, layer: int) -> UnitSet:
    name = f"{part}.layers.{layer}"
    units = rows(0, decoder.layers[layer].value.weight.shape[1])
    written = _gated(name, 1, units, "out") + _normed(f"{name}.norm", units)
    read = _gated(f"{part}.layers.{layer + 1}", 0, units, "in")
    return UnitSet(f"{part}.{layer}", written + read)


def _to_features(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(2)  # (B, C, N, F) -> (B, N, C * F)


def _from_features(features: Tensor, like: Tensor) -> Tensor:
    return features.unflatten(2, (-1, like.shape[3])).transpose(1, 2)


def _gated(layer: str, dim: int, units: Tensor, role: Role) -> Slices:
    """Return the slices of value and gate of a layer; what writes units has biases too."""
    both = (f"{layer}.value", f"{layer}.gate")
    weights = tuple(Slice(f"{name}.weight", dim, units, role) for name in both)
    if role != "out":
        return weights
    return weights + tuple(Slice(f"{name}.bias", 0, units) for name in both)


def _affine(norm: str, units: Tensor) -> Slices:
    return tuple(Slice(f"{norm}.{kind}", 0, units, "norm") for kind in ("weight", "bias"))


def _normed(norm: str, units: Tensor) -> Slices:
    running = tuple(
        Slice(f"{norm}.{kind}", 0, units, "norm") for kind in ("running_mean", "running_var")
    )
    return _affine(norm, units) + running


def _recurrent(layer: str, size: int, units: Tensor) -> Slices:
    """Return what writes and feeds back LSTM units: four gate rows and a recurrent column each."""
    gates = torch.cat([units + gate * size for gate in range(4)], 1)
    written = tuple(
        Slice(f"{layer}.{kind}_l0", 0, gates)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return (*written, Slice(f"{layer}.weight_hh_l0", 1, units, "in"))
