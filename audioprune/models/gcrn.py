"""What the gated convolutional recurrent network of Tan & Wang is: layers, units, stages, one-frame steps, the authors' names.

It maps complex spectra to complex spectra; the transform, the loss and the scaling of the signal
belong to the enhancement task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.declare import Slice, UnitSet, blocks, rows
from audioprune.errors import CheckpointError, ConfigError, unknown_name
from audioprune.models.parts.streaming import Stage, State, Values
from audioprune.models.parts.widths import check_rate, check_sixteenths, nearest_width
from audioprune.ranges import FOLLOWS, Range

ENCODER = (1, 2, 4, 8, 16)  # channels in sixteenths of the width
DECODER = (8, 4, 2, 1, 0)  # the last layer has one channel at every width
ENCODER_BINS = (80, 39, 19, 9, 4)
GROUPS = (1, 2, 4, 8)
MAX_WIDTH = 4


class GatedConv(nn.Module):
    """Convolve along frequency, gate by a second convolution and normalise: (B, C, N, F) to (B, C', N, F')."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Conv2d(inputs, outputs, (1, 3), (1, 2))
        self.gate = nn.Conv2d(inputs, outputs, (1, 3), (1, 2))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Map features; the activation is left to the caller, who may concatenate first."""
        return self.norm(self.value(values) * torch.sigmoid(self.gate(values)))


class GatedDeconv(nn.Module):
    """Undo a gated convolution: (B, C, N, F) to (B, C', N, F')."""

    def __init__(self, inputs: int, outputs: int, output_padding: int) -> None:
        super().__init__()
        self.value = nn.ConvTranspose2d(
            inputs, outputs, (1, 3), (1, 2), output_padding=(0, output_padding)
        )
        self.gate = nn.ConvTranspose2d(
            inputs, outputs, (1, 3), (1, 2), output_padding=(0, output_padding)
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Map features; the activation is left to the caller, who may concatenate first."""
        return self.norm(self.value(values) * torch.sigmoid(self.gate(values)))


class GroupedLSTM(nn.Module):
    """Run an LSTM on each group of features, optionally interleave the groups' outputs, and normalise: (B, N, U) to (B, N, U').

    The buffer ``order`` ranks each output of the concatenated groups in the interleaved
    representation (unit j of group g has the rank jG + g). It is a list of ranks, not of
    positions: where units are removed, the ranks that stay still sort the rest.

    Args:
        features: Number of input and of output features, a multiple of the groups.
        groups: Number of groups G.
        interleave: Whether the next layer shall read units of all groups in each of its own
            (representation rearrangement).
    """

    def __init__(self, features: int, groups: int, interleave: bool) -> None:
        super().__init__()
        size = features // groups
        self.groups = nn.ModuleList(nn.LSTM(size, size, batch_first=True) for _ in range(groups))
        self.norm = nn.LayerNorm(features)
        self.register_buffer("order", _interleaved_ranks(features, groups) if interleave else None)

    def sizes(self, axis: str) -> list[int]:
        """Return the number of inputs (``"ih"``) or units (``"hh"``) of each group."""
        return [getattr(group, f"weight_{axis}_l0").shape[1] for group in self.groups]

    def forward(self, values: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map features, from a zero state or from h and c of each group in turn, each (1, B, units of the group)."""
        outputs, after = [], []
        for i, (group, part) in enumerate(
            zip(self.groups, values.split(self.sizes("ih"), -1), strict=True)
        ):
            output, pair = group(part, None if state is None else (state[2 * i], state[2 * i + 1]))
            outputs.append(output)
            after += pair
        joined = torch.cat(outputs, -1)
        if self.order is not None:
            joined = joined.index_select(-1, self.order.argsort())
        return self.norm(joined), tuple(after)


class Decoder(nn.Module):
    """Make one part of the complex spectrum: five gated deconvolutions and a linear layer over the bins."""

    def __init__(self, inputs: list[int], outputs: list[int], bins: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GatedDeconv(inputs[i], outputs[i], int(i == 3)) for i in range(len(outputs))
        )
        self.output = nn.Linear(bins, bins)

    def level(self, values: Tensor, layer: int, skip: Tensor | None) -> Tensor:
        """Run one layer, append the encoder's output where there is one, then rectify both."""
        outputs = self.layers[layer](values)
        return F.elu(outputs if skip is None else torch.cat((outputs, skip), 1))


class GCRN(nn.Module):
    """Map noisy to clean complex spectra by a gated convolutional encoder, two grouped LSTM layers and two decoders.

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
        inputs = [a + b for a, b in zip(decoded, reversed(encoded[1:]), strict=False)]
        features = encoded[-1] * ENCODER_BINS[-1]
        self.encoder = nn.ModuleList(GatedConv(encoded[i], encoded[i + 1]) for i in range(5))
        self.recurrent = nn.ModuleList(
            GroupedLSTM(features, groups, interleave) for interleave in (True, False)
        )
        self.real = Decoder(inputs, decoded[1:], self.bins)
        self.imag = Decoder(inputs, decoded[1:], self.bins)

    @classmethod
    def width_for(cls, params: int, *, groups: int = 2) -> float:
        """Return the width, a multiple of 1/16, whose model has the number of parameters nearest to ``params``.

        Args:
            params: Wished number of parameters, above 0.
            groups: As in the constructor.

        Raises:
            ConfigError: If ``params`` is below 1 or above the largest model.
        """

        def count(sixteenths: int) -> int:
            with torch.device("meta"):
                return sum(
                    p.numel() for p in cls(groups=groups, width=sixteenths / 16).parameters()
                )

        return nearest_width(count, params, MAX_WIDTH * 16) / 16

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map noisy spectra (B, 2, N, F), real then imaginary part, to clean spectra (B, 2, N, F)."""
        values: Values = spectrum
        for _, run in self.stages():
            values = run(values)
        return values

    def stages(self) -> list[Stage]:
        """Return (parameter prefix, function) of each layer; composing the functions equals the forward pass.

        The two decoders run side by side, so that a stage of theirs has two prefixes. The values
        between two stages are a tuple: the encoder outputs that are still to be read, then the
        newest output or, in the decoders, the newest two.
        """
        encoder: list[Stage] = [
            (f"encoder.{i}.", lambda values, i=i: self._encode(values, i)) for i in range(5)
        ]
        middle: list[Stage] = [
            (f"recurrent.{i}.", lambda values, i=i: self._recur(values, i)) for i in range(2)
        ]
        decoder: list[Stage] = [
            (
                (f"real.layers.{i}.", f"imag.layers.{i}."),
                lambda values, i=i: self._decode(values, i),
            )
            for i in range(5)
        ]
        return [*encoder, *middle, *decoder, (("real.output.", "imag.output."), self._finish)]

    def _encode(self, values: Values, layer: int) -> Values:
        kept, newest = ((), values) if layer == 0 else (values, values[-1])
        return (*kept, F.elu(self.encoder[layer](newest)))

    def _recur(self, values: Values, layer: int) -> Values:
        kept, newest = (
            (values, _to_features(values[-1])) if layer == 0 else (values[:-1], values[-1])
        )
        return (*kept, self.recurrent[layer](newest)[0])

    def _decode(self, values: Values, layer: int) -> Values:
        if layer == 0:
            encoded, features = values[:-1], values[-1]
            joined = torch.cat((_from_features(features, encoded[-1]), encoded[-1]), 1)
            values = (*encoded[:-1], joined, joined)
        encoded, (real, imag) = values[:-2], values[-2:]
        skip = encoded[-1] if encoded else None
        return (
            *encoded[:-1],
            self.real.level(real, layer, skip),
            self.imag.level(imag, layer, skip),
        )

    def _finish(self, values: Values) -> Tensor:
        real, imag = values
        return torch.cat((self.real.output(real), self.imag.output(imag)), 1)

    def initial_state(self, batch: int = 1) -> State:
        """Return zero states h and c of each group of each LSTM layer in turn, each (1, batch, units of the group)."""
        sizes = [size for layer in self.recurrent for size in layer.sizes("hh")]
        return tuple(
            self.real.output.weight.new_zeros(1, batch, size) for size in sizes for _ in range(2)
        )

    def step(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Map one noisy frame (B, 2, F) and the state before it to the clean frame (B, 2, F) and the state after it.

        Equal to the forward pass in evaluation mode, where normalisation does not depend on other
        frames.
        """
        values: Values = frame.unsqueeze(2)
        for layer in range(5):
            values = self._encode(values, layer)
        first = 2 * len(self.recurrent[0].groups)
        features, after = self.recurrent[0](_to_features(values[-1]), state[:first])
        features, later = self.recurrent[1](features, state[first:])
        values = (*values, features)
        for layer in range(5):
            values = self._decode(values, layer)
        return self._finish(values).squeeze(2), after + later

    def example_input(self, frames: int = 100) -> Tensor:
        """Return spectra (1, 2, frames, F) of fixed random values from a normal distribution."""
        values = torch.randn(1, 2, frames, self.bins, generator=torch.Generator().manual_seed(0))
        return values.to(self.real.output.weight)

    def unit_sets(self) -> list[UnitSet]:
        """Return all channels and LSTM units that can be removed.

        - ``encoder.0`` to ``encoder.3``: channels, read by the next layer and by both decoders.
        ``encoder.4.g``: channels of the last
          layer whose four bins enter LSTM group g; both decoders read them too.
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
        encoder = [self._encoder_units(i) for i in range(4)] + self._bottleneck_units()
        decoder = [self._decoder_units(part, i) for part in ("real", "imag") for i in range(4)]
        return encoder + self._first_units() + self._second_units() + decoder

    def _encoder_units(self, layer: int) -> UnitSet:
        units = rows(0, self.encoder[layer].value.weight.shape[0])
        written = _gated(f"encoder.{layer}", 0, units, "out") + _normed(
            f"encoder.{layer}.norm", units
        )
        return UnitSet(
            f"encoder.{layer}",
            written + _gated(f"encoder.{layer + 1}", 1, units, "in") + self._skips(layer, units),
        )

    def _skips(self, layer: int, units: Tensor) -> tuple[Slice, ...]:
        partner, slices = 4 - layer, ()
        for part, decoder in (
            ("real", self.real),
            ("imag", self.imag),
        ):  # of unequal width once trimmed
            first = (
                decoder.layers[partner].value.weight.shape[0]
                - self.encoder[layer].value.weight.shape[0]
            )
            slices += _gated(f"{part}.layers.{partner}", 0, units + first, "in")
        return slices

    def _bottleneck_units(self) -> list[UnitSet]:
        sizes = self.recurrent[0].sizes("ih")
        bins, start, sets = sum(sizes) // self.encoder[-1].value.weight.shape[0], 0, []
        for group, size in enumerate(sizes):
            units = rows(start, size // bins)
            start += size // bins
            column = Slice(
                f"recurrent.0.groups.{group}.weight_ih_l0", 1, blocks(0, size // bins, bins), "in"
            )
            written = _gated("encoder.4", 0, units, "out") + _normed("encoder.4.norm", units)
            sets.append(UnitSet(f"encoder.4.{group}", (*written, column, *self._skips(4, units))))
        return sets

    def _first_units(self) -> list[UnitSet]:
        layer, sets, start = self.recurrent[0], [], 0
        ranks = (
            layer.order.cpu().argsort().argsort()
        )  # place of each concatenated output in the interleaved features
        for group, size in enumerate(layer.sizes("hh")):
            places, first = ranks[start : start + size], 0
            for reader, width in enumerate(self.recurrent[1].sizes("ih")):
                units = torch.nonzero((places >= first) & (places < first + width))
                read = (
                    Slice("recurrent.0.order", 0, units + start, "in"),
                    Slice(
                        f"recurrent.1.groups.{reader}.weight_ih_l0", 1, places[units] - first, "in"
                    ),
                )
                written = _recurrent(f"recurrent.0.groups.{group}", size, units) + _affine(
                    "recurrent.0.norm", places[units]
                )
                sets.append(UnitSet(f"recurrent.0.{group}.{reader}", written + read, exact=False))
                first += width
            start += size
        return sets

    def _second_units(self) -> list[UnitSet]:
        sizes, sets, start = self.recurrent[1].sizes("hh"), [], 0
        bins = sum(sizes) // (
            self.real.layers[0].value.weight.shape[0] - self.encoder[-1].value.weight.shape[0]
        )
        for group, size in enumerate(sizes):
            units = blocks(0, size // bins, bins)
            written = _recurrent(f"recurrent.1.groups.{group}", size, units) + _affine(
                "recurrent.1.norm", units + start
            )
            channels = rows(start // bins, size // bins)
            read = _gated("real.layers.0", 0, channels, "in") + _gated(
                "imag.layers.0", 0, channels, "in"
            )
            sets.append(UnitSet(f"recurrent.1.{group}", written + read, exact=False))
            start += size
        return sets

    def _decoder_units(self, part: str, layer: int) -> UnitSet:
        name = f"{part}.layers.{layer}"
        units = rows(0, getattr(self, part).layers[layer].value.weight.shape[1])
        written = _gated(name, 1, units, "out") + _normed(f"{name}.norm", units)
        return UnitSet(
            f"{part}.{layer}", written + _gated(f"{part}.layers.{layer + 1}", 0, units, "in")
        )


def _interleaved_ranks(features: int, groups: int) -> Tensor:
    return (
        torch.arange(features).reshape(features // groups, groups).T.flatten()
    )  # unit j of group g -> jG + g


def _to_features(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(2)  # (B, C, N, F) -> (B, N, C * F)


def _from_features(features: Tensor, like: Tensor) -> Tensor:
    return features.unflatten(2, (-1, like.shape[3])).transpose(1, 2)


def _gated(layer: str, dim: int, units: Tensor, role: str) -> tuple[Slice, ...]:
    weights = tuple(
        Slice(f"{layer}.{kind}.weight", dim, units, role) for kind in ("value", "gate")
    )
    biases = tuple(Slice(f"{layer}.{kind}.bias", 0, units) for kind in ("value", "gate"))
    return weights + biases if role == "out" else weights


def _affine(norm: str, units: Tensor) -> tuple[Slice, ...]:
    return tuple(Slice(f"{norm}.{kind}", 0, units, "norm") for kind in ("weight", "bias"))


def _normed(norm: str, units: Tensor) -> tuple[Slice, ...]:
    running = tuple(
        Slice(f"{norm}.{kind}", 0, units, "norm") for kind in ("running_mean", "running_var")
    )
    return _affine(norm, units) + running


def _recurrent(layer: str, size: int, units: Tensor) -> tuple[Slice, ...]:
    """Return what writes and feeds back LSTM units: the four gate rows of each position and its recurrent column."""
    gates = torch.cat([units + gate * size for gate in range(4)], 1)
    written = tuple(
        Slice(f"{layer}.{kind}_l0", 0, gates)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return (*written, Slice(f"{layer}.weight_hh_l0", 1, units, "in"))


_NORM = "weight|bias|running_mean|running_var|num_batches_tracked"
# (start of the authors' name, last word of it, start of our name); i is their number less one, j
# is five less their number
_REFERENCE_NAMES = (
    (r"conv([1-5])\.conv1", "weight|bias", "encoder.{i}.value"),
    (r"conv([1-5])\.conv2", "weight|bias", "encoder.{i}.gate"),
    (r"bn([1-5])", _NORM, "encoder.{i}.norm"),
    (r"glstm\.lstm_list1\.(\d+)", r"\w+_l0", "recurrent.0.groups.{n}"),
    (r"glstm\.lstm_list2\.(\d+)", r"\w+_l0", "recurrent.1.groups.{n}"),
    (r"glstm\.ln([12])", "weight|bias", "recurrent.{i}.norm"),
    (r"conv([1-5])_t_1\.conv1", "weight|bias", "real.layers.{j}.value"),
    (r"conv([1-5])_t_1\.conv2", "weight|bias", "real.layers.{j}.gate"),
    (r"bn([1-5])_t_1", _NORM, "real.layers.{j}.norm"),
    (r"conv([1-5])_t_2\.conv1", "weight|bias", "imag.layers.{j}.value"),
    (r"conv([1-5])_t_2\.conv2", "weight|bias", "imag.layers.{j}.gate"),
    (r"bn([1-5])_t_2", _NORM, "imag.layers.{j}.norm"),
    (r"fc(1)", "weight|bias", "real.output"),
    (r"fc(2)", "weight|bias", "imag.output"),
)


def from_reference_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Rename the parameters of the authors' public network, so that ``GCRN.load_state_dict`` takes them.

    Groups and width are read from the names and shapes; the published network is
    ``GCRN(groups=2)``.

    | authors' name | our name (i = n - 1, j = 5 - n) |
    |---|---|
    | ``conv(n).conv1``, ``conv(n).conv2`` | ``encoder.i.value``, ``encoder.i.gate`` |
    | ``bn(n)`` | ``encoder.i.norm`` |
    | ``glstm.lstm_list1.(g)``, ``glstm.lstm_list2.(g)`` | ``recurrent.0.groups.g``, ``recurrent.1.groups.g`` |
    | ``glstm.ln1``, ``glstm.ln2`` | ``recurrent.0.norm``, ``recurrent.1.norm`` |
    | ``conv(n)_t_1.conv1``, ``conv(n)_t_1.conv2`` | ``real.layers.j.value``, ``real.layers.j.gate`` |
    | ``bn(n)_t_1`` | ``real.layers.j.norm`` |
    | ``conv(n)_t_2.conv1``, ``conv(n)_t_2.conv2`` | ``imag.layers.j.value``, ``imag.layers.j.gate`` |
    | ``bn(n)_t_2`` | ``imag.layers.j.norm`` |
    | ``fc1``, ``fc2`` | ``real.output``, ``imag.output`` |

    The last word (``weight``, ``bias_hh_l0``, ``running_mean``, ...) stays; ``recurrent.0.order``
    is added.

    Args:
        state: State dict of the authors' network; tensors are taken over, not copied.

    Raises:
        CheckpointError: If a name is unknown, a tensor is missing or a shape is not that of the
            network.

    Source: names and order of operations of https://github.com/JupiterEthan/GCRN-complex,
    scripts/utils/networks.py.
    """
    renamed = {_our_name(name): tensor for name, tensor in state.items()}
    first, groups = (
        renamed.get("encoder.0.value.weight"),
        sum(name.startswith("glstm.lstm_list1") for name in state) // 4,
    )
    if (
        first is None
        or first.dim() != 4
        or not 1 <= first.shape[0] <= 16 * MAX_WIDTH
        or groups not in GROUPS
    ):
        raise CheckpointError(
            f"expected tensors of the authors' GCRN, among them conv1.conv1.weight and 1, 2, 4 "
            f"or 8 groups in glstm.lstm_list1, "
            f"got {len(state)} tensors with {groups} groups; give the network's own state dict"
        )
    with torch.device("meta"):
        expected = GCRN(groups=groups, width=first.shape[0] / 16).state_dict()
    renamed["recurrent.0.order"] = _interleaved_ranks(
        expected["recurrent.0.order"].numel(), groups
    )
    _check_tensors(renamed, expected)
    return renamed


def _our_name(name: str) -> str:
    for start, last, ours in _REFERENCE_NAMES:
        found = re.fullmatch(rf"{start}\.({last})", name)
        if found:
            number = int(found[1])
            return f"{ours.format(n=number, i=number - 1, j=5 - number)}.{found[2]}"
    known = (
        "conv1.conv1.weight",
        "bn1.weight",
        "glstm.lstm_list1.0.weight_ih_l0",
        "glstm.ln1.bias",
        "conv5_t_1.conv1.bias",
        "fc1.weight",
    )
    raise CheckpointError(
        f"{unknown_name('tensor of a GCRN state dict', name, known)}; give the network's own "
        f"state dict"
    )


def _check_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing, extra = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(
            f"expected {len(expected)} tensors of a GCRN, got {len(given)}; in our names "
            f"{missing[:3]} are missing and {extra[:3]} "
            "too many; give the network's own state dict"
        )
    for name, tensor in given.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"expected {name} of shape {tuple(expected[name].shape)}, got "
                f"{tuple(tensor.shape)}; give the network's own state dict"
            )
