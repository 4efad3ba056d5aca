"""Signals, frames, spectra, levels and sample rates: what every room that touches audio shares.

Torch where a gradient may pass (spectra, framing, masks, mu-law), numpy where audio is prepared
(mixing, resampling). A module is loaded with the first of its names that is asked for, so that
what only reads files loads no torch. Files are read in audioprune.data, scores are in
audioprune.metrics.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audioprune.dsp.framing import frame_signal, overlap_add, overlap_add_mean
    from audioprune.dsp.levels import loudness_db, mix_at_snr, rms, rms_gain
    from audioprune.dsp.mel import mel_filters
    from audioprune.dsp.mu_law import check_samples, mu_law_decode, mu_law_encode
    from audioprune.dsp.resampling import mixdown, resample
    from audioprune.dsp.stft import OLA_NORMS, STFT, WINDOWS, OlaNorm, ideal_ratio_mask

__all__ = [
    "OLA_NORMS",
    "STFT",
    "WINDOWS",
    "OlaNorm",
    "check_samples",
    "frame_signal",
    "ideal_ratio_mask",
    "loudness_db",
    "mel_filters",
    "mix_at_snr",
    "mixdown",
    "mu_law_decode",
    "mu_law_encode",
    "overlap_add",
    "overlap_add_mean",
    "resample",
    "rms",
    "rms_gain",
]
_PLACES = {
    "OLA_NORMS": "stft",
    "STFT": "stft",
    "WINDOWS": "stft",
    "OlaNorm": "stft",
    "check_samples": "mu_law",
    "frame_signal": "framing",
    "ideal_ratio_mask": "stft",
    "loudness_db": "levels",
    "mel_filters": "mel",
    "mix_at_snr": "levels",
    "mixdown": "resampling",
    "mu_law_decode": "mu_law",
    "mu_law_encode": "mu_law",
    "overlap_add": "framing",
    "overlap_add_mean": "framing",
    "resample": "resampling",
    "rms": "levels",
    "rms_gain": "levels",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'audioprune.dsp' has no attribute '{name}'")
    found = getattr(import_module(f"audioprune.dsp.{_PLACES[name]}"), name)
    globals()[name] = found
    return found
