"""Which bins of a spectrum a mel band adds up: ``mel_filters``, an array (M, F)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LINEAR_HZ = 200 / 3  # of one mel below 1 kHz
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_STEP = np.log(6.4) / 27  # of the logarithm of one mel above


def mel_filters(mels: int, n_fft: int, sample_rate: int) -> Tensor:
    """Return triangles of equal area, equally far apart in mel from 0 to half the rate (M, F).

    Args:
        mels: Number of bands M.
        n_fft: Size of the transform; it has F = n_fft // 2 + 1 bins.
        sample_rate: In Hz.

    Source: Slaney's Auditory Toolbox (1998): linear below 1 kHz, logarithmic above.
    """
    top = _mel(sample_rate / 2)
    edges = _hertz(np.linspace(0.0, top, mels + 2))
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return torch.from_numpy(triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _LINEAR_HZ
    return float(_BREAK_MEL + np.log(hertz / _BREAK_HZ) / _STEP)


def _hertz(mels: np.ndarray) -> np.ndarray:
    above = _BREAK_HZ * np.exp(_STEP * (mels - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, _LINEAR_HZ * mels, above)
