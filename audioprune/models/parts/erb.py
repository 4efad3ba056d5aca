"""Bands of equal hearing: triangles over frequency bins, evenly spaced on the ERB-rate scale.

``ErbBands`` maps the last axis of spectra, F bins, to K bands and back. It learns nothing: its
two matrices are computed, neither stored nor counted as parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ErbBands(nn.Module):
    """Keep the low bins as they are and sum the others into triangular bands.

    The centres lie at equal distances of the ERB rate, from the first summed bin to the last one,
    rounded to bins. A triangle falls from 1 at its centre to 0 at its neighbours' centres, so that
    the triangles add up to 1 at every bin.

    Args:
        bins: Number of bins F, from 0 Hz to half the sample rate.
        kept: How many low bins stay as they are.
        bands: Triangles of the others.
        sample_rate: In Hz.

    Attributes:
        triangles: Weight of each summed bin in each band, shape (bands, bins - kept).

    Source: the ERB rate 21.4 log10(1 + 0.00437 f) of Glasberg & Moore, "Derivation of auditory
    filter shapes from notched-noise data", Hearing Research 1990.
    """

    triangles: Tensor

    def __init__(self, bins: int, kept: int, bands: int, sample_rate: int) -> None:
        super().__init__()
        self.kept = kept
        values = triangles(bins, kept, bands, sample_rate)
        self.register_buffer("triangles", values, persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map values of bins (..., F) to values of bands (..., K)."""
        summed = spectrum[..., self.kept :] @ self.triangles.T
        return torch.cat((spectrum[..., : self.kept], summed), -1)

    def back(self, values: Tensor) -> Tensor:
        """Map values of bands (..., K) to values of bins (..., F), by straight lines between."""
        spread = values[..., self.kept :] @ self.triangles
        return torch.cat((values[..., : self.kept], spread), -1)


def triangles(bins: int, kept: int, bands: int, sample_rate: int) -> Tensor:
    """Return the weight of each bin from ``kept`` on in each band, (bands, bins - kept)."""
    hz_per_bin = sample_rate / 2 / (bins - 1)
    lowest, highest = _erb_rate(kept * hz_per_bin), _erb_rate(sample_rate / 2)
    steps = [lowest + (highest - lowest) * i / (bands - 1) for i in range(bands)]
    centres = [round(_hertz(step) / hz_per_bin) - kept for step in steps]
    bank = torch.zeros(bands, bins - kept, device="cpu")
    for i, (here, following) in enumerate(zip(centres, centres[1:], strict=False)):
        rise = torch.arange(following - here + 1, device="cpu") / (following - here)
        bank[i, here : following + 1] = 1 - rise
        bank[i + 1, here : following + 1] = rise
    return bank.to(torch.get_default_device())


def _erb_rate(hertz: float) -> float:
    return 21.4 * math.log10(1 + 0.00437 * hertz)


def _hertz(erb_rate: float) -> float:
    return (10 ** (erb_rate / 21.4) - 1) / 0.00437
