"""The corpus of noisy speech that needs no download: artificial voices and noises.

``SyntheticSpeech`` writes its files once and reads them like any other folder. How voices sound is
written in speech_synthesis.py and espeak.py, how noises sound in noise_synthesis.py, how both vary
more in varied_synthesis.py, and how items are mixed in mixing.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from audioprune.data.corpus import GeneratedCorpus
from audioprune.data.files.audio import Samples
from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.speech.espeak import draw_espeak_voice, require_espeak, say
from audioprune.data.speech.noise_synthesis import NOISES, babble, cafeteria, levelled
from audioprune.data.speech.noisy_mixtures import FILE_KEYS, NoisyMixtures
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE, draw_voice, speak
from audioprune.data.speech.varied_synthesis import (
    NOISE_KINDS,
    draw_varied_voice,
    long_noise,
    recorded,
    scene,
)
from audioprune.data.splits.folders import SPLITS
from audioprune.errors import ConfigError, unknown_name
from audioprune.ranges import NoKey, OneOf, PassedTo, Range

_VERSION = 1
"""Raised whenever the same parameters give other audio."""
_TITLE = "synthetic_speech"
_CROWD = 10
"""Background voices of a split."""
_CROWD_FILES = {"train": 6, "test": 2}
"""Files of babble, and of cafeteria."""
VOICES = ("made", "espeak", "both")
VARIETIES = ("plain", "rich")
_SCENES = 12
"""Files of two or three noises at once, where the variety is rich."""
_TEST_FIRST = 27
"""Number of the first test speaker of the default corpus."""
_APART = {"train": 2000, "valid": 1000, "test": _TEST_FIRST}
"""Number of the first speaker of a split, where the test set is that of the default corpus."""
_TEST_NOISE_S = 30.0
"""Longest test noise there."""
_TARGETS, _TRAIN_CROWD, _TEST_CROWD, _NOISE, _TRAIN_VOICES, _TEST_VOICES, _VOICES = range(7)
_ESPEAK_VOICES, _ESPEAK_TEXTS, _SCENE = range(7, 10)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the audio.

    Attributes:
        seed: Decides voices, words and noises.
        minutes: Speech of train, valid and test in minutes.
        speakers: Speakers of train, valid and test; all different.
        utterance_s: Shortest and longest utterance in seconds.
        noise_s: Length of each training noise in seconds; test noises are twice as long.
        noises: Number of kinds of training noises besides voices.
        version: Version of the synthesizer.
        voices: Who speaks in training and validation: ``made``, ``espeak`` or ``both``.
        variety: How voices and noises of training and validation vary: ``plain`` or ``rich``.

    Raises:
        ConfigError: A value is out of its range.
    """

    seed: int
    minutes: tuple[float, float, float]
    speakers: tuple[int, int, int]
    utterance_s: tuple[float, float]
    noise_s: float
    noises: int = len(NOISES)
    version: int = _VERSION
    voices: str = "made"
    variety: str = "plain"

    @property
    def is_plain(self) -> bool:
        """Whether all splits are made alike, by the plain synthesizer."""
        return (self.voices, self.variety) == ("made", "plain")

    def facts(self) -> dict[str, Any]:
        """Return the values that name the corpus; new ones only where they are used."""
        known = asdict(self)
        if self.is_plain:
            del known["voices"], known["variety"]
        return known

    def __post_init__(self) -> None:
        for name, value, names in (
            ("data.voices", self.voices, VOICES),
            ("data.variety", self.variety, VARIETIES),
        ):
            if value not in names:
                raise ConfigError(unknown_name(name, value, names))
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(
                f"expected seed as a whole number of at least 0, got {self.seed}; use for "
                f"instance 0"
            )
        if not all(0 < value <= 6000 for value in self.minutes):
            raise ConfigError(
                f"expected minutes of speech above 0 and up to 6000, got {list(self.minutes)}; "
                f"use for instance 14"
            )
        if not all(isinstance(count, int) and 1 <= count <= 1000 for count in self.speakers):
            raise ConfigError(
                f"expected 1 to 1000 speakers in each split, got {list(self.speakers)}; use for "
                f"instance 24, 3 and 6"
            )
        if not 1.0 <= self.utterance_s[0] <= self.utterance_s[1] <= 60:
            raise ConfigError(
                f"expected utterance_s as [shortest, longest] from 1 to 60 s, got "
                f"{list(self.utterance_s)}; use [3, 4]"
            )
        if not 1.0 <= self.noise_s <= 600:
            raise ConfigError(
                f"expected noise_s from 1 to 600 s, got {self.noise_s}; use for instance 15"
            )
        if not 1 <= self.noises <= len(NOISES):
            raise ConfigError(
                f"expected 1 to {len(NOISES)} kinds of noise, got {self.noises}; use {len(NOISES)}"
            )


class SyntheticSpeech(GeneratedCorpus[NoisyMixtures]):
    """Mixtures of artificial voices with artificial noises, in a folder that this class writes.

    The voices of training, validation, test and background are all different. Test noises are
    ``babble`` (6 to 10 voices) and ``cafeteria`` (voices, dishes and a ventilator in a room);
    training noises are 28 others, and both kinds with other background voices. The default takes
    about 15 s to make and 40 MB, an hour of 200 voices half a minute and 140 MB on two cores.

    With ``voices`` or ``variety`` other than the default, training and validation differ, and the
    test set stays that of the default corpus, so that scores can be compared.

    Args:
        root: Folder to write or read; None for one in the user's cache folder, named after the
            recipe.
        seed: Decides the audio, the splits and the mixtures.
        minutes: Training speech in minutes.
        valid_minutes: Validation speech in minutes.
        test_minutes: Test speech in minutes.
        speakers: Number of training speakers.
        valid_speakers: Number of validation speakers.
        test_speakers: Number of test speakers.
        utterance_s: Shortest and longest utterance in seconds.
        noise_s: Length of each training noise in seconds; test noises are twice as long.
        noises: Number of kinds of training noise besides voices, at most 28.
        voices: Who speaks in training and validation: ``made``, by the project's own synthesizer;
            ``espeak``, by espeak-ng in 18 languages (extra ``voice``); ``both``, each half of the
            speakers and minutes.
        variety: ``plain``, or ``rich``: voices of more kinds with rooms and microphones, and
            noises of more kinds that change over their time.
        cache_dir: Cache folder; empty for the user's.
        **mixing: Any other argument of NoisyMixtures.

    Attributes:
        sample_rate: Rate of all items in Hz.

    Raises:
        ConfigError: A value is out of its range.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        seed: Annotated[int, Range(0)] = 0,
        minutes: Annotated[float, Range(above=0, most=6000)] = 14.0,
        valid_minutes: Annotated[float, Range(above=0, most=6000)] = 1.0,
        test_minutes: Annotated[float, Range(above=0, most=6000)] = 2.0,
        speakers: Annotated[int, Range(1, 1000)] = 24,
        valid_speakers: Annotated[int, Range(1, 1000)] = 3,
        test_speakers: Annotated[int, Range(1, 1000)] = 6,
        utterance_s: Annotated[tuple[float, float], Range(1, 60)] = (3.0, 4.0),
        noise_s: Annotated[float, Range(1, 600)] = 15.0,
        noises: Annotated[int, NoKey()] = len(NOISES),
        voices: Annotated[str, OneOf(*VOICES)] = "made",
        variety: Annotated[str, OneOf(*VARIETIES)] = "plain",
        cache_dir: str | None = None,
        **mixing: Annotated[Any, PassedTo(NoisyMixtures, but=FILE_KEYS)],
    ) -> None:
        if len(utterance_s) != 2:
            raise ConfigError(
                f"expected utterance_s as [shortest, longest], got {list(utterance_s)}; give "
                f"two values"
            )
        recipe = Recipe(
            seed=seed,
            minutes=(float(minutes), float(valid_minutes), float(test_minutes)),
            speakers=(speakers, valid_speakers, test_speakers),
            utterance_s=(float(utterance_s[0]), float(utterance_s[1])),
            noise_s=float(noise_s),
            noises=noises,
            voices=voices,
            variety=variety,
        )
        folder = GeneratedFolder.at(root, _TITLE, recipe.facts(), cache_dir or "")
        mixtures = NoisyMixtures(
            folder.root / "speech",
            folder.root / "noise",
            seed=seed,
            cache_dir=cache_dir,
            **{"title": _TITLE, **mixing},
        )
        super().__init__(mixtures, folder, recipe)

    def _generate(self) -> None:
        if self.recipe.voices != "made" and not self.folder.root.exists():
            require_espeak()
        seconds = 60 * sum(self.recipe.minutes) + self.recipe.noise_s * (self.recipe.noises + 20)
        self.folder.make(pieces(self.recipe), SAMPLE_RATE, round(2 * SAMPLE_RATE * seconds))


def pieces(recipe: Recipe) -> dict[str, Callable[[], Samples]]:
    """Return for the path of each file of the corpus a function that makes its samples."""
    speech = {f"speech/{place}": piece for place, piece in speech_pieces(recipe).items()}
    return {**speech, **_noise_pieces(recipe)}


def speech_pieces(recipe: Recipe) -> dict[str, Callable[[], Samples]]:
    """Return the functions that make the speech, by ``<split>/<speaker>/<file>``."""
    made: dict[str, Callable[[], Samples]] = {}
    first = 0
    for split, minutes, speakers in zip(SPLITS, recipe.minutes, recipe.speakers, strict=True):
        if recipe.is_plain:
            made |= _spoken(recipe, split, minutes, range(first, first + speakers))
        elif split == "test":
            made |= _spoken(recipe, split, minutes, range(_TEST_FIRST, _TEST_FIRST + speakers))
        else:
            made |= _mixed_speech(recipe, split, minutes, speakers)
        first += speakers
    return made


def _mixed_speech(
    recipe: Recipe, split: str, minutes: float, speakers: int
) -> dict[str, Callable[[], Samples]]:
    """Return the speech of training or validation where it differs from the test set."""
    kinds = ["made", "espeak"] if recipe.voices == "both" else [recipe.voices]
    made: dict[str, Callable[[], Samples]] = {}
    for kind in kinds:
        count = max(1, speakers // len(kinds))
        numbers = range(_APART[split], _APART[split] + count)
        made |= _spoken(recipe, split, minutes / len(kinds), numbers, kind)
    return made


def _spoken(
    recipe: Recipe, split: str, minutes: float, speakers: range, kind: str = "plain"
) -> dict[str, Callable[[], Samples]]:
    """Return what some speakers of one kind say: ``plain``, ``made`` or ``espeak``."""
    made: dict[str, Callable[[], Samples]] = {}
    prefix = "espeak" if kind == "espeak" else "speaker"
    speak_it = {"plain": _utterance, "made": _made_utterance, "espeak": _espeak_utterance}[kind]
    mean_s = sum(recipe.utterance_s) / 2
    for number in range(max(len(speakers), round(60 * minutes / mean_s))):
        turn, place = divmod(number, len(speakers))
        speaker = speakers[place]
        name = f"{prefix}{speaker:03d}"
        made[f"{split}/{name}/{name}_{turn:03d}.flac"] = partial(speak_it, recipe, speaker, turn)
    return made


def _noise_pieces(recipe: Recipe) -> dict[str, Callable[[], Samples]]:
    made: dict[str, Callable[[], Samples]] = {}
    rich = recipe.variety == "rich"
    kinds = list(NOISES)[: recipe.noises]
    if rich:
        kinds += list(NOISE_KINDS)[len(NOISES) :]
    for number, kind in enumerate(kinds):
        made[f"noise/train/{kind}_1.flac"] = partial(_noise, recipe, kind, number)
    for number in range(_SCENES if rich else 0):
        made[f"noise/train/scene_{number + 1}.flac"] = partial(_scene, recipe, number)
    for split, count in _CROWD_FILES.items():
        for kind in ("babble", "cafeteria"):
            for number in range(count):
                place = f"noise/{split}/{kind}_{number + 1}.flac"
                made[place] = partial(_crowd_noise, recipe, split, kind, number)
    return made


def _utterance(recipe: Recipe, speaker: int, turn: int) -> Samples:
    voice = draw_voice(np.random.default_rng([recipe.seed, _VOICES, speaker]))
    rng = np.random.default_rng([recipe.seed, _TARGETS, speaker, turn])
    return speak(voice, float(rng.uniform(*recipe.utterance_s)), rng)


def _made_utterance(recipe: Recipe, speaker: int, turn: int) -> Samples:
    if recipe.variety == "plain":
        return _utterance(recipe, speaker, turn)
    voice = draw_varied_voice(np.random.default_rng([recipe.seed, _VOICES, speaker]))
    rng = np.random.default_rng([recipe.seed, _TARGETS, speaker, turn])
    return recorded(speak(voice, float(rng.uniform(*recipe.utterance_s)), rng), rng)


def _espeak_utterance(recipe: Recipe, speaker: int, turn: int) -> Samples:
    voice = draw_espeak_voice(np.random.default_rng([recipe.seed, _ESPEAK_VOICES, speaker]))
    rng = np.random.default_rng([recipe.seed, _ESPEAK_TEXTS, speaker, turn])
    speech = say(voice, float(rng.uniform(*recipe.utterance_s)), rng)
    return speech if recipe.variety == "plain" else recorded(speech, rng)


def _noise(recipe: Recipe, kind: str, number: int) -> Samples:
    rng = np.random.default_rng([recipe.seed, _NOISE, number])
    if recipe.variety == "rich":
        return levelled(long_noise(NOISE_KINDS[kind], recipe.noise_s, rng))
    return levelled(NOISES[kind](recipe.noise_s, rng))


def _scene(recipe: Recipe, number: int) -> Samples:
    rng = np.random.default_rng([recipe.seed, _SCENE, number])
    return levelled(scene(recipe.noise_s, rng))


def _crowd_noise(recipe: Recipe, split: str, kind: str, number: int) -> Samples:
    """Return voices in a room: 6 to 10 of the background voices of a split."""
    rich = recipe.variety == "rich" and split == "train"
    if split == "test":
        stream, crowd, seconds = _TEST_CROWD, _TEST_VOICES, 2.0 * recipe.noise_s
        if not recipe.is_plain:
            seconds = min(seconds, _TEST_NOISE_S)
    else:
        stream, crowd, seconds = _TRAIN_CROWD, _TRAIN_VOICES, recipe.noise_s
    rng = np.random.default_rng([recipe.seed, stream, zlib.crc32(kind.encode()), number])
    chosen = rng.permutation(_CROWD)[: int(rng.integers(6, _CROWD + 1))]
    streams = [_stream(recipe.seed, crowd, int(voice), rich) for voice in chosen]
    room = babble if kind == "babble" else cafeteria
    return levelled(room(streams, seconds, rng))


@lru_cache(maxsize=4 * _CROWD)
def _stream(seed: int, crowd: int, number: int, rich: bool = False) -> Samples:
    """Return what one background voice says.

    Streams differ in length, so that their sum does not repeat.
    """
    rng = np.random.default_rng([seed, crowd, number, 1])
    draw = draw_varied_voice if rich else draw_voice
    voice = draw(np.random.default_rng([seed, crowd, number]))
    return np.concatenate([speak(voice, rng.uniform(2.5, 4.5), rng) for _ in range(3)])
