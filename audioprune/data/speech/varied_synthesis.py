"""How artificial voices and noises vary as recordings do: ``variety=rich`` of the corpus.

Voices of more kinds than speech_synthesis.py draws (``draw_varied_voice``); what a room and a
microphone do to any voice (``recorded``); noises of more kinds, which change over their time
(``NOISE_KINDS``, ``scene``). Signals are (T,) at 16 kHz. Nothing here is recorded.
"""

from __future__ import annotations

import numpy as np

from audioprune.data.files.audio import Samples
from audioprune.data.speech.augmentation import curved
from audioprune.data.speech.noise_synthesis import (
    NOISES,
    Noise,
    Wave,
    coloured,
    gusts,
    hum,
    knocks,
    reverberated,
)
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE, Voice

Rng = np.random.Generator
_LEVEL = 0.05
_MOST = 0.9

# Low, high and small speakers: mean pitch in Hz, and factors on the formants.
_SPEAKERS = ((108.0, 0.84, 1.06), (200.0, 1.0, 1.24), (275.0, 1.15, 1.38))
_SHARES = (0.45, 0.45, 0.1)

NOISE_KINDS: dict[str, Noise] = {
    **NOISES,
    "applause": knocks(70, ((1100, 700), (2300, 1200)), regular=False, floor=0.1),
    "bells": knocks(1.2, ((620, 4), (1240, 5), (1870, 8), (2950, 12)), regular=False),
    "vacuum": hum(180, 25, 1.5),
    "horn": hum(330, 14, 0.02),
    "waterfall": gusts(-2, 6.0, 0.3),
    "shaker": gusts(2, 0.12, 0.9),
    "gravel": knocks(14, ((2500, 1500), (900, 600)), regular=False, floor=0.05),
    "tin": knocks(3, ((1500, 30), (2700, 40), (4300, 70)), regular=False, floor=0.03),
}
"""Noises without voices, by name: the plain ones and others."""


def draw_varied_voice(rng: Rng) -> Voice:
    """Return a random voice out of more kinds than `speech_synthesis.draw_voice` has."""
    pitch_hz, shortest, longest = _SPEAKERS[int(rng.choice(3, p=_SHARES))]
    return Voice(
        f0_hz=float(np.clip(pitch_hz * np.exp(rng.normal(0, 0.17)), 65, 400)),
        span=rng.uniform(1.0, 7.0),
        formant_scale=rng.uniform(shortest, longest),
        formant_bias=tuple(rng.uniform(0.9, 1.1, 3).tolist()),
        bandwidth_scale=rng.uniform(0.7, 1.8),
        open_quotient=rng.uniform(0.4, 0.85),
        tilt_hz=float(np.exp(rng.uniform(np.log(1000), np.log(7000)))),
        breath=float(np.exp(rng.uniform(np.log(0.008), np.log(0.2)))),
        jitter=rng.uniform(0.003, 0.02),
        rate=rng.uniform(0.7, 1.4),
        slope=rng.uniform(-0.5, 1.8),
        glide_s=rng.uniform(0.03, 0.12),
        hiss=float(np.exp(rng.uniform(np.log(0.5), np.log(2.0)))),
    )


def recorded(speech: Samples, rng: Rng) -> Samples:
    """Let a room, a microphone and its hiss pass over a voice.

    Args:
        speech: Shape (T,).
        rng: Source of the room, the curve and the hiss.

    Returns:
        Samples (T,), root mean square about 0.05, peak below 1.
    """
    wave = speech.astype(np.float64)
    if rng.random() < 0.4:
        wave = reverberated(wave, rng.uniform(0.12, 0.45), rng.uniform(0.1, 0.5), rng)
    wave = np.asarray(curved(wave, SAMPLE_RATE, 6.0, rng), dtype=np.float64)
    wave *= _LEVEL / max(1e-9, float(np.sqrt(np.mean(wave**2))))
    floor = coloured(rng.uniform(-5, 0), 50.0)(np.ceil(len(wave) / SAMPLE_RATE), rng)
    wave += floor[: len(wave)] * (_LEVEL * 10 ** (rng.uniform(-70, -45) / 20) / floor.std())
    return (wave * min(1.0, _MOST / float(np.abs(wave).max()))).astype(np.float32)


def long_noise(noise: Noise, seconds: float, rng: Rng) -> Wave:
    """Return a noise that is drawn anew every few seconds, and nears and leaves in between.

    Args:
        noise: What makes one stretch of it.
        seconds: Length.
        rng: Source of the stretches, of their curves and of the level.
    """
    length = round(seconds * SAMPLE_RATE)
    fade = min(SAMPLE_RATE // 2, length // 4)
    rise = np.linspace(0, 1, fade)
    total = np.zeros(length + fade)
    place = 0
    while place < length:
        part_s = 0.5 * int(rng.integers(16, 41))  # lengths whose transforms are fast
        part = curved(noise(part_s, rng), SAMPLE_RATE, 6.0, rng)
        part /= max(1e-9, part.std())
        part[:fade] *= rise
        part[-fade:] *= rise[::-1]
        part = part[: len(total) - place]
        total[place : place + len(part)] += part
        place += max(1, len(part) - fade)
    knots = rng.uniform(-6, 6, int(seconds / 4) + 3)
    level_db = np.interp(np.arange(length) / (4 * SAMPLE_RATE), np.arange(len(knots)), knots)
    return total[:length] * 10 ** (level_db / 20)


def scene(seconds: float, rng: Rng) -> Wave:
    """Return two or three kinds of noise at once, as places have them."""
    names = list(NOISE_KINDS)
    chosen = rng.permutation(len(names))[: int(rng.integers(2, 4))]
    total = np.zeros(round(seconds * SAMPLE_RATE))
    for number in chosen:
        part = long_noise(NOISE_KINDS[names[int(number)]], seconds, rng)
        total += 10 ** (rng.uniform(-10, 0) / 20) * part / max(1e-9, part.std())
    if rng.random() < 0.5:
        total = reverberated(total, rng.uniform(0.2, 1.0), rng.uniform(0.3, 1.5), rng)
    return total
