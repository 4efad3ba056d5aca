"""The corpus of ten artificial acoustic scenes, made from a seed where no recordings are at hand.

Scenes differ in how their events follow one another, begin, fade, glide and echo; which spectrum a
clip has is largely chance. What is made here is read back by scenes.ClassFolder like any other
folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from audioprune.data.corpus import GeneratedCorpus
from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.scenes.corpora import ClassFolder
from audioprune.data.scenes.features import SceneFeatures
from audioprune.data.splits.folders import SPLITS
from audioprune.dsp import rms
from audioprune.errors import ConfigError
from audioprune.ranges import PassedTo, Range

SAMPLE_RATE = 22050
_VERSION = 1
_OF_FOLDERS = ("table", "split", "fractions", "recording_from", "valid_fraction")
"""Raised whenever the same recipe gives other audio."""
_TITLE = "synthetic_scenes"
_BYTES_PER_SECOND = 2.2 * SAMPLE_RATE
_EARLIEST_S = -0.5
_REVERB_LIMIT_S = 2.5
_LN_60_DB = math.log(1000.0)

Span = tuple[float, float]
Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What the clips of one class have in common; a range is drawn from anew for each clip.

    Attributes:
        name: Class and folder.
        rate_hz: Events, or bursts of events, per second.
        irregular: 0 for a steady beat, 1 for events at random.
        length_s: Duration of an event.
        shape: ``"strike"`` (sudden, fading), ``"swell"`` or ``"ramp"`` (growing, cut off).
        centre_hz: Frequency of the events; the ranges of the classes overlap.
        glide_octaves: Change of the frequency during an event.
        burst: Fewest and most events of a burst.
        rt60_s: Time in which the reverberation falls by 60 dB.
    """

    name: str
    rate_hz: Span
    irregular: float
    length_s: Span
    shape: str
    centre_hz: Span = (300.0, 4500.0)
    glide_octaves: Span = (0.0, 0.0)
    burst: tuple[int, int] = (1, 1)
    rt60_s: Span = (0.1, 0.4)


SCENES = (
    Scene("aviary", (1.0, 2.0), 1.0, (0.04, 0.08), "swell", (1500.0, 6000.0), (0.4, 0.9), (4, 7)),
    Scene("cafe", (5.0, 8.0), 0.5, (0.10, 0.22), "swell", (250.0, 2500.0), rt60_s=(0.2, 0.6)),
    Scene("engine_room", (7.0, 11.0), 0.03, (0.03, 0.08), "strike", (150.0, 1500.0)),
    Scene("hall", (2.5, 5.0), 1.0, (0.05, 0.15), "strike", rt60_s=(1.0, 2.0)),
    Scene(
        "harbour",
        (1.0, 2.0),
        1.0,
        (0.3, 0.7),
        "swell",
        (200.0, 2000.0),
        (-1.4, -0.6),
        rt60_s=(0.3, 0.8),
    ),
    Scene("printshop", (1.5, 3.0), 0.8, (0.2, 0.5), "ramp"),
    Scene("railway", (2.5, 5.0), 0.03, (0.05, 0.15), "strike"),
    Scene("rain", (25.0, 60.0), 1.0, (0.01, 0.04), "strike", (1000.0, 6000.0)),
    Scene("shore", (0.8, 1.5), 0.6, (0.6, 1.4), "swell", (200.0, 2000.0)),
    Scene("workshop", (2.5, 5.0), 1.0, (0.05, 0.15), "strike"),
)
"""The ten classes. Railway and workshop differ in the beat only, hall and workshop in the reverberation only."""


def synthesise(scene: Scene, rng: np.random.Generator, duration_s: float) -> Audio:
    """Make one clip.

    Events of the scene, a few strange ones and a room's reverberation stand above a coloured
    noise; a random frequency response colours the whole, and its level is random.

    Args:
        scene: Its class.
        rng: Decides everything else.
        duration_s: Length in seconds.

    Returns:
        Samples (2, T) at 22,050 Hz, below full scale.
    """
    length = round(duration_s * SAMPLE_RATE)
    events = _track(scene, rng, length)
    if (
        scene.irregular > 0.1 and rng.random() < 0.5
    ):  # a second source; it would blur a steady beat
        events += rng.uniform(0.2, 0.6) * _track(scene, rng, length)
    strange = _level(_track(_strange(rng), rng, length), rng.uniform(0.1, 0.5))
    room = _reverberate(
        _level(events) + strange, rng.uniform(*scene.rt60_s), rng.uniform(0.5, 0.9), rng
    )
    noise = rng.standard_normal((2, length), dtype=np.float32)
    noise[1] += 0.6 * noise[0]
    above = 10 ** (rng.uniform(4, 14) / 20)
    clip = _colour(_level(room, above) + _level(_colour(noise, rng)), rng)
    clip = _level(clip, 10 ** (rng.uniform(-38, -18) / 20))
    return clip * min(1.0, 0.95 / float(np.abs(clip).max()))


def _strange(rng: np.random.Generator) -> Scene:
    """Return rare events of no class, which occur in clips of all classes."""
    shape = ("strike", "swell", "ramp")[int(rng.integers(3))]
    return Scene("strange", (0.3, 1.0), 1.0, (0.05, 0.6), shape, (200.0, 6000.0), (-0.5, 0.5))


def _track(scene: Scene, rng: np.random.Generator, length: int) -> Audio:
    """Return the events of one source, shape (2, length): a rough tone each, between two ears."""
    track = np.zeros((2, length), np.float32)
    low, high = np.log(scene.centre_hz)
    centre, roughness = np.exp(rng.uniform(low, high)), np.exp(rng.uniform(-4.6, -0.5))
    direction, spread = rng.uniform(-0.8, 0.8), rng.uniform(0, 0.3)
    glide, length_s = rng.uniform(*scene.glide_octaves), rng.uniform(*scene.length_s)
    for onset in _onsets(scene, rng, length / SAMPLE_RATE):
        count = int(length_s * np.exp(0.2 * rng.standard_normal()) * SAMPLE_RATE) + 8
        frequency = (
            centre
            * np.exp(0.08 * rng.standard_normal())
            * 2 ** (glide * np.linspace(-0.5, 0.5, count, dtype=np.float32))
        )
        steps = 2 * np.pi / SAMPLE_RATE * frequency + roughness * rng.standard_normal(
            count, dtype=np.float32
        )
        event = (
            np.sin(np.cumsum(steps) + rng.uniform(0, 2 * np.pi))
            * _envelope(scene.shape, count)
            * np.exp(0.35 * rng.standard_normal())
        )
        angle = (np.clip(direction + spread * rng.standard_normal(), -1, 1) + 1) * np.pi / 4
        start = int(onset * SAMPLE_RATE)
        here = slice(max(0, -start), max(0, min(count, length - start)))
        part = event[here]
        track[:, max(0, start) : max(0, start) + len(part)] += np.outer(
            (np.cos(angle), np.sin(angle)), part
        )
    return track


def _onsets(scene: Scene, rng: np.random.Generator, duration_s: float) -> NDArray[np.float64]:
    """Return the times in seconds at which events begin; some lie before 0 and are cut."""
    rate_hz = rng.uniform(*scene.rate_hz)
    count = int(1.5 * (duration_s - _EARLIEST_S) * rate_hz) + 6
    gaps = (1 - scene.irregular + scene.irregular * rng.exponential(1.0, count)) / rate_hz
    onsets = _EARLIEST_S + np.cumsum(gaps) - gaps[0] * rng.uniform()
    size = int(rng.integers(scene.burst[0], scene.burst[1] + 1))
    if size > 1:
        onsets = (onsets[:, None] + rng.uniform(0.07, 0.11) * np.arange(size)).ravel()
    return onsets[onsets < duration_s]


def _envelope(shape: str, count: int) -> Audio:
    position = np.arange(count, dtype=np.float32)
    share = position / count
    if shape == "strike":
        return np.exp(-5 * share) * np.minimum(1, position / 20)
    if shape == "swell":
        return 0.5 - 0.5 * np.cos(2 * np.pi * share)
    return share**2 * np.minimum(1, (count - position) / 40)


def _reverberate(signal: Audio, rt60_s: float, wet: float, rng: np.random.Generator) -> Audio:
    """Add a diffuse tail that falls by 60 dB in ``rt60_s`` seconds, at the share ``wet`` of the direct sound."""
    count = int(min(rt60_s, _REVERB_LIMIT_S) * SAMPLE_RATE)
    decay = np.exp(-_LN_60_DB / (rt60_s * SAMPLE_RATE) * np.arange(count)).astype(np.float32)
    response = rng.standard_normal((2, count), dtype=np.float32) * decay
    response *= wet / np.sqrt(np.square(response).sum(axis=1, keepdims=True))
    size = scipy.fft.next_fast_len(signal.shape[1] + count, real=True)
    tail = scipy.fft.irfft(scipy.fft.rfft(signal, size) * scipy.fft.rfft(response, size), size)
    return signal + tail[:, : signal.shape[1]]


def _colour(signal: Audio, rng: np.random.Generator) -> Audio:
    """Filter a signal by a random slope and four random resonances or gaps."""
    octaves = np.linspace(-6, 4, 81)  # around 1 kHz
    response_db = rng.uniform(-5, 0) * octaves
    for _ in range(4):
        response_db += (
            5
            * rng.standard_normal()
            * np.exp(-0.5 * ((octaves - rng.uniform(-4, 3.4)) / rng.uniform(0.3, 1.2)) ** 2)
        )
    spectrum = scipy.fft.rfft(signal)
    places = np.log2(
        np.maximum(np.arange(spectrum.shape[1]) * SAMPLE_RATE / signal.shape[1], 1) / 1000
    )
    gain = 10 ** (np.interp(places, octaves, response_db) / 20) * (places > octaves[0])
    return scipy.fft.irfft(spectrum * gain.astype(np.float32), signal.shape[1])


def _level(signal: Audio, target: float = 1.0) -> Audio:
    """Scale both channels alike to a root mean square; silence stays silent."""
    return signal * np.float32(target / max(float(rms(signal.ravel())), 1e-12))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the audio.

    Attributes:
        seed: Decides every clip.
        clips: Clips of each class in train, valid and test; each is a recording of its own.
        duration_s: Length of a clip in seconds.
        version: Version of the synthesizer.

    Raises:
        ConfigError: A value is out of its range.
    """

    seed: int
    clips: tuple[int, int, int]
    duration_s: float
    version: int = _VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(
                f"expected seed as a whole number of at least 0, got {self.seed}; use for "
                f"instance 0"
            )
        if not all(isinstance(count, int) and 1 <= count <= 10_000 for count in self.clips):
            raise ConfigError(
                f"expected 1 to 10000 clips of each class in each split, got "
                f"{list(self.clips)}; use for instance 60, 15, 25"
            )
        if not 1.0 <= self.duration_s <= 60:
            raise ConfigError(
                f"expected duration_s from 1 to 60 s, got {self.duration_s}; use for instance 3"
            )

    def pieces(self) -> dict[str, Callable[[], Audio]]:
        """Return a function that makes each clip (T, 2), by its path ``<split>/<class>/<number>.flac``."""
        pieces: dict[str, Callable[[], Audio]] = {}
        for place, scene in enumerate(SCENES):
            number = 0
            for split, count in zip(SPLITS, self.clips, strict=True):
                for _ in range(count):
                    pieces[f"{split}/{scene.name}/{number:05d}.flac"] = partial(
                        self._clip, place, number
                    )
                    number += 1
        return pieces

    def _clip(self, place: int, number: int) -> Audio:
        return synthesise(
            SCENES[place], np.random.default_rng([self.seed, place, number]), self.duration_s
        ).T


class SyntheticScenes(GeneratedCorpus[ClassFolder]):
    """Artificial acoustic scenes of ten classes, a ClassFolder over a folder that this class writes.

    Long-term spectra overlap, so that a linear model on them finds little; what tells classes
    apart is the rate, regularity, shape and glide of events, and the reverberation. The default
    takes about 15 s to make and 140 MB.

    Args:
        root: Folder to write or read; empty for one in the user's cache folder, named after the
            recipe.
        seed: Decides every clip.
        clips_per_class: Training clips of each class.
        valid_clips_per_class: Validation clips of each class.
        test_clips_per_class: Test clips of each class.
        duration_s: Length of a clip in seconds.
        mels: Number of mel bands.
        cache_dir: Cache folder; empty for the user's.
        **options: Any other argument of ClassFolder, such as ``hop_length`` or ``memory_mb``;
            ``hold_out`` changes nothing, for there is a validation set.

    Attributes:
        sample_rate: Rate at which features are computed, in Hz.
        classes: Names of the classes.

    Raises:
        ConfigError: A value is out of its range.
    """

    def __init__(
        self,
        root: str | Path = "",
        *,
        seed: Annotated[int, Range(0)] = 0,
        clips_per_class: Annotated[int, Range(1, 10_000)] = 60,
        valid_clips_per_class: Annotated[int, Range(1, 10_000)] = 15,
        test_clips_per_class: Annotated[int, Range(1, 10_000)] = 25,
        duration_s: Annotated[float, Range(1, 60)] = 3.0,
        mels: Annotated[int, Range(1, 4096)] = 64,
        cache_dir: str = "",
        **options: Annotated[Any, PassedTo(ClassFolder, but=_OF_FOLDERS)],
    ) -> None:
        clips = (clips_per_class, valid_clips_per_class, test_clips_per_class)
        recipe = Recipe(seed, clips, float(duration_s))
        folder = GeneratedFolder.at(root, _TITLE, asdict(recipe), cache_dir)
        corpus = ClassFolder(
            folder.root,
            split="folders",
            duration_s=recipe.duration_s,
            mels=mels,
            cache_dir=cache_dir,
            **{"title": _TITLE, **options},
        )
        super().__init__(corpus, folder, recipe)
        self.classes = tuple(scene.name for scene in SCENES)

    @property
    def features(self) -> SceneFeatures:
        """What a model sees of a clip."""
        return self.inner.features

    def _generate(self) -> None:
        seconds = len(SCENES) * sum(self.recipe.clips) * self.recipe.duration_s
        self.folder.make(self.recipe.pieces(), SAMPLE_RATE, round(seconds * _BYTES_PER_SECOND))
