"""How far two signals are apart in their spectra: loss and error of note synthesis.

``SpectralLoss`` compares signals (B, T). Scores of enhanced speech are in ``metrics.spectral``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audioprune.dsp import STFT
from audioprune.errors import ConfigError, DataError, unknown_name

WINDOWS = (32, 128, 256, 512, 1024)
FORMS = ("log_power", "linear_log")
BASES = ("l1", "mse")
_TINY_POWER = 1e-14


class SpectralLoss:
    """Distance of two signals in several short-time spectra.

    ``log_power``: the sum over windows of mean |log(S + eps) - log(S' + eps)|, with power spectra
    S = |STFT|^2 of unnormalised transforms under Hann windows and a hop of a quarter.
    ``linear_log``: the sum over windows of mean |M - M'| + mean |log(M + eps) - log(M' + eps)|
    with magnitudes M.

    Args:
        form: ``"log_power"`` or ``"linear_log"``.
        windows: Window sizes in samples, multiples of 4.
        eps: What is added before the logarithm; 1 with the one window of 1024 gives the loss of
            SING.
        base: ``"l1"``, or ``"mse"`` for squares in place of absolute values in ``log_power``.

    Raises:
        ConfigError: A value is unknown or out of its range.

    Source: Esling et al., equation 2, with eps 5e-3 and five windows from 32 to 1024, which the
    paper does not list; means replace its norms, so that values do not depend on the length.
    ``linear_log`` follows the code of Engel et al. (2020), DDSP; eps 1 Défossez et al. (2018),
    SING.
    """

    def __init__(
        self,
        form: str = "log_power",
        windows: Sequence[int] = WINDOWS,
        eps: float = 5e-3,
        base: str = "l1",
    ) -> None:
        for what, given, known in (("spectral form", form, FORMS), ("base", base, BASES)):
            if given not in known:
                raise ConfigError(unknown_name(what, given, known))
        fitting = [isinstance(size, int) and size >= 4 and size % 4 == 0 for size in windows]
        if not windows or not all(fitting):
            raise ConfigError(
                f"expected stft_windows as multiples of 4 samples, got {list(windows)}; use for "
                f"instance {list(WINDOWS)}"
            )
        if not 0 < eps < float("inf"):
            raise ConfigError(f"expected eps above 0, got {eps}; use 5e-3")
        if form == "linear_log" and base != "l1":
            raise ConfigError(
                f"expected base l1 with linear_log, got {base}; use form log_power for squares"
            )
        self.form = form
        self.base = base
        self.eps = eps
        self.transforms = tuple(STFT(size, size // 4, "hann") for size in windows)

    def each(self, reference: Tensor, estimate: Tensor) -> Tensor:
        """Return the distance of each pair, shape (B,).

        Args:
            reference: Signals (B, T).
            estimate: Signals of the same shape.

        Raises:
            DataError: The shapes differ.
        """
        if reference.shape != estimate.shape or reference.ndim != 2:
            raise DataError(
                f"expected two batches (B, T), got {tuple(reference.shape)} and "
                f"{tuple(estimate.shape)}; cut both alike"
            )
        total = torch.zeros(len(reference), device=reference.device)
        for transform in self.transforms:
            wanted = _power(transform, reference.float())
            total = total + self._distance(wanted, _power(transform, estimate.float()))
        return total

    def __call__(self, reference: Tensor, estimate: Tensor) -> Tensor:
        """Return the mean distance of two batches (B, T), a scalar."""
        return self.each(reference, estimate).mean()

    def _distance(self, wanted: Tensor, given: Tensor) -> Tensor:
        """Return the distance (B,) of two power spectra (B, N, F)."""
        if self.form == "linear_log":
            wanted = wanted.clamp_min(_TINY_POWER).sqrt()
            given = given.clamp_min(_TINY_POWER).sqrt()
            logs = (torch.log(wanted + self.eps) - torch.log(given + self.eps)).abs()
            return (wanted - given).abs().mean((-1, -2)) + logs.mean((-1, -2))
        difference = torch.log(wanted + self.eps) - torch.log(given + self.eps)
        return (difference.square() if self.base == "mse" else difference.abs()).mean((-1, -2))


def _power(transform: STFT, signal: Tensor) -> Tensor:
    spectrum = transform.analysis(signal)
    return spectrum.real.square() + spectrum.imag.square()
