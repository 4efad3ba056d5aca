"""Small networks that make or code waveforms, as people write them; tens of kilobytes each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import weight_norm as old_weight_norm


class HiFiGAN(nn.Module):
    """Transposed convolutions, each before a mean of residual blocks of several widths."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        norm = parametrizations.weight_norm
        self.first = norm(nn.Conv1d(10, c, 7, padding=3))
        self.ups = nn.ModuleList(
            norm(nn.ConvTranspose1d(c >> i, c >> (i + 1), 4, 2, 1)) for i in range(2)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(_Residual(c >> (i + 1), width) for width in (3, 5)) for i in range(2)
        )
        self.last = norm(nn.Conv1d(c >> 2, 1, 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        for up, blocks in zip(self.ups, self.blocks, strict=True):
            y = up(F.leaky_relu(y, 0.1))
            y = sum(block(y) for block in blocks) / len(blocks)
        return torch.tanh(self.last(F.leaky_relu(y)))


class _Residual(nn.Module):
    def __init__(self, c: int, width: int) -> None:
        super().__init__()
        norm = parametrizations.weight_norm
        self.one = nn.ModuleList(
            norm(nn.Conv1d(c, c, width, dilation=d, padding=d * (width // 2))) for d in (1, 3)
        )
        self.two = nn.ModuleList(norm(nn.Conv1d(c, c, width, padding=width // 2)) for _ in (1, 3))

    def forward(self, x: Tensor) -> Tensor:
        for one, two in zip(self.one, self.two, strict=True):
            x = x + two(F.leaky_relu(one(F.leaky_relu(x, 0.1)), 0.1))
        return x


class MelGAN(nn.Module):
    """The same by hooks of weight norm, mirrored edges and shortcuts of width 1."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad1d(3),
            old_weight_norm(nn.Conv1d(10, c, 7)),
            nn.LeakyReLU(0.2),
            old_weight_norm(nn.ConvTranspose1d(c, c // 2, 4, 2, 1)),
            _Shortcut(c // 2, 1),
            _Shortcut(c // 2, 3),
            nn.LeakyReLU(0.2),
            nn.ReflectionPad1d(3),
            old_weight_norm(nn.Conv1d(c // 2, 1, 7)),
            nn.Tanh(),
        ]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Shortcut(nn.Module):
    def __init__(self, c: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.ReflectionPad1d(dilation),
            old_weight_norm(nn.Conv1d(c, c, 3, dilation=dilation)),
            nn.LeakyReLU(0.2),
            old_weight_norm(nn.Conv1d(c, c, 1)),
        )
        self.shortcut = old_weight_norm(nn.Conv1d(c, c, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class Judge(nn.Module):
    """A discriminator by spectral norm on a folded waveform, with its inner values returned."""

    def __init__(self) -> None:
        super().__init__()
        norm = parametrizations.spectral_norm
        self.a = norm(nn.Conv2d(1, 6, (5, 1), (3, 1), (2, 0)))
        self.b = norm(nn.Conv2d(6, 12, (5, 1), (3, 1), (2, 0)))
        self.c = nn.utils.spectral_norm(nn.Conv2d(12, 12, (3, 1), groups=3, padding=(1, 0)))
        self.last = norm(nn.Conv2d(12, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        y = F.pad(x, (0, -x.shape[-1] % 3), "reflect").unflatten(-1, (-1, 3))
        first = F.leaky_relu(self.a(y))
        y = F.leaky_relu(self.c(F.leaky_relu(self.b(first))))
        return self.last(y).flatten(1), [first]


class WaveNet(nn.Module):
    """Dilated causal convolutions, gates of tanh and sigmoid, residuals and skip sums."""

    def __init__(self, c: int = 10, g: int = 8, s: int = 12) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, c)
        self.filters = nn.ModuleList(nn.Conv1d(c, 2 * g, 2, dilation=2**i) for i in range(3))
        self.local = nn.ModuleList(nn.Conv1d(6, 2 * g, 1, bias=False) for _ in range(3))
        self.residual = nn.ModuleList(nn.Conv1d(g, c, 1) for _ in range(3))
        self.skip = nn.ModuleList(nn.Conv1d(g, s, 1) for _ in range(3))
        self.one, self.two = nn.Conv1d(s, s, 1), nn.Conv1d(s, 32, 1)

    def forward(self, codes: Tensor, mel: Tensor) -> Tensor:
        x, total = self.embed(codes).transpose(1, 2), None
        layers = zip(self.filters, self.local, self.residual, self.skip, strict=True)
        for filtered, local, residual, skip in layers:
            y = filtered(F.pad(x, (filtered.dilation[0], 0))) + local(mel)
            a, b = y.chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            x = x + residual(y)
            total = skip(y) if total is None else total + skip(y)
        return self.two(F.relu(self.one(F.relu(total))))


class WaveRNN(nn.Module):
    """Residual convolutions on mels, two GRUs on what is sampled, three linear layers."""

    def __init__(self, c: int = 12) -> None:
        super().__init__()
        self.mel, self.norm = nn.Conv1d(6, c, 3, padding=1, bias=False), nn.BatchNorm1d(c)
        self.res1 = nn.Sequential(nn.Conv1d(c, c, 1, bias=False), nn.BatchNorm1d(c), nn.ReLU())
        self.res2 = nn.Sequential(nn.Conv1d(c, c, 1, bias=False), nn.BatchNorm1d(c))
        self.read = nn.Linear(1 + c, 16)
        self.gru1, self.gru2 = (
            nn.GRU(16, 16, batch_first=True),
            nn.GRU(16 + c, 16, batch_first=True),
        )
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 + c, 20), nn.Linear(20, 20), nn.Linear(20, 30)

    def forward(self, x: Tensor, mel: Tensor) -> Tensor:
        m = F.relu(self.norm(self.mel(mel)))
        m = (m + self.res2(self.res1(m))).repeat_interleave(4, 2).transpose(1, 2)
        y = self.read(torch.cat((x.unsqueeze(-1), m), 2))
        y = y + self.gru1(y)[0]
        y = y + self.gru2(torch.cat((y, m), 2))[0]
        y = F.relu(self.fc1(torch.cat((y, m), 2)))
        return self.fc3(F.relu(self.fc2(y)))


class EnCodec(nn.Module):
    """Strided convolutions and an LSTM around a codebook that is looked up by distance."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.a, self.down = nn.Conv1d(1, c, 7, padding=3), nn.Conv1d(c, 2 * c, 4, 2, 1)
        self.lstm, self.code = nn.LSTM(2 * c, 2 * c, 2), nn.Conv1d(2 * c, 6, 3, padding=1)
        self.book = nn.Parameter(torch.randn(16, 6))
        self.decode, self.lstm2 = nn.Conv1d(6, 2 * c, 3, padding=1), nn.LSTM(2 * c, 2 * c, 2)
        self.up, self.last = nn.ConvTranspose1d(2 * c, c, 4, 2, 1), nn.Conv1d(c, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(F.elu(self.a(x)))
        y = self.code(F.elu(_with_memory(self.lstm, y)))
        codes = torch.cdist(y.transpose(1, 2), self.book[None]).argmin(-1)
        y = self.decode(F.embedding(codes, self.book).transpose(1, 2))
        return self.last(F.elu(self.up(F.elu(_with_memory(self.lstm2, y)))))


def _with_memory(lstm: nn.LSTM, y: Tensor) -> Tensor:
    return y + lstm(y.permute(2, 0, 1))[0].permute(1, 2, 0)


class VITSFlow(nn.Module):
    """A coupling layer: one half of the channels is shifted by what a net reads off the other."""

    def __init__(self, c: int = 8, h: int = 12) -> None:
        super().__init__()
        self.pre = nn.Conv1d(6, c, 1)
        self.read, self.gated = nn.Conv1d(c // 2, h, 1), nn.Conv1d(h, 2 * h, 3, padding=1)
        self.write, self.last = nn.Conv1d(h, c // 2, 1), nn.Conv1d(c, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.pre(x).chunk(2, 1)
        shift = self.write(F.glu(self.gated(self.read(a)), 1))
        return self.last(torch.cat((a, b + shift), 1).flip(1))


class HarmonicOscillator(nn.Module):
    """A controller of two inputs, and sines that its outputs drive."""

    def __init__(self, h: int = 16) -> None:
        super().__init__()
        self.pitch, self.loudness = _mlp(1, h), _mlp(1, h)
        self.gru, self.out = nn.GRU(2 * h, h, batch_first=True), _mlp(3 * h, h)
        self.harmonics = nn.Linear(h, 6)

    def forward(self, f0: Tensor, loudness: Tensor) -> Tensor:
        x = torch.cat((self.pitch(f0), self.loudness(loudness)), -1)
        y = self.out(torch.cat((self.gru(x)[0], x), -1))
        weights = self.harmonics(y).softmax(-1)
        phase = torch.cumsum(f0, 1) * torch.arange(1, 7)
        return (weights * torch.sin(phase)).sum(-1)


def _mlp(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU(), nn.Linear(b, b), nn.ReLU())
