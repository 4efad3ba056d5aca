"""The compiled loop that draws the samples of a WaveNet, one call for a whole row.

``pack`` copies the weights into tiles, ``generate_row`` draws classes (steps,). What is drawn, and
when this loop runs instead of eager steps, is decided in ``wavenet_generation``, the only caller.
Importing this module imports numba.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audioprune.compiled import compiled
from audioprune.models.parts.wavenet_layers import GatedBlock, SampleModel

Floats = NDArray[np.float32]
TILE = 16  # 16 x 16 weights are read in one stretch and fill vector registers of any width
LARGEST = np.float32(30)  # e^-30 is nothing beside 1
LOG2_E = np.float32(math.log2(math.e))
LN2_HIGH = np.float32(0.693359375)  # few bits, so that its multiples are exact
LN2_LOW = np.float32(math.log(2) - 0.693359375)
ROUNDER = np.float32(1.5 * 2**23)  # adding it leaves no bits for a fraction
EXPONENT = np.int32(1 << 23)  # one step of a float32's exponent
TAYLOR = tuple(np.float32(1 / math.factorial(n)) for n in range(8))


@dataclass(frozen=True)
class Packed:
    """The weights of a WaveNet in the order in which the loop reads them.

    All widths are filled up with zeros to whole tiles.

    Attributes:
        first: Rows that a class adds to the stream, one sample earlier and now, shape (2, Q + 1, R
            tiles, 16); row Q is silence before the first sample.
        layers: For each layer bias and weights of the gates, then bias and weights of stream and
            skip sum together, shape (rows, 16).
        dilations: Dilation of each layer.
        widths: Numbers of tiles: of R, S and the features, then of G for each layer.
        out1: First output layer, tiled.
        out2: Second output layer, tiled; the last tile may hold more than Q classes.
        features: Features of each sample, filled up to whole tiles.
    """

    first: Floats
    layers: Floats
    dilations: NDArray[np.int64]
    widths: NDArray[np.int64]
    out1: Floats
    out2: Floats
    features: int


def pack(model: SampleModel) -> Packed:
    """Copy the weights of a float32 model on the CPU into the layout of the loop."""
    stream, skips = _filled(model.first.out_channels), _filled(model.out1.in_channels)
    features = _filled(model.conditioning)
    gates = [_filled(block.skip.in_channels) for block in model.blocks]
    parts = [
        part
        for block, gate in zip(model.blocks, gates, strict=True)
        for part in _packed_block(block, stream, skips, features, gate)
    ]
    table = np.zeros((2, model.classes + 1, stream), np.float32)
    weight, bias = _arrays(model.first)
    table[:, :-1, : weight.shape[0]] = weight.transpose(2, 1, 0)
    table[1, :, : weight.shape[0]] += bias
    return Packed(
        first=table.reshape(2, model.classes + 1, -1, TILE),
        layers=np.concatenate([part.reshape(-1, TILE) for part in parts]),
        dilations=np.array(model.dilations, np.int64),
        widths=np.array([stream, skips, features, *gates], np.int64) // TILE,
        out1=_tiled(_matrix(model.out1)),
        out2=_tiled(_matrix(model.out2)),
        features=features,
    )


def _packed_block(
    block: GatedBlock, stream: int, skips: int, features: int, gate: int
) -> list[Floats]:
    """Return bias and tiles of the gates, then bias and tiles of stream and skip sum.

    The inputs of the gates are the stream one dilation earlier, the stream now and the features.
    """
    weight, bias = _arrays(block.dilated)
    half, channels = weight.shape[0] // 2, weight.shape[1]
    into = np.zeros((2 * stream + features, 2, gate), np.float32)
    into_bias = np.zeros((2, gate), np.float32)
    into[:channels, :, :half] = weight[:, :, 0].T.reshape(channels, 2, half)
    into[stream : stream + channels, :, :half] = weight[:, :, 1].T.reshape(channels, 2, half)
    into_bias[:, :half] = bias.reshape(2, half)
    if block.cond is not None:
        given = _matrix(block.cond)
        into[2 * stream : 2 * stream + len(given), :, :half] = given.reshape(-1, 2, half)
        into_bias[:, :half] += _arrays(block.cond)[1].reshape(2, half)
    out = np.zeros((gate, stream + skips), np.float32)
    out_bias = np.zeros(stream + skips, np.float32)
    for offset, layer in ((0, block.res), (stream, block.skip)):
        if layer is not None:
            end = offset + layer.out_channels
            out[:half, offset:end] = _matrix(layer)
            out_bias[offset:end] = _arrays(layer)[1]
    return [into_bias, _tiled(into.reshape(len(into), -1)), out_bias, _tiled(out)]


def _arrays(layer: nn.Conv1d) -> tuple[Floats, Floats]:
    """Return weight (C', C, taps) and bias (C',) of a convolution, a zero where it has none."""
    weight = layer.weight.detach().numpy()
    if layer.bias is None:
        return weight, np.zeros(len(weight), np.float32)
    return weight, layer.bias.detach().numpy()


def _matrix(layer: nn.Conv1d) -> Floats:
    """Return the weight of a 1x1 convolution as a matrix (inputs, outputs)."""
    return layer.weight.detach().numpy()[:, :, 0].T


def _filled(width: int) -> int:
    return -(-width // TILE) * TILE


def _tiled(matrix: Floats) -> Floats:
    """Return a matrix (inputs, outputs) as tiles (inputs / 16, outputs / 16, 16, 16).

    What is missing to whole tiles is zero.
    """
    inputs, outputs = matrix.shape
    whole = np.zeros((_filled(inputs), _filled(outputs)), np.float32)
    whole[:inputs, :outputs] = matrix
    return np.ascontiguousarray(
        whole.reshape(-1, TILE, whole.shape[1] // TILE, TILE).transpose(0, 2, 1, 3)
    )


@compiled(fastmath={"contract"}, error_model="numpy")
def add_product(tiles, inputs, outputs):
    """Add to outputs (tiles, 16) the inputs (tiles, 16) times a tiled matrix.

    The two inner loops become vector instructions.
    """
    for j in range(tiles.shape[0]):
        for o in range(tiles.shape[1]):
            for i in range(TILE):
                total = outputs[o, i]
                for k in range(TILE):
                    total += inputs[j, k] * tiles[j, o, k, i]
                outputs[o, i] = total


@compiled(fastmath={"contract"}, error_model="numpy")
def exponentiate(values, bits, powers, size):
    """Replace the first ``size`` float32 values, within -85..85, by e^value.

    ``bits`` is the same memory as int32, ``powers`` is scratch.

    ``e^x = 2^n e^r`` with whole n and r of at most ln(2) / 2: a Taylor polynomial, whose error is
    below float32's, and n added to the exponent.
    """
    for i in range(size):
        n = (values[i] * LOG2_E + ROUNDER) - ROUNDER
        r = (values[i] - n * LN2_HIGH) - n * LN2_LOW
        total = TAYLOR[7]
        total = total * r + TAYLOR[6]
        total = total * r + TAYLOR[5]
        total = total * r + TAYLOR[4]
        total = total * r + TAYLOR[3]
        total = total * r + TAYLOR[2]
        total = total * r + TAYLOR[1]
        values[i] = total * r + TAYLOR[0]
        powers[i] = np.int32(n)
    for i in range(size):
        bits[i] += powers[i] * EXPONENT


@compiled(fastmath={"contract"}, error_model="numpy")
def gate_(values, bits, powers, half):
    """Replace the first ``half`` float32 values by their tanh times the sigmoid of the next."""
    most = np.float32(2) * LARGEST
    for i in range(half):
        values[i] = np.float32(-2) * min(max(values[i], -LARGEST), LARGEST)
        values[half + i] = -min(max(values[half + i], -most), most)
    exponentiate(values, bits, powers, 2 * half)
    for i in range(half):
        below = (np.float32(1) + values[i]) * (np.float32(1) + values[half + i])
        values[i] = (np.float32(1) - values[i]) / below


@compiled(error_model="numpy")
def choose(logits, classes, draw, temperature, summed):
    """Choose one of the first classes as ``wavenet_generation.choose``; ``summed`` is scratch."""
    best = 0
    for q in range(1, classes):
        if logits[q] > logits[best]:
            best = q
    if temperature == 0:
        return best
    total = 0.0
    for q in range(classes):
        total += math.exp((np.float64(logits[q]) - np.float64(logits[best])) / temperature)
        summed[q] = total
    for q in range(classes):
        if summed[q] > draw * total:
            return q
    return classes - 1


@compiled(fastmath={"contract"}, error_model="numpy")
def run_sample(
    sums, inputs, packed, dilations, widths, queues, gates, flat_gates, bits, powers, t
):
    """Run all layers for one sample.

    ``sums`` holds the stream and the skip sum, ``inputs`` past, present and features.
    """
    stream, both = widths[0], widths[0] + widths[1]
    at, queue = 0, 0
    for layer in range(dilations.size):
        width, slot = widths[3 + layer], queue + t % dilations[layer]
        queue += dilations[layer]
        for o in range(stream):
            for i in range(TILE):
                inputs[o, i] = queues[slot, o, i]
                inputs[stream + o, i] = sums[o, i]
                queues[slot, o, i] = sums[o, i]
        bias = packed[at : at + 2 * width]
        for o in range(2 * width):
            for i in range(TILE):
                gates[o, i] = bias[o, i]
        at += 2 * width
        size = inputs.shape[0] * 2 * width * TILE
        tiles = packed[at : at + size].reshape((inputs.shape[0], 2 * width, TILE, TILE))
        add_product(tiles, inputs, gates)
        at += size
        gate_(flat_gates, bits, powers, width * TILE)
        bias = packed[at : at + both]
        for o in range(both):
            for i in range(TILE):
                sums[o, i] += bias[o, i]
        at += both
        size = width * both * TILE
        add_product(packed[at : at + size].reshape((width, both, TILE, TILE)), gates, sums)
        at += size


@compiled(error_model="numpy")
def generate_row(
    first, packed, dilations, widths, out1, out2, start, features, draws, temperature
):
    """Draw the samples of one row.

    Args:
        first: Rows of classes; this and the other weights as of ``Packed``, whose ``layers`` are
            ``packed``.
        start: Classes that are fed first, int64, shape (T0,).
        features: Features of every sample that is fed, shape (T0 + steps - 1, tiles, 16).
        draws: Numbers in 0..1, shape (steps,).
        temperature: Divisor of the logits; 0 takes the most probable class.

    Returns:
        Classes of the new samples, int64, shape (steps,).
    """
    stream, classes = widths[0], first.shape[1] - 1
    widest = widths[1]
    for width in widths[3:]:
        widest = max(widest, 2 * width)
    chosen, summed = np.empty(draws.size, np.int64), np.empty(classes, np.float64)
    sums = np.zeros((stream + widths[1], TILE), np.float32)
    inputs = np.zeros((2 * stream + widths[2], TILE), np.float32)
    queues = np.zeros((dilations.sum(), stream, TILE), np.float32)
    gates = np.zeros((widest, TILE), np.float32)
    flat_gates = gates.reshape(-1)
    bits, powers = flat_gates.view(np.int32), np.zeros(gates.size, np.int32)
    end = np.zeros((out2.shape[0], TILE), np.float32)
    logits = np.zeros((out2.shape[1], TILE), np.float32)
    before = classes
    for t in range(start.size + draws.size - 1):
        token = start[t] if t < start.size else chosen[t - start.size]
        for o in range(stream):
            for i in range(TILE):
                sums[o, i] = math.tanh(first[0, before, o, i] + first[1, token, o, i])
        before = token
        for o in range(stream, sums.shape[0]):
            for i in range(TILE):
                sums[o, i] = 0
        for o in range(widths[2]):
            for i in range(TILE):
                inputs[2 * stream + o, i] = features[t, o, i]
        run_sample(
            sums, inputs, packed, dilations, widths, queues, gates, flat_gates, bits, powers, t
        )
        if t < start.size - 1:
            continue
        for o in range(widths[1]):
            for i in range(TILE):
                gates[o, i] = max(sums[stream + o, i], np.float32(0))
        end[:] = 0
        add_product(out1, gates, end)
        for o in range(end.shape[0]):
            for i in range(TILE):
                end[o, i] = max(end[o, i], np.float32(0))
        logits[:] = 0
        add_product(out2, end, logits)
        now = t - start.size + 1
        chosen[now] = choose(logits.reshape(-1), classes, draws[now], temperature, summed)
    return chosen
