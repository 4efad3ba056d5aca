"""The compiled loop that draws the samples of a WaveNet, for several rows and on one or two cores.

``draw_rows`` draws classes (B, steps) with weights as of ``wavenet_tiles``; ``shared_state``
makes what it works on. What is drawn, and when this loop runs instead of eager steps, is decided
in ``wavenet_generation``, the only caller. Importing this module imports numba.

What a layer adds for the sample one dilation ago is known long before it is needed: it is computed
for up to eight samples at once, so that its weights are read once for all of them. With two cores
one runs the layers, the other sums what they skip and computes the past.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audioprune.compiled import compiled
from audioprune.models.parts.wavenet_tiles import (
    TILE,
    Floats,
    Packed,
    add_products,
    tell,
    wait_for,
)

LARGEST = np.float32(30)  # e^-30 is nothing beside 1
LOG2_E = np.float32(math.log2(math.e))
LN2_HIGH = np.float32(0.693359375)  # few bits, so that its multiples are exact
LN2_LOW = np.float32(math.log(2) - 0.693359375)
ROUNDER = np.float32(1.5 * 2**23)  # adding it leaves no bits for a fraction
EXPONENT = np.int32(1 << 23)  # one step of a float32's exponent
TAYLOR = tuple(np.float32(1 / math.factorial(n)) for n in range(8))


class State(NamedTuple):
    """What the loop works on, for B rows; all arrays are flat.

    Attributes:
        streams: The stream of each row, (B, R).
        skips: The skip sum of each row, (B, S).
        queues: For each row and layer the inputs of the last ``dilation`` samples, (B, D, R).
        pasts: For each row and layer what the past adds to the gates, ``ahead`` samples of (2 G).
        gates: For each layer the gates of all rows, (B, 2 G).
        features: Features of the sample of each row, (B, F).
        ends: Values between the output layers, (B, E), and logits, (B, Q).
        counters: How far both cores are, int64, far apart in memory: layers run, samples whose
            skip sum is complete, and samples of which the past is known.
    """

    streams: Floats
    skips: Floats
    queues: Floats
    pasts: Floats
    gates: Floats
    features: Floats
    ends: Floats
    counters: NDArray[np.int64]


def shared_state(packed: Packed, rows: int) -> State:
    """Return zeros for a number of rows."""
    stream, skips, features, end, classes = (TILE * int(each) for each in packed.widths[:5])
    gates = 2 * TILE * packed.widths[5:]
    sizes = (
        *(stream, skips, stream * int(packed.dilations.sum()), int((packed.ahead * gates).sum())),
        *(int(gates.sum()), features, skips + end + classes),
    )
    arrays = [np.zeros(rows * size, np.float32) for size in sizes]
    return State._make([*arrays, np.zeros(3 * 16, np.int64)])


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


@compiled(error_model="numpy")
def compute_pasts(weights, state, rows, t):
    """Compute what the past adds to the gates of the samples from ``t`` on, where it is due."""
    words, tiles, biases, shifts, dilations, ahead, widths = weights
    stream = widths[0] * TILE
    queue, place = 0, 0  # of this layer, in one row
    length = dilations.sum() * stream
    size = 0
    for layer in range(dilations.size):
        size += ahead[layer] * 2 * widths[5 + layer] * TILE
    for layer in range(dilations.size):
        gate, count = 2 * widths[5 + layer] * TILE, ahead[layer]
        if t % count == 0:
            bias = biases[shifts[layer, 0] : shifts[layer, 0] + gate]
            slot = queue + t % dilations[layer] * stream
            for row in range(rows):
                y = row * size + place
                for i in range(count):
                    state.pasts[y + i * gate : y + (i + 1) * gate] = bias
                add_products(
                    words,
                    tiles[layer, 0],
                    widths[0],
                    2 * widths[5 + layer],
                    state.queues,
                    row * length + slot,
                    stream,
                    state.pasts,
                    y,
                    gate,
                    count,
                )
        queue += dilations[layer] * stream
        place += count * gate


@compiled(error_model="numpy")
def run_layer(weights, state, rows, t, layer, queue, place, gates_at, bits, powers):
    """Run one layer for a sample of every row: gates, queues and streams.

    ``queue``, ``place`` and ``gates_at`` are where the layer's numbers begin.
    """
    words, tiles, biases, shifts, dilations, ahead, widths = weights
    stream, half = widths[0] * TILE, widths[5 + layer] * TILE
    gate, length, size = 2 * half, state.queues.size // rows, state.pasts.size // rows
    for row in range(rows):
        y, x = gates_at + row * gate, row * size + place + t % ahead[layer] * gate
        state.gates[y : y + gate] = state.pasts[x : x + gate]
    add_products(
        words,
        tiles[layer, 1],
        widths[0],
        2 * widths[5 + layer],
        state.streams,
        0,
        stream,
        state.gates,
        gates_at,
        gate,
        rows,
    )
    if widths[2]:
        add_products(
            words,
            tiles[layer, 2],
            widths[2],
            2 * widths[5 + layer],
            state.features,
            0,
            widths[2] * TILE,
            state.gates,
            gates_at,
            gate,
            rows,
        )
    slot = queue + t % dilations[layer] * stream
    for row in range(rows):
        y = gates_at + row * gate
        gate_(state.gates[y : y + gate], bits[y : y + gate], powers, half)
        x, own = row * length + slot, row * stream
        state.queues[x : x + stream] = state.streams[own : own + stream]
        if layer < dilations.size - 1:  # the last layer has no residual output
            shift = shifts[layer, 1]
            for i in range(stream):
                state.streams[own + i] += biases[shift + i]
    if layer < dilations.size - 1:
        add_products(
            words,
            tiles[layer, 3],
            widths[5 + layer],
            widths[0],
            state.gates,
            gates_at,
            gate,
            state.streams,
            0,
            stream,
            rows,
        )


@compiled(error_model="numpy")
def add_skip(weights, state, rows, layer, gates_at):
    """Add to the skip sums of all rows what one layer adds."""
    words, tiles, biases, shifts, dilations, ahead, widths = weights
    skips, gate = widths[1] * TILE, 2 * widths[5 + layer] * TILE
    for row in range(rows):
        for i in range(skips):
            state.skips[row * skips + i] += biases[shifts[layer, 2] + i]
    add_products(
        words,
        tiles[layer, 4],
        widths[5 + layer],
        widths[1],
        state.gates,
        gates_at,
        gate,
        state.skips,
        0,
        skips,
        rows,
    )


@compiled(error_model="numpy")
def run_ends(weights, state, rows):
    """Map the skip sums of all rows to logits; return where these begin."""
    words, tiles, biases, shifts, dilations, ahead, widths = weights
    skips, end, classes = widths[1] * TILE, widths[3] * TILE, widths[4] * TILE
    behind, last = rows * skips, dilations.size
    for i in range(rows * skips):
        state.ends[i] = max(state.skips[i], np.float32(0))
    state.ends[behind : behind + rows * end] = 0
    add_products(
        words,
        tiles[last, 0],
        widths[1],
        widths[3],
        state.ends,
        0,
        skips,
        state.ends,
        behind,
        end,
        rows,
    )
    logits = behind + rows * end
    for i in range(behind, logits):
        state.ends[i] = max(state.ends[i], np.float32(0))
    state.ends[logits : logits + rows * classes] = 0
    add_products(
        words,
        tiles[last, 1],
        widths[3],
        widths[4],
        state.ends,
        behind,
        end,
        state.ends,
        logits,
        classes,
        rows,
    )
    return logits


@compiled(error_model="numpy")
def sum_skips(weights, state, rows, samples):
    """Do the part of the second core: skip sums, then the past of the next sample."""
    dilations, widths = weights[4], weights[6]
    compute_pasts(weights, state, rows, 0)
    tell(state.counters, 32, 1)
    for t in range(samples):
        gates_at = 0
        for layer in range(dilations.size):
            wait_for(state.counters, 0, t * dilations.size + layer + 1)
            if layer == 0:  # now the sums of the sample before have been read
                state.skips[:] = 0
            add_skip(weights, state, rows, layer, gates_at)
            gates_at += rows * 2 * widths[5 + layer] * TILE
        tell(state.counters, 16, t + 1)
        compute_pasts(weights, state, rows, t + 1)
        tell(state.counters, 32, t + 2)


@compiled(error_model="numpy")
def draw_rows(first, weights, state, start, features, draws, temperature, alone):
    """Draw the samples of a few rows.

    Args:
        first: Rows of classes, as of ``Packed``.
        weights: Words, tiles, biases, shifts, dilations, ahead and widths, as of ``Packed``.
        state: As of ``shared_state``.
        start: Classes that are fed first, int64, shape (B, T0).
        features: Features of every sample that is fed, shape (B, T0 + steps - 1, features).
        draws: Numbers in 0..1, shape (B, steps).
        temperature: Divisor of the logits; 0 takes the most probable class.
        alone: Whether ``sum_skips`` does not run on another core.

    Returns:
        Classes of the new samples, int64, shape (B, steps).
    """
    words, tiles, biases, shifts, dilations, ahead, widths = weights
    rows, stream, classes = start.shape[0], widths[0] * TILE, first.shape[1] - 1
    chosen, summed = np.empty(draws.shape, np.int64), np.empty(classes, np.float64)
    bits, powers = state.gates.view(np.int32), np.zeros(state.gates.size, np.int32)
    before = np.full(rows, classes)
    if alone:
        compute_pasts(weights, state, rows, 0)
    for t in range(start.shape[1] + draws.shape[1] - 1):
        for row in range(rows):
            token = start[row, t] if t < start.shape[1] else chosen[row, t - start.shape[1]]
            for o in range(widths[0]):
                for i in range(TILE):
                    both = first[0, before[row], o, i] + first[1, token, o, i]
                    state.streams[row * stream + o * TILE + i] = math.tanh(both)
            before[row] = token
            for i in range(widths[2] * TILE):
                state.features[row * widths[2] * TILE + i] = features[row, t, i]
        if alone:
            state.skips[:] = 0
        else:
            wait_for(state.counters, 32, t + 1)
        queue, place, gates_at = 0, 0, 0
        for layer in range(dilations.size):
            run_layer(weights, state, rows, t, layer, queue, place, gates_at, bits, powers)
            if alone:
                add_skip(weights, state, rows, layer, gates_at)
            else:
                tell(state.counters, 0, t * dilations.size + layer + 1)
            queue += dilations[layer] * stream
            place += ahead[layer] * 2 * widths[5 + layer] * TILE
            gates_at += rows * 2 * widths[5 + layer] * TILE
        if alone:
            compute_pasts(weights, state, rows, t + 1)
        else:
            wait_for(state.counters, 16, t + 1)
        now = t - start.shape[1] + 1
        if now >= 0:
            logits = run_ends(weights, state, rows)
            for row in range(rows):
                own = logits + row * widths[4] * TILE
                chosen[row, now] = choose(
                    state.ends[own : own + widths[4] * TILE],
                    classes,
                    draws[row, now],
                    temperature,
                    summed,
                )
    return chosen
