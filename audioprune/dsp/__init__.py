"""Signals, frames, spectra, levels and sample rates: what every room that touches audio shares.

Torch where a gradient may pass (spectra, framing, masks, mu-law), numpy where audio is prepared
(mixing, resampling). Files are read in audioprune.data, scores are in audioprune.metrics.
"""

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
