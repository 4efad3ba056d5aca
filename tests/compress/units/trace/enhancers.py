"""Small networks that enhance or separate speech, as people write them; tens of kilobytes each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CRN(nn.Module):
    """Strided convolutions, a recurrent layer of two, transposed convolutions, skips by cat."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        sizes = [1, c, 2 * c, 2 * c]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, (2, 3), (1, 2), (1, 0)), nn.BatchNorm2d(b), nn.ELU())
            for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.lstm = nn.LSTM(2 * c * 3, 2 * c * 3, 2, batch_first=True)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(2 * a, b, (2, 3), (1, 2)), nn.BatchNorm2d(b), nn.ELU()
            )
            for a, b in zip(sizes[:1:-1], sizes[-2:0:-1], strict=False)
        )
        self.last = nn.ConvTranspose2d(2 * c, 1, (2, 3), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for layer in self.down:
            x = layer(x)[:, :, :-1]
            skips.append(x)
        b, c, n, f = x.shape
        x = self.lstm(x.transpose(1, 2).reshape(b, n, c * f))[0]
        x = x.reshape(b, n, c, f).transpose(1, 2)
        for layer in self.up:
            x = layer(torch.cat((x, skips.pop()), 1))[:, :, :-1]
        return F.softplus(self.last(torch.cat((x, skips.pop()), 1))[:, :, :-1])


class ComplexConv(nn.Module):
    """A complex convolution of two real ones; channels hold real parts, then imaginary ones."""

    def __init__(self, a: int, b: int, transposed: bool = False) -> None:
        super().__init__()
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.real = kind(a // 2, b // 2, (1, 3), (1, 2))
        self.imag = kind(a // 2, b // 2, (1, 3), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        re, im = x.chunk(2, 1)
        return torch.cat((self.real(re) - self.imag(im), self.real(im) + self.imag(re)), 1)


class DCCRN(nn.Module):
    """Complex convolutions around a complex recurrent layer; a complex mask on the spectrum."""

    def __init__(self, c: int = 16) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.a, self.b = ComplexConv(2, c), ComplexConv(c, 2 * c)
        self.na, self.nb = nn.BatchNorm2d(c), nn.BatchNorm2d(2 * c)
        self.pa, self.pb = nn.PReLU(), nn.PReLU()
        self.re, self.im = nn.LSTM(c * 3, 24), nn.LSTM(c * 3, 24)
        self.out_re, self.out_im = nn.Linear(24, c * 3), nn.Linear(24, c * 3)
        self.c, self.nc = ComplexConv(4 * c, c, True), nn.BatchNorm2d(c)
        self.d = ComplexConv(2 * c, 2, True)

    def forward(self, x: Tensor) -> Tensor:
        s = torch.stft(x, 32, 16, window=self.window, return_complex=True)[:, :15]
        first = self.pa(self.na(self.a(torch.stack((s.real, s.imag), 1).transpose(2, 3))))
        y = second = self.pb(self.nb(self.b(first)))
        re, im = (each.permute(2, 0, 1, 3).flatten(2) for each in y.chunk(2, 1))
        re, im = (
            self.re(re)[0] - self.im(im)[0],
            self.re(im)[0] + self.im(re)[0],
        )
        parts = []
        for each, layer in ((re, self.out_re), (im, self.out_im)):
            parts.append(layer(each).unflatten(2, (-1, 3)).permute(1, 2, 0, 3))
        y = torch.cat(parts, 1)
        y = _complex_cat(y, second)
        y = F.leaky_relu(self.nc(self.c(y)))
        y = self.d(_complex_cat(y, first))
        mask = torch.complex(*y.transpose(2, 3).unbind(1))
        return torch.istft(F.pad(s * mask, (0, 0, 0, 2)), 32, 16, window=self.window)


def _complex_cat(a: Tensor, b: Tensor) -> Tensor:
    (ar, ai), (br, bi) = a.chunk(2, 1), b.chunk(2, 1)
    return torch.cat((ar, br, ai, bi), 1)


class TasBlock(nn.Module):
    """Widen, filter each channel in time, and give a residual and a skip; global layer norms."""

    def __init__(self, b: int, h: int, dilation: int) -> None:
        super().__init__()
        self.wide, self.act, self.norm = nn.Conv1d(b, h, 1), nn.PReLU(), nn.GroupNorm(1, h)
        self.deep = nn.Conv1d(h, h, 3, dilation=dilation, padding=dilation, groups=h)
        self.act2, self.norm2 = nn.PReLU(), nn.GroupNorm(1, h)
        self.res, self.skip = nn.Conv1d(h, b, 1), nn.Conv1d(h, b, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norm2(self.act2(self.deep(self.norm(self.act(self.wide(x))))))
        return x + self.res(y), self.skip(y)


class ConvTasNet(nn.Module):
    """A learned basis, masks from dilated blocks, and the basis back, for two speakers."""

    def __init__(self, n: int = 24, b: int = 12, h: int = 20) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, n, 8, 4, bias=False)
        self.norm, self.bottle = nn.GroupNorm(1, n), nn.Conv1d(n, b, 1)
        self.blocks = nn.ModuleList(TasBlock(b, h, 2**i) for i in range(3))
        self.masks = nn.Sequential(nn.PReLU(), nn.Conv1d(b, 2 * n, 1), nn.ReLU())
        self.decoder = nn.ConvTranspose1d(n, 1, 8, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        w = F.relu(self.encoder(x.unsqueeze(1)))
        y, total = self.bottle(self.norm(w)), 0
        for block in self.blocks:
            y, skip = block(y)
            total = total + skip
        masks = self.masks(total).unflatten(1, (2, -1))
        return self.decoder((masks * w.unsqueeze(1)).flatten(0, 1)).view(len(x), 2, -1)


class DPRNN(nn.Module):
    """Recurrent layers along and across pieces of a sequence, each with a projection and norm."""

    def __init__(self, n: int = 12, h: int = 10) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, n, 8, 4)
        self.rows = nn.LSTM(n, h, batch_first=True, bidirectional=True)
        self.row_out, self.row_norm = nn.Linear(2 * h, n), nn.GroupNorm(1, n)
        self.columns = nn.LSTM(n, h, batch_first=True, bidirectional=True)
        self.column_out, self.column_norm = nn.Linear(2 * h, n), nn.GroupNorm(1, n)
        self.gate, self.value = nn.Conv1d(n, n, 1), nn.Conv1d(n, n, 1)
        self.decoder = nn.ConvTranspose1d(n, 1, 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        w = F.relu(self.encoder(x.unsqueeze(1)))
        b, n, length = w.shape
        y = F.pad(w, (0, -length % 8)).view(b, n, -1, 8)  # pieces of 8 frames
        rows = y.permute(0, 2, 3, 1).flatten(0, 1)
        rows = self.row_out(self.rows(rows)[0]).view(b, -1, 8, n).permute(0, 3, 1, 2)
        y = y + self.row_norm(rows)
        columns = y.permute(0, 3, 2, 1).flatten(0, 1)
        columns = self.column_out(self.columns(columns)[0]).view(b, 8, -1, n).permute(0, 3, 2, 1)
        y = (y + self.column_norm(columns)).flatten(2)[:, :, :length]
        mask = torch.sigmoid(self.gate(y)) * torch.tanh(self.value(y))
        return self.decoder(w * mask.relu())


class Encoder(nn.Module):
    """A transformer layer written by hand: heads by views, a scale kept as a number."""

    def __init__(self, d: int, heads: int, ff: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (d // heads) ** -0.5
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ff1, self.ff2 = nn.Linear(d, ff), nn.Linear(ff, d)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (
            each.view(b, n, self.heads, -1).transpose(1, 2)
            for each in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        y = (q @ k.transpose(-1, -2) * self.scale).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(b, n, -1))
        return x + self.ff2(F.gelu(self.ff1(self.norm2(x))))


class SepFormer(nn.Module):
    """Transformers along and across pieces, a gated mask on a learned basis."""

    def __init__(self, n: int = 16) -> None:
        super().__init__()
        self.encoder, self.norm = nn.Conv1d(1, n, 8, 4), nn.LayerNorm(n)
        self.inner, self.outer = Encoder(n, 2, 24), Encoder(n, 2, 24)
        self.act, self.mask = nn.PReLU(), nn.Linear(n, 2 * n)
        self.decoder = nn.ConvTranspose1d(n, 1, 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        w = F.relu(self.encoder(x.unsqueeze(1))).transpose(1, 2)
        b, length = len(w), w.shape[1] // 8 * 8
        w = w[:, :length]
        y = self.norm(w).unflatten(1, (-1, 8))
        y = self.inner(y.flatten(0, 1)).unflatten(0, (b, -1))
        y = self.outer(y.transpose(1, 2).flatten(0, 1)).unflatten(0, (b, -1)).transpose(1, 2)
        mask = F.glu(self.mask(self.act(y.flatten(1, 2))), -1).relu()
        return self.decoder((w * mask).transpose(1, 2))


class UNet(nn.Module):
    """Pooling down, nearest neighbours up, skips by cat; on magnitudes."""

    def __init__(self, c: int = 6) -> None:
        super().__init__()
        self.a, self.b, self.c = _double(1, c), _double(c, 2 * c), _double(2 * c, 4 * c)
        self.d, self.e = _double(6 * c, 2 * c), _double(3 * c, c)
        self.last = nn.Conv2d(c, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        y = self.c(F.max_pool2d(b, 2))
        y = self.d(torch.cat((F.interpolate(y, scale_factor=2), b), 1))
        y = self.e(torch.cat((F.interpolate(y, scale_factor=2.0, mode="bilinear"), a), 1))
        return x * torch.sigmoid(self.last(y))


def _double(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(a, b, 3, padding=1, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(inplace=True),
        nn.Conv2d(b, b, 3, padding=1, bias=False),
        nn.InstanceNorm2d(b, affine=True),
        nn.ReLU(inplace=True),
    )


class WaveUNet(nn.Module):
    """Waveform in and out: every other sample dropped going down, interpolation going up."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [nn.Conv1d(1, c, 15, padding=7), nn.Conv1d(c, 2 * c, 15, padding=7)]
        )
        self.middle = nn.Conv1d(2 * c, 3 * c, 15, padding=7)
        self.up = nn.ModuleList(
            [nn.Conv1d(5 * c, 2 * c, 5, padding=2), nn.Conv1d(3 * c, c, 5, padding=2)]
        )
        self.last = nn.Conv1d(c + 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, skips = x, []
        for layer in self.down:
            y = F.leaky_relu(layer(y))
            skips.append(y)
            y = y[:, :, ::2]
        y = F.leaky_relu(self.middle(y))
        for layer in self.up:
            skip = skips.pop()
            y = F.interpolate(y, skip.shape[-1], mode="linear", align_corners=True)
            y = F.leaky_relu(layer(torch.cat((y, skip), 1)))
        return torch.tanh(self.last(torch.cat((y, x), 1)))


class RNNoise(nn.Module):
    """Three GRUs that read one another and the input; gains of bands and a voice flag."""

    def __init__(self, f: int = 14) -> None:
        super().__init__()
        self.dense = nn.Linear(f, 8)
        self.vad, self.vad_out = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 1)
        self.noise = nn.GRU(8 + 8 + f, 12, batch_first=True)
        self.denoise = nn.GRU(8 + 12 + f, 16, batch_first=True)
        self.gains = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        d = torch.tanh(self.dense(x))
        v, _ = self.vad(d)
        n, _ = self.noise(torch.cat((d, v, x), -1))
        y, _ = self.denoise(torch.cat((v, n, x), -1))
        return {"gains": torch.sigmoid(self.gains(y)), "voice": torch.sigmoid(self.vad_out(v))}


class FullSubNet(nn.Module):
    """A layer over all bins, then one shared by all bins that reads each with its neighbours."""

    def __init__(self, f: int = 17) -> None:
        super().__init__()
        self.full, self.full_out = nn.LSTM(f, 20, 2, batch_first=True), nn.Linear(20, f)
        self.sub, self.sub_out = nn.LSTM(4, 12, 2, batch_first=True), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        b, n, f = x.shape
        whole = F.relu(self.full_out(self.full(x)[0]))
        near = F.pad(x, (1, 1), mode="reflect").unfold(2, 3, 1)  # (B, N, F, 3)
        y = torch.cat((near, whole.unsqueeze(-1)), -1).transpose(1, 2).reshape(b * f, n, 4)
        return self.sub_out(self.sub(y)[0]).reshape(b, f, n, 2).permute(0, 3, 2, 1)


class GatedCells(nn.Module):
    """Frame by frame: cells of a GRU and an LSTM, states carried by the loop, a gate."""

    def __init__(self, h: int = 12) -> None:
        super().__init__()
        self.read, self.gru = nn.Linear(10, h), nn.GRUCell(h, h)
        self.lstm, self.gate, self.out = nn.LSTMCell(h, h), nn.Linear(h, h), nn.Linear(h, 10)

    def forward(self, x: Tensor) -> Tensor:
        h, state, outputs = None, None, []
        for frame in x.unbind(1):
            y = F.relu(self.read(frame))
            h = self.gru(y, h)
            state = self.lstm(h, state)
            outputs.append(self.out(state[0] * torch.sigmoid(self.gate(y)) + y))
        return torch.stack(outputs, 1)
