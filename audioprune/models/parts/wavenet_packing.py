"""The weights of a WaveNet in the order in which its compiled loop reads them: ``pack``.

``Packed`` holds tiles of 16 x 16 weights, as float32 or as pairs of bfloat16 in one word; all
widths are filled up with zeros to whole tiles. It imports no numba; the loop is in
``wavenet_kernels``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audioprune.models.parts.wavenet_layers import GatedBlock, SampleModel

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
TILE = 16  # 16 x 16 weights are read in one stretch and fill vector registers of any width
MOST_AHEAD = 8  # samples of which the past of a layer is computed at once


@dataclass(frozen=True)
class Packed:
    """The weights of a WaveNet.

    Attributes:
        first: Rows that a class adds to the stream, one sample earlier and now, shape (2, Q + 1, R
            tiles, 16); row Q is silence before the first sample.
        words: All tiles, each of 256 float32, or of 128 pairs of bfloat16 as uint32, in
            which the lower half belongs to the even input; shape (tiles, 256 or 128).
        tiles: First tile of each layer's past, present, features, residual and skip matrix, shape
            (L + 1, 5); the last row holds those of both output layers.
        biases: Of all layers, one behind the other.
        shifts: First bias of each layer's gates, residual and skip outputs, shape (L, 3).
        dilations: Dilation of each layer.
        ahead: Samples of which each layer computes the past at once: 1, 2, 4 or 8.
        widths: Numbers of tiles: of R, S, the features, E and Q, then of G for each layer.
    """

    first: Floats
    words: NDArray[np.float32] | NDArray[np.uint32]
    tiles: Places
    biases: Floats
    shifts: Places
    dilations: Places
    ahead: Places
    widths: Places

    @property
    def features(self) -> int:
        """Features of each sample, filled up to whole tiles."""
        return TILE * int(self.widths[2])


def pack(model: SampleModel, half: bool = False) -> Packed:
    """Copy the weights of a float32 model on the CPU into the layout of the loop.

    Args:
        model: A WaveNet.
        half: Whether weights of matrices are rounded to bfloat16; biases and the table of classes
            stay float32.
    """
    stream, skips = filled(model.first.out_channels), filled(model.out1.in_channels)
    features = filled(model.conditioning)
    gates = [filled(block.skip.in_channels) for block in model.blocks]
    matrices: list[Floats] = []
    biases: list[Floats] = []
    for block, gate in zip(model.blocks, gates, strict=True):
        these, added = _packed_block(block, stream, skips, features, gate)
        matrices += these
        biases += added
    ends = [_tiled(_matrix(model.out1)), _tiled(_matrix(model.out2))]
    empty = np.zeros((0, TILE, TILE), np.float32)
    every = [*matrices, *ends, *[empty] * 3]
    starts = np.cumsum([0, *[len(each) for each in every]])[:-1]
    tiles = np.concatenate(every)
    table = np.zeros((2, model.classes + 1, stream), np.float32)
    weight, bias = _arrays(model.first)
    table[:, :-1, : weight.shape[0]] = weight.transpose(2, 1, 0)
    table[1, :, : weight.shape[0]] += bias
    end, classes = filled(model.out1.out_channels), filled(model.classes)
    return Packed(
        first=table.reshape(2, model.classes + 1, -1, TILE),
        words=_pairs(tiles) if half else tiles.reshape(len(tiles), -1),
        tiles=starts.reshape(-1, 5),
        biases=np.concatenate(biases),
        shifts=np.cumsum([0, *[len(each) for each in biases]])[:-1].reshape(-1, 3),
        dilations=np.array(model.dilations, np.int64),
        ahead=np.array([min(each, MOST_AHEAD) for each in model.dilations], np.int64),
        widths=np.array([stream, skips, features, end, classes, *gates], np.int64) // TILE,
    )


def filled(width: int) -> int:
    """Return the width of whole tiles."""
    return -(-width // TILE) * TILE


def _packed_block(
    block: GatedBlock, stream: int, skips: int, features: int, gate: int
) -> tuple[list[Floats], list[Floats]]:
    """Return the five matrices, tiled, and the three biases.

    The inputs of the gates are the stream one dilation earlier, the stream now and the features.
    """
    weight, bias = _arrays(block.dilated)
    half = weight.shape[0] // 2
    sources = [weight[:, :, 0], weight[:, :, 1]]
    gate_bias = np.zeros((2, gate), np.float32)
    gate_bias[:, :half] = bias.reshape(2, half)
    if block.cond is not None:
        given, added = _arrays(block.cond)
        sources.append(given[:, :, 0])
        gate_bias[:, :half] += added.reshape(2, half)
    into: list[Floats] = []
    for source, size in zip(sources, (stream, stream, features), strict=False):
        whole = np.zeros((size, 2, gate), np.float32)
        whole[: source.shape[1], :, :half] = source.T.reshape(-1, 2, half)
        into.append(_tiled(whole.reshape(size, -1)))
    if block.cond is None:
        into.append(np.zeros((0, TILE, TILE), np.float32))
    out: list[Floats] = []
    out_bias: list[Floats] = []
    for layer, width in ((block.res, stream), (block.skip, skips)):
        size = 0 if layer is None else width  # the last layer has no residual output
        matrix, shift = np.zeros((gate, size), np.float32), np.zeros(size, np.float32)
        if layer is not None:
            matrix[:half, : layer.out_channels] = _matrix(layer)
            shift[: layer.out_channels] = _arrays(layer)[1]
        out.append(_tiled(matrix))
        out_bias.append(shift)
    return [*into, *out], [gate_bias.reshape(-1), *out_bias]


def _arrays(layer: nn.Conv1d) -> tuple[Floats, Floats]:
    """Return weight (C', C, taps) and bias (C',) of a convolution, a zero where it has none."""
    weight = layer.weight.detach().numpy()
    if layer.bias is None:
        return weight, np.zeros(len(weight), np.float32)
    return weight, layer.bias.detach().numpy()


def _matrix(layer: nn.Conv1d) -> Floats:
    """Return the weight of a 1x1 convolution as a matrix (inputs, outputs)."""
    return layer.weight.detach().numpy()[:, :, 0].T


def _tiled(matrix: Floats) -> Floats:
    """Return a matrix (inputs, outputs) as tiles (inputs / 16 * outputs / 16, 16, 16).

    What is missing to whole tiles is zero.
    """
    inputs, outputs = matrix.shape
    whole = np.zeros((filled(inputs), filled(outputs)), np.float32)
    whole[:inputs, :outputs] = matrix
    tiles = whole.reshape(len(whole) // TILE, TILE, whole.shape[1] // TILE, TILE).transpose(
        0, 2, 1, 3
    )
    return np.ascontiguousarray(tiles).reshape(-1, TILE, TILE)


def _pairs(tiles: Floats) -> NDArray[np.uint32]:
    """Return tiles as words of two weights rounded to bfloat16, ties to even."""
    bits = np.ascontiguousarray(tiles).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint32)
    return (rounded[:, 0::2] | (rounded[:, 1::2] << 16)).reshape(len(tiles), -1)
