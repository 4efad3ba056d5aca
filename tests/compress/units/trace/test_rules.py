"""What each kind of operation does with units: each rule against the positions that it moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audioprune.compress.units.derive import derive_units
from audioprune.compress.units.trace.labels import Axis
from audioprune.compress.units.trace.tape import Tape, reshape


class Ended(nn.Module):
    """Two layers with an operation between them."""

    def __init__(self, run: Callable[[Tensor], Tensor], inputs: int, kind: str) -> None:
        super().__init__()
        self.run = run
        self.a = nn.Conv1d(2, 6, 1)
        self.b = nn.Linear(inputs, 2) if kind == "linear" else nn.Conv1d(inputs, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.run(self.a(x)))


# a name -> (operation on (B, 6, 8), inputs of the next layer, its kind, positions of the last unit
# among them, whether it is exact)
Case = tuple[Callable[[Tensor], Tensor], int, str, list[int], bool]
MOVES: dict[str, Case] = {
    "transposed": (lambda x: x.mT, 6, "linear", [5], True),
    "flattened": (lambda x: x.flatten(1), 48, "linear", list(range(40, 48)), True),
    "flattened frames first": (
        lambda x: x.mT.reshape(len(x), -1),
        48,
        "linear",
        list(range(5, 48, 6)),
        True,
    ),
    "split and merged": (
        lambda x: x.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2),
        6,
        "conv",
        [2, 5],
        True,
    ),
    "joined twice": (lambda x: torch.cat((x, x.relu()), 1), 12, "conv", [5, 11], True),
    "stacked": (lambda x: torch.stack((x, x), 2).flatten(1, 2), 12, "conv", [10, 11], True),
    "flipped": (lambda x: x.flip(1), 6, "conv", [0], True),
    "rolled": (lambda x: x.roll(1, 2), 6, "conv", [5], True),
    "repeated": (lambda x: x.repeat(1, 2, 1), 12, "conv", [5, 11], True),
    "unfolded": (
        lambda x: x.unfold(2, 4, 2).permute(0, 2, 1, 3).flatten(2),
        24,
        "linear",
        list(range(20, 24)),
        True,
    ),
    "gated halves": (lambda x: F.glu(x, 1), 3, "conv", [2], True),
    "halves": (lambda x: x.chunk(2, 1)[0] * 2, 3, "conv", [2], True),
    "parts of a third": (
        lambda x: x[:, len(x[0]) // 3 : 2 * len(x[0]) // 3],
        2,
        "conv",
        [1],
        True,
    ),
    "edges": (lambda x: F.pad(x, (1, 1), mode="replicate"), 6, "conv", [5], True),
    "in place": (lambda x: x.mul_(2).add_(x).relu_(), 6, "conv", [5], True),
    "power and root": (lambda x: (x**2).sqrt() / 3, 6, "conv", [5], True),
    "where": (lambda x: torch.where(x > 0, x, 0.1 * x), 6, "conv", [5], True),
    "clamped": (lambda x: x.clamp(-1, 1), 6, "conv", [5], True),
    "clamped above zero": (lambda x: x.clamp(0.5, 1), 6, "conv", [5], False),
    "cosine": (lambda x: x.cos(), 6, "conv", [5], False),
    "in place on a part": (lambda x: _part(x), 6, "conv", [5], False),
    "written into zeros": (lambda x: torch.zeros_like(x).copy_(x), 6, "conv", [5], True),
    "spectrum of frames": (lambda x: torch.fft.rfft(x).abs(), 6, "conv", [5], True),
    "complex and back": (
        lambda x: torch.view_as_real(torch.complex(x, -x)).flatten(2),
        6,
        "conv",
        [5],
        True,
    ),
    "upsampled": (lambda x: F.interpolate(x, scale_factor=2), 6, "conv", [5], True),
    "softmax over frames": (lambda x: x * x.softmax(-1), 6, "conv", [5], True),
    "sum over frames": (lambda x: x.sum(-1, keepdim=True), 6, "conv", [5], True),
    "channels in turns": (
        lambda x: F.channel_shuffle(x[:, :, None], 2)[:, :, 0],
        6,
        "conv",
        [4, 5],
        True,
    ),
    "sequences of several lengths": (lambda x: _packed(x), 6, "linear", [5], True),
    "by name": (
        lambda x: torch.einsum("bct,bdt->bdc", x, x[:, :, :4].mT @ x),
        6,
        "linear",
        [5],
        True,
    ),
}


def _packed(x: Tensor) -> Tensor:
    rnn = nn.utils.rnn
    packed = rnn.pack_padded_sequence(x.mT, torch.tensor([8, 5, 3]), batch_first=True)
    doubled = rnn.PackedSequence(packed.data * 2, *packed[1:])
    return rnn.pad_packed_sequence(doubled, batch_first=True)[0]


def _part(x: Tensor) -> Tensor:
    x[:, :, :2] += 1
    return x


@pytest.mark.parametrize("name", MOVES)
def test_positions_follow_the_operation(name: str) -> None:
    run, inputs, kind, positions, exact = MOVES[name]
    torch.manual_seed(0)
    model = Ended(run, inputs, kind)
    x = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0))
    sets, reasons = derive_units(model, x)
    assert [each.exact for each in sets] == [exact], reasons
    read = next(part for part in sets[0].slices if part.tensor == "b.weight")
    assert sorted(read.index[-1].tolist()) == positions


def test_views_of_every_factorisation_keep_positions() -> None:
    tape = Tape({}, frozenset())
    shape = (2, 3, 4)
    axes = [Axis(tape.atoms.fresh(n), np.ones(n, dtype=np.bool_)) for n in shape]
    for middle in [(24,), (6, 4), (2, 12), (2, 3, 2, 2), (2, 3, 4, 1)]:
        there = reshape(tape, list(axes), torch.Size(shape), torch.Size(middle))
        back = reshape(tape, there, torch.Size(middle), torch.Size(shape))
        for axis, was in zip(back, axes, strict=True):
            assert axis is not None and axis.ids.tolist() == was.ids.tolist(), middle


def test_units_become_finer_rows_and_columns_together() -> None:
    class Finer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 12, 1), nn.Conv2d(3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.pixel_shuffle(self.a(x), 2))

    (units,), _ = derive_units(Finer(), torch.randn(2, 1, 3, 4))
    assert (units.size, units.exact) == (3, True)
    assert units.slices[0].index.tolist() == [[4 * u + k for k in range(4)] for u in range(3)]
