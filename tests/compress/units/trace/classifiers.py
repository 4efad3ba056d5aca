"""Small networks that name sounds, words and speakers, as people write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DSCNN(nn.Module):
    """Keyword spotting by depthwise and pointwise convolutions."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, c, (5, 4), 2, (2, 1), bias=False), nn.BatchNorm2d(c), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False),
                    nn.BatchNorm2d(c),
                    nn.ReLU(),
                    nn.Conv2d(c, c, 1, bias=False),
                    nn.BatchNorm2d(c),
                    nn.ReLU(),
                )
                for _ in range(3)
            )
        )
        self.out = nn.Linear(c, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.adaptive_avg_pool2d(self.blocks(self.first(x)), 1).flatten(1))


class SubSpectralNorm(nn.Module):
    """A batch norm of each of several bands of frequency."""

    def __init__(self, c: int, bands: int) -> None:
        super().__init__()
        self.bands, self.norm = bands, nn.BatchNorm2d(c * bands)

    def forward(self, x: Tensor) -> Tensor:
        b, c, f, n = x.shape
        return self.norm(x.reshape(b, c * self.bands, f // self.bands, n)).reshape(b, c, f, n)


class BCResNet(nn.Module):
    """A residual over frequency, and one from the mean over frequency, broadcast back."""

    def __init__(self, c: int = 12) -> None:
        super().__init__()
        self.first, self.grow = nn.Conv2d(1, c, 5, (2, 1), 2), nn.Conv2d(c, c, 1)
        self.frequency = nn.Conv2d(c, c, (3, 1), padding=(1, 0), groups=c)
        self.ssn, self.norm = SubSpectralNorm(c, 4), nn.BatchNorm2d(c)
        self.time = nn.Conv2d(c, c, (1, 3), padding=(0, 1), groups=c)
        self.mix, self.last = nn.Conv2d(c, c, 1), nn.Conv2d(c, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grow(self.first(x).relu())
        y = self.ssn(self.frequency(x))
        z = self.mix(F.silu(self.norm(self.time(y.mean(2, keepdim=True)))))
        return self.last((x + y + z).relu().mean((2, 3), keepdim=True)).flatten(1)


class MatchboxNet(nn.Module):
    """Separable 1-D convolutions with a residual of width 1."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.prologue = _separable(8, c, 5)
        self.one, self.two = _separable(c, 20, 7), _separable(20, 20, 7)
        self.shortcut = nn.Sequential(nn.Conv1d(c, 20, 1), nn.BatchNorm1d(20))
        self.epilogue, self.out = _separable(20, c, 9), nn.Conv1d(c, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.prologue(x))
        y = F.relu(self.two(F.relu(self.one(x))) + self.shortcut(x))
        return self.out(F.relu(self.epilogue(y))).mean(-1).log_softmax(-1)


def _separable(a: int, b: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(a, a, width, padding=width // 2, groups=a),
        nn.Conv1d(a, b, 1),
        nn.BatchNorm1d(b),
    )


class Inverted(nn.Module):
    """Widen, filter each channel, perhaps squeeze and excite, and narrow; a residual around it."""

    def __init__(
        self, a: int, wide: int, b: int, stride: int, squeeze: bool, act: nn.Module
    ) -> None:
        super().__init__()
        self.wide, self.norm1 = nn.Conv2d(a, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.deep = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.norm2, self.act = nn.BatchNorm2d(wide), act
        self.narrow, self.norm3 = nn.Conv2d(wide, b, 1, bias=False), nn.BatchNorm2d(b)
        self.squeeze = nn.Conv2d(wide, 6, 1) if squeeze else None
        self.excite = nn.Conv2d(6, wide, 1) if squeeze else None
        self.residual = stride == 1 and a == b

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm2(self.deep(self.act(self.norm1(self.wide(x))))))
        if self.squeeze is not None and self.excite is not None:
            scale = F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))
            y = y * F.hardsigmoid(self.excite(scale))
        y = self.norm3(self.narrow(y))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """Inverted residuals: of version 2, of version 3, or as in an EfficientNet."""

    def __init__(self, act: nn.Module, squeeze: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), act)
        self.blocks = nn.Sequential(
            Inverted(8, 16, 10, 2, squeeze, act),
            Inverted(10, 20, 10, 1, squeeze, act),
            Inverted(10, 20, 10, 1, squeeze, act),
        )
        self.head = nn.Sequential(nn.Conv2d(10, 24, 1), nn.BatchNorm2d(24), act)
        self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.head(self.blocks(self.first(x))).mean((2, 3)))


class ResNeXt(nn.Module):
    """Residual blocks whose middle convolution has four groups."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, c, 3, padding=1)
        self.a = nn.ModuleList(nn.Conv2d(c, 8, 1) for _ in range(2))
        self.b = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=4) for _ in range(2))
        self.c = nn.ModuleList(nn.Conv2d(8, c, 1) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.out = nn.Linear(c, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for a, b, c, norm in zip(self.a, self.b, self.c, self.norms, strict=True):
            x = F.relu(x + c(F.relu(norm(b(F.relu(a(x)))))))
        return self.out(x.amax((2, 3)))


class AudioTransformer(nn.Module):
    """Patches of a spectrogram, a class token and positions, layers of torch's own encoder."""

    def __init__(self, d: int = 16) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, d, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, d))
        self.positions = nn.Parameter(torch.randn(1, 17, d))
        layer = nn.TransformerEncoderLayer(d, 4, 32, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat((self.token.expand(len(y), -1, -1), y), 1) + self.positions
        return self.out(self.norm(self.layers(y)[:, 0]))


class CRNN(nn.Module):
    """Sound events: convolutions, a bidirectional GRU, attention over frames."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(1, c, 3, padding=1), nn.BatchNorm2d(c)
        self.b, self.nb = nn.Conv2d(c, 2 * c, 3, padding=1), nn.BatchNorm2d(2 * c)
        self.gru = nn.GRU(2 * c * 4, 12, batch_first=True, bidirectional=True)
        self.strong, self.weight = nn.Linear(24, 10), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.avg_pool2d(F.relu(self.na(self.a(x))), (1, 2))
        y = F.avg_pool2d(F.relu(self.nb(self.b(y))), (1, 2))  # (B, C, N, F)
        y, _ = self.gru(y.transpose(1, 2).flatten(2))
        strong = torch.sigmoid(self.strong(y))
        weight = self.weight(y).softmax(1)
        return strong, (strong * weight).sum(1)


class ECAPA(nn.Module):
    """Res2 convolutions, squeeze and excite, joined layers, statistics weighted by attention."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(8, c, 5, padding=2), nn.BatchNorm1d(c)
        self.inner = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(c // 4, c // 4, 3, padding=1) for _ in range(3))
            for _ in range(2)
        )
        self.before = nn.ModuleList(nn.Conv1d(c, c, 1) for _ in range(2))
        self.after = nn.ModuleList(nn.Conv1d(c, c, 1) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(c, 6) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(6, c) for _ in range(2))
        self.join, self.score = nn.Conv1d(3 * c, 20, 1), nn.Conv1d(20, 8, 1)
        self.attention, self.out = nn.Conv1d(8, 20, 1), nn.Linear(40, 12)
        self.out_norm = nn.BatchNorm1d(40)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(self.first(x)))
        kept = [x]
        for i in range(2):
            parts = self.before[i](x).relu().chunk(4, 1)
            made = [parts[0]]
            for part, conv in zip(parts[1:], self.inner[i], strict=True):
                made.append(F.relu(conv(part + made[-1] if len(made) > 1 else part)))
            y = self.after[i](torch.cat(made, 1))
            scale = torch.sigmoid(self.up[i](F.relu(self.down[i](y.mean(-1)))))
            x = x + y * scale.unsqueeze(-1)
            kept.append(x)
        y = F.relu(self.join(torch.cat(kept, 1)))
        w = self.attention(torch.tanh(self.score(y))).softmax(-1)
        mean = (w * y).sum(-1)
        deviation = ((w * y.square()).sum(-1) - mean.square()).clamp(min=1e-4).sqrt()
        return F.normalize(self.out(self.out_norm(torch.cat((mean, deviation), 1))), dim=1)


class TCN(nn.Module):
    """Dilated causal blocks of two convolutions, cut after each, with residuals."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        sizes = [8, c, c, 12]
        pairs = list(zip(sizes, sizes[1:], strict=False))
        self.one = nn.ModuleList(
            nn.Conv1d(a, b, 3, padding=2 * 2**i, dilation=2**i) for i, (a, b) in enumerate(pairs)
        )
        self.two = nn.ModuleList(
            nn.Conv1d(b, b, 3, padding=2 * 2**i, dilation=2**i) for i, (_, b) in enumerate(pairs)
        )
        self.short = nn.ModuleList(
            nn.Conv1d(a, b, 1) if a != b else nn.Identity() for a, b in pairs
        )
        self.out = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        for one, two, short in zip(self.one, self.two, self.short, strict=True):
            y = F.relu(one(x)[:, :, : -one.padding[0]])
            y = F.relu(two(y)[:, :, : -two.padding[0]])
            x = F.relu(y + short(x))
        return self.out(x[:, :, -1])


class Conformer(nn.Module):
    """Half a feed-forward, attention, a gated depthwise convolution, half a feed-forward."""

    def __init__(self, d: int = 16) -> None:
        super().__init__()
        self.read = nn.Linear(10, d)
        self.ff1, self.ff2 = _feed_forward(d), _feed_forward(d)
        self.norm_a = nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, 4, batch_first=True)
        self.norm_c, self.point1 = nn.LayerNorm(d), nn.Conv1d(d, 2 * d, 1)
        self.deep, self.norm = nn.Conv1d(d, d, 7, padding=3, groups=d), nn.BatchNorm1d(d)
        self.point2, self.last, self.out = nn.Conv1d(d, d, 1), nn.LayerNorm(d), nn.Linear(d, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x)
        x = x + 0.5 * self.ff1(x)
        y = self.norm_a(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = F.glu(self.point1(self.norm_c(x).transpose(1, 2)), 1)
        x = x + self.point2(F.silu(self.norm(self.deep(y)))).transpose(1, 2)
        return self.out(self.last(x + 0.5 * self.ff2(x)))


def _feed_forward(d: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.SiLU(), nn.Dropout(0.1), nn.Linear(2 * d, d)
    )


class DenseNet(nn.Module):
    """Every layer reads all layers before it, joined; a narrowing convolution between blocks."""

    def __init__(self, growth: int = 6) -> None:
        super().__init__()
        widths = [8 + growth * i for i in range(4)]
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths[:3])
        self.layers = nn.ModuleList(nn.Conv2d(w, growth, 3, padding=1) for w in widths[:3])
        self.narrow, self.norm = nn.Conv2d(widths[3], 10, 1), nn.BatchNorm2d(widths[3])
        self.out = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.first(x)]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            kept.append(layer(F.relu(norm(torch.cat(kept, 1)))))
        y = self.narrow(F.relu(self.norm(torch.cat(kept, 1))))
        return self.out(F.max_pool2d(F.relu(y), 2).mean((-1, -2)))


class XVector(nn.Module):
    """Dilated layers in time, mean and deviation of all frames, an embedding of unit length."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(8, c, 5),
            nn.ReLU(),
            nn.BatchNorm1d(c),
            nn.Conv1d(c, c, 3, dilation=2),
            nn.ReLU(),
            nn.BatchNorm1d(c),
            nn.Conv1d(c, 24, 1),
            nn.ReLU(),
        )
        self.embed, self.out = nn.Linear(48, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        y = F.relu(self.embed(torch.cat((y.mean(2), y.std(2)), 1)))
        return self.out(y / y.norm(dim=1, keepdim=True))


class ShuffleNet(nn.Module):
    """Grouped pointwise convolutions whose channels are shuffled between groups."""

    def __init__(self, c: int = 12) -> None:
        super().__init__()
        self.first, self.a = nn.Conv2d(1, c, 3, padding=1), nn.Conv2d(c, c, 1, groups=3)
        self.deep = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.b, self.out = nn.Conv2d(c, c, 1, groups=3), nn.Linear(c, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(self.first(x).relu()))
        b, c, h, w = y.shape
        y = y.view(b, 3, c // 3, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.out(F.relu(self.b(self.deep(y))).mean((2, 3)))


class Tied(nn.Module):
    """A small language model of codes: the embedding is the last layer's weight too."""

    def __init__(self, d: int = 16) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(30, d), nn.RNN(d, 12, 2, batch_first=True)
        self.back, self.out = nn.Linear(12, d), nn.Linear(d, 30, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, codes: Tensor) -> Tensor:
        return self.out(self.back(self.rnn(self.embed(codes))[0]))
