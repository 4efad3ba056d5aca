"""How the second kind of artificial voices speaks: espeak-ng, if the extra ``voice`` is installed.

``EspeakVoice`` is one speaker: language, variant, pitch and speed. ``say(voice, seconds, rng)``
returns samples (T,) at 16 kHz of random numbers and words that no language has. The same generator
gives the same bytes in any process and in any order. It writes no file.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr

from audioprune.data.files.audio import Samples
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE
from audioprune.errors import ConfigError

Rng = np.random.Generator
_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_WORDS_PER_S = 4.0
_FADE_S = 0.02
_LEVEL = 0.05
_MOST = 0.9
_LOCK = threading.Lock()
"""The library has one state for the whole process."""

# Onsets, vowels and codas of made words, as they are written in a language.
_SYLLABLES = {
    "en-us": (
        "b d f g h k l m n p r s t w sh th ch st br",
        "a e i o u ee oo ai ow",
        "n t s k r ll m ng",
    ),
    "en-gb-scotland": (
        "b d f g h k l m n p r s t w sh th ch st gr",
        "a e i o u ea oo ay ou",
        "n t s ck l m nd st",
    ),
    "de": (
        "b d f g h k l m n p r s t w z sch st pf",
        "a e i o u ä ö ü ei au ie",
        "n t s ch r l m nd",
    ),
    "fr": ("b d f g j l m n p r s t v ch br tr", "a e i o u é è ou eu an on oi", "r s l t n che"),
    "es": ("b d f g j l m n p r s t v ch ll tr", "a e i o u ie ue", "n s r l d"),
    "it": ("b d f g l m n p r s t v ch sc tr", "a e i o u ia io", "n r l s"),
    "pt": ("b d f g j l m n p r s t v ch lh", "a e i o u ão ei ou", "s r l m"),
    "nl": ("b d g h k l m n p r s t v w z sch", "a e i o u aa ee oe ui ij", "n t k s r l"),
    "sv": ("b d f g h k l m n p r s t v sk", "a e i o u å ä ö y", "n t r l s ng"),
    "da": ("b d f g h k l m n p r s t v", "a e i o u æ ø å y", "n r l d s"),
    "nb": ("b d f g h k l m n p r s t v skj", "a e i o u ø å y ei", "n t r l s"),
    "fi": ("h j k l m n p r s t v", "a e i o u ä ö aa ii uo", "n s t l"),
    "hu": ("b d f g h k l m n p r s t v sz gy", "a e i o u á é ö ü", "k n r t l s"),
    "pl": ("b d g k l m n p r s t w z sz cz", "a e i o u y ą ę", "k n r t ł"),
    "cs": ("b d h k l m n p r s t v z č š", "a e i o u á í ou", "k n r t l"),
    "ro": ("b d f g l m n p r s t v ș ț", "a e i o u ă â ia", "n r t l s"),
    "tr": ("b d g k l m n p r s t y ş ç", "a e ı i o ö u ü", "k n r l m t"),
    "id": ("b d g h j k l m n p r s t ng", "a e i o u ai", "n ng k s r t"),
}
"""By language; each also says numbers in its own words."""
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Alex",
    "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo",
    "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "Reed", "Storm", "adam",
    "anika", "announcer", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david",
    "ed", "edward", "edward2", "grandma", "grandpa", "gustave", "ian", "iven", "iven2", "iven3",
    "john", "kaukovalta", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo",
    "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis", "victor",
)  # fmt: skip
"""Variants of a voice that sound like people."""


@dataclass(frozen=True)
class EspeakVoice:
    """One speaker.

    Attributes:
        language: Language of espeak-ng, such as ``de``.
        variant: Variant of the voice, such as ``f3``; empty for none.
        pitch: Middle of the pitch, 0..99.
        span: Movement of the pitch, 0..99.
        rate: Words in a minute.
    """

    language: str
    variant: str
    pitch: int
    span: int
    rate: int


def draw_espeak_voice(rng: Rng) -> EspeakVoice:
    """Return a random speaker."""
    return EspeakVoice(
        language=list(_SYLLABLES)[int(rng.integers(len(_SYLLABLES)))],
        variant=VARIANTS[int(rng.integers(len(VARIANTS)))],
        pitch=int(rng.integers(25, 76)),
        span=int(rng.integers(30, 81)),
        rate=int(rng.integers(130, 211)),
    )


def require_espeak() -> None:
    """Refuse to go on without espeak-ng.

    Raises:
        ConfigError: The extra is not installed, or it cannot be used.
    """
    with _LOCK:
        _, _, close = _open()
        close()


def say(voice: EspeakVoice, seconds: float, rng: Rng) -> Samples:
    """Say random words for a given time.

    Args:
        voice: Who speaks.
        seconds: Length of the result; speech that would be longer is faded out.
        rng: Source of the words.

    Returns:
        Samples at 16 kHz, shape (round(seconds * 16000),), root mean square about 0.05, peak below
        1.

    Raises:
        ConfigError: espeak-ng is not installed, or does not know the language or the variant.
    """
    wanted = round(seconds * SAMPLE_RATE)
    text = _text(voice.language, round(seconds * _WORDS_PER_S * voice.rate / 150), rng)
    spoken = _synthesize(voice, text, int(rng.integers(1, 2**31)))
    speech = np.zeros(wanted, np.float64)
    part = spoken[:wanted]
    speech[: len(part)] = part
    if len(spoken) > wanted:
        fade = round(_FADE_S * SAMPLE_RATE)
        speech[-fade:] *= np.linspace(1, 0, fade)
    speech *= _LEVEL / max(1e-9, float(np.sqrt(np.mean(speech**2))))
    return (speech * min(1.0, _MOST / max(1e-9, float(np.abs(speech).max())))).astype(np.float32)


def _text(language: str, words: int, rng: Rng) -> str:
    """Write words of one to three syllables, a number now and then, commas and full stops."""
    onsets, vowels, codas = (part.split() for part in _SYLLABLES[language])

    def pick(parts: list[str]) -> str:
        return parts[int(rng.integers(len(parts)))]

    written = []
    for _ in range(max(8, words)):
        if rng.random() < 0.12:
            word = str(int(rng.integers(1, 10 ** int(rng.integers(1, 4)))))
        else:
            syllables = range(int(rng.integers(1, 4)))
            word = "".join(pick(onsets) + pick(vowels) for _ in syllables)
            word += pick(codas) if rng.random() < 0.6 else ""
        pause = rng.random()
        written.append(word + ("." if pause < 0.06 else "," if pause < 0.16 else ""))
    return " ".join(written) + "."


def _synthesize(voice: EspeakVoice, text: str, seed: int) -> Samples:
    """Return what a voice makes of a text, (T,) at 16 kHz.

    The library is opened anew for every utterance: what it remembers of one would change the next.
    """
    parts: list[np.ndarray] = []
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
    )

    def receive(samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback, encoded = kind(receive), text.encode()
    name = f"{voice.language}+{voice.variant}" if voice.variant else voice.language
    with _LOCK:
        library, rate, close = _open()
        try:
            library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(name.encode()) != 0:
                raise ConfigError(
                    f"espeak-ng knows no voice {name}; install the versions of constraints.txt"
                )
            for key, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.span)):
                library.espeak_SetParameter(key, value, 0)
            library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
            library.espeak_Synchronize()
        finally:
            close()
    whole = np.concatenate(parts) if parts else np.zeros(1, np.int16)
    return soxr.resample(whole.astype(np.float32) / 32768, rate, SAMPLE_RATE)


def _open() -> tuple[ctypes.CDLL, int, Callable[[], None]]:
    """Return the library, its sample rate in Hz, and what closes it."""
    import _ctypes

    try:
        import espeakng_loader
    except ImportError as error:
        raise ConfigError(
            "data.voices: espeak needs espeak-ng; run: pip install 'audioprune[voice]', or use "
            "data.voices=made"
        ) from error
    path, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ConfigError(
            f"data.voices: cannot open {path}: {error}; use data.voices=made"
        ) from error
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), 0x8000)
    if rate <= 0:
        raise ConfigError(
            f"data.voices: espeak-ng cannot read {data}; install espeakng-loader again"
        )

    def close() -> None:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)

    return library, rate, close
