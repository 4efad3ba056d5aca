"""How a microphone is enhanced and played while it is heard: ``enhance_microphone``.

It needs the package sounddevice, which needs a sound card; nothing else of this package does.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from audioprune.errors import ConfigError, DataError, InterruptedRun
from audioprune.inference.enhancer import Enhancer
from audioprune.inference.pipes import PIPES
from audioprune.interrupts import check_stop


def sound_device() -> Any:
    """Return the module sounddevice.

    Raises:
        ConfigError: It is not installed, or its library is missing.
    """
    try:
        return importlib.import_module("sounddevice")
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"listen=mic: expected the package sounddevice, got {error}; run: pip install "
            f"sounddevice"
        ) from error


def enhance_microphone(enhancer: Enhancer, block_s: float, level: float | None) -> float:
    """Play what the microphone hears, enhanced, until the user stops.

    Args:
        enhancer: The model; it must run on parts of a signal.
        block_s: Seconds that are read at once.
        level: Root mean square of the speech; None follows what is heard.

    Returns:
        Seconds of audio.

    Raises:
        ConfigError: sounddevice is missing.
        DataError: The sound card refuses.
    """
    device, rate = sound_device(), enhancer.sample_rate
    block = max(1, round(block_s * rate))
    levels = None if level is None else np.full(1, level)
    stream, count = enhancer.stream(1, rate, levels, PIPES), 0
    try:
        with device.Stream(samplerate=rate, blocksize=block, channels=1, dtype="float32") as card:
            while True:
                check_stop()
                samples, _ = card.read(block)
                count += len(samples)
                card.write(np.ascontiguousarray(stream.push(np.asarray(samples))))
    except (InterruptedRun, KeyboardInterrupt):
        return count / rate
    except device.PortAudioError as error:
        raise DataError(f"listen=mic: the sound card refuses ({error}); check its rate") from error
