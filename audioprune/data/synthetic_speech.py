"""The corpus that needs no download: made-up speech and noise, written once to disk and read like any other folder.

How voices and noises sound stands in speech_synthesis.py and noise_synthesis.py, how items are mixed in noisy_mixtures.py.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audioprune.data.audio import Samples, find_audio
from audioprune.data.file_index import inspect_files
from audioprune.data.mixing import Mixtures, collate
from audioprune.data.noise_synthesis import NOISES, babble, cafeteria, levelled
from audioprune.data.noisy_mixtures import NoisyMixtures
from audioprune.data.speech_synthesis import SAMPLE_RATE, draw_voice, speak
from audioprune.data.splits import SPLITS, listing
from audioprune.errors import ConfigError, DataError, OutputError
from audioprune.files import check_writable, sha256, sha256_file, write_json
from audioprune.places import cache_folder
from audioprune.progress import track
from audioprune.signals import check_stop

_VERSION = 1
"""Raised whenever the same parameters give other audio."""
_MARKER = "synthetic_speech.json"
_TITLE = "synthetic_speech"
_CROWD = 10
_BYTES_PER_SECOND = 2 * SAMPLE_RATE
_TARGETS, _TRAIN_CROWD, _TEST_CROWD, _NOISE, _TRAIN_VOICES, _TEST_VOICES, _VOICES = range(7)


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

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"expected seed as a whole number of at least 0, got {self.seed}; use for instance 0")
        if not all(0 < value <= 6000 for value in self.minutes):
            raise ConfigError(f"expected minutes of speech above 0 and up to 6000, got {list(self.minutes)}; use for instance 14")
        if not all(isinstance(count, int) and 1 <= count <= 1000 for count in self.speakers):
            raise ConfigError(f"expected 1 to 1000 speakers in each split, got {list(self.speakers)}; use for instance 24, 3 and 6")
        if not 1.0 <= self.utterance_s[0] <= self.utterance_s[1] <= 60:
            raise ConfigError(f"expected utterance_s as [shortest, longest] from 1 to 60 s, got {list(self.utterance_s)}; use [3, 4]")
        if not 1.0 <= self.noise_s <= 600:
            raise ConfigError(f"expected noise_s from 1 to 600 s, got {self.noise_s}; use for instance 15")
        if not 1 <= self.noises <= len(NOISES):
            raise ConfigError(f"expected 1 to {len(NOISES)} kinds of noise, got {self.noises}; use {len(NOISES)}")


class SyntheticSpeech:
    """Mixtures of made-up voices with made-up noises, a NoisyMixtures over a folder that this class writes.

    Voices of training, validation, test and of the background are all different. Test noises are ``babble`` (6 to 10 voices)
    and ``cafeteria`` (voices, dishes and a ventilator in a room); training noises are 28 others and both kinds with other
    background voices. The default takes about 15 s to make and 40 MB.

    Args:
        root: Folder to write or read; None for one in the user's cache folder, named after the recipe.
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
        cache_dir: Cache folder; empty for the user's.
        **mixing: Any other argument of NoisyMixtures.

    Attributes:
        sample_rate: Rate of all items in Hz.

    Raises:
        ConfigError: A value is out of its range.
    """

    collate = staticmethod(collate)

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        seed: int = 0,
        minutes: float = 14.0,
        valid_minutes: float = 1.0,
        test_minutes: float = 2.0,
        speakers: int = 24,
        valid_speakers: int = 3,
        test_speakers: int = 6,
        utterance_s: tuple[float, float] = (3.0, 4.0),
        noise_s: float = 15.0,
        noises: int = len(NOISES),
        cache_dir: str | None = None,
        **mixing: Any,
    ) -> None:
        if len(utterance_s) != 2:
            raise ConfigError(f"expected utterance_s as [shortest, longest], got {list(utterance_s)}; give two values")
        self.recipe = Recipe(
            seed=seed,
            minutes=(float(minutes), float(valid_minutes), float(test_minutes)),
            speakers=(speakers, valid_speakers, test_speakers),
            utterance_s=(float(utterance_s[0]), float(utterance_s[1])),
            noise_s=float(noise_s),
            noises=noises,
        )
        self.cache_dir = cache_dir or ""
        named = sha256(json.dumps(asdict(self.recipe), sort_keys=True).encode())[:12]
        self.root = Path(root).expanduser() if root else cache_folder(self.cache_dir) / _TITLE / named
        self.mixtures = NoisyMixtures(
            self.root / "speech", self.root / "noise", seed=seed, cache_dir=cache_dir, **{"title": _TITLE, **mixing}
        )
        self.sample_rate = self.mixtures.sample_rate
        self._ready = False

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files, one line each, after ``prepare``."""
        return self.mixtures.notes

    def prepare(self) -> None:
        """Make the audio where it is missing or damaged, and read it; a second call does nothing.

        Raises:
            DataError: ``root`` holds other files, or a corpus of another recipe.
            OutputError: The folder cannot be written.
        """
        if self._ready:
            return
        if not is_intact(self.root, self.recipe, self.cache_dir):
            build(self.root, self.recipe, self.cache_dir)
        self.mixtures.prepare()
        self._ready = True

    def train(self) -> Mixtures:
        """Return the training items; ``set_epoch`` chooses the epoch."""
        self.prepare()
        return self.mixtures.train()

    def valid(self) -> Mixtures:
        """Return the validation items."""
        self.prepare()
        return self.mixtures.valid()

    def tests(self) -> dict[str, Mixtures]:
        """Return the items of every test condition by name."""
        self.prepare()
        return self.mixtures.tests()

    def fingerprint(self) -> str:
        """Return a hash of the files and rules."""
        self.prepare()
        return self.mixtures.fingerprint()

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus and the recipe."""
        self.prepare()
        return {**self.mixtures.describe(), "recipe": asdict(self.recipe), "root": str(self.root)}

    def scale(self) -> str:
        """Return the size of the training speech in a few words, ``synthetic_speech, 14 min, 24 speakers``."""
        self.prepare()
        return self.mixtures.scale()

    def manifest(self) -> list[dict[str, Any]]:
        """Return the records of NoisyMixtures.manifest."""
        self.prepare()
        return self.mixtures.manifest()

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        self.prepare()
        return self.mixtures.write_manifest(path)


def is_intact(root: Path, recipe: Recipe, cache_dir: str = "") -> bool:
    """Tell whether a folder holds the corpus of a recipe, complete and unchanged.

    Raises:
        DataError: The folder holds a corpus of another recipe, or files of someone else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not root.is_dir() or not (root / _MARKER).exists():
        found = listing(root) if root.is_dir() else "a file"
        raise DataError(f"expected an empty folder or an earlier synthetic corpus at {root}, found {found}; choose another root")
    marker = _read_marker(root)
    wanted = json.loads(json.dumps(asdict(recipe)))
    if marker and marker["recipe"] != wanted:
        differing = ", ".join(key for key in wanted if marker["recipe"].get(key) != wanted[key])
        raise DataError(f"expected a synthetic corpus of this recipe at {root}, found another {differing}; choose another root")
    files = find_audio(root)
    if not marker or {path.relative_to(root).as_posix() for path in files} != set(marker["files"]):
        return False
    facts = inspect_files(root, files, cache_dir)
    return all(marker["files"][fact.path.relative_to(root).as_posix()] == fact.sha256 for fact in facts)


def build(root: Path, recipe: Recipe, cache_dir: str = "") -> None:
    """Make the corpus of a recipe in a temporary folder and give it its name when it is complete.

    Several processes may do so at once: the first to finish wins, the others find its work.

    Raises:
        OutputError: The folder cannot be written.
    """
    seconds = 60 * sum(recipe.minutes) + recipe.noise_s * (recipe.noises + 20)
    root.parent.mkdir(parents=True, exist_ok=True)
    check_writable(root.parent, round(seconds * _BYTES_PER_SECOND))
    _remove_stale(root)
    temporary = root.with_name(f"{root.name}.tmp.{os.getpid()}")
    try:
        pieces = list(_pieces(recipe))
        for piece in track(pieces, "making synthetic speech and noise"):
            check_stop()
            _write(temporary / piece.place, piece.make())
        hashes = {path.relative_to(temporary).as_posix(): sha256_file(path) for path in find_audio(temporary)}
        write_json(temporary / _MARKER, {"recipe": asdict(recipe), "files": hashes})
        _put(temporary, root, recipe, cache_dir)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class _Piece:
    """One file to make: what it is called and the numbers that decide it."""

    place: str
    recipe: Recipe
    kind: str
    key: tuple[int, ...]
    seconds: float

    def make(self) -> Samples:
        """Return the audio of the file."""
        rng = np.random.default_rng([self.recipe.seed, *self.key])
        if self.kind == "speech":
            voice = draw_voice(np.random.default_rng([self.recipe.seed, _VOICES, self.key[1]]))
            return speak(voice, self.seconds, rng)
        if self.kind in ("babble", "cafeteria"):
            crowd = _TEST_VOICES if self.key[0] == _TEST_CROWD else _TRAIN_VOICES
            chosen = rng.permutation(_CROWD)[: int(rng.integers(6, _CROWD + 1))]
            streams = [_stream(self.recipe, crowd, int(number)) for number in chosen]
            return levelled((babble if self.kind == "babble" else cafeteria)(streams, self.seconds, rng))
        return levelled(NOISES[self.kind](self.seconds, rng))


def _pieces(recipe: Recipe) -> Iterator[_Piece]:
    """Yield every file of the corpus."""
    voice = 0
    for split, minutes, speakers in zip(SPLITS, recipe.minutes, recipe.speakers, strict=True):
        mean_s = sum(recipe.utterance_s) / 2
        count = max(speakers, round(60 * minutes / mean_s))
        for number in range(count):
            speaker = voice + number % speakers
            key = (_TARGETS, speaker, number // speakers)
            length = np.random.default_rng([recipe.seed, *key, 1]).uniform(*recipe.utterance_s)
            name = f"speaker{speaker:03d}"
            yield _Piece(f"speech/{split}/{name}/{name}_{number // speakers:03d}.flac", recipe, "speech", key, float(length))
        voice += speakers
    for number, kind in enumerate(list(NOISES)[: recipe.noises]):
        yield _Piece(f"noise/train/{kind}_1.flac", recipe, kind, (_NOISE, number), recipe.noise_s)
    crowds = (("train", _TRAIN_CROWD, 1.0, {"babble": 6, "cafeteria": 6}), ("test", _TEST_CROWD, 2.0, {"babble": 2, "cafeteria": 2}))
    for split, stream, factor, counts in crowds:
        for place, (kind, count) in enumerate(counts.items()):
            for number in range(count):
                yield _Piece(f"noise/{split}/{kind}_{number + 1}.flac", recipe, kind, (stream, place, number), factor * recipe.noise_s)


def _stream(recipe: Recipe, crowd: int, number: int) -> Samples:
    """Return what one voice of the background says; streams differ in length, so that their sum does not repeat."""
    key = [recipe.seed, crowd, number]
    rng = np.random.default_rng([*key, 1])
    voice = draw_voice(np.random.default_rng(key))
    return np.concatenate([speak(voice, rng.uniform(2.5, 4.5), rng) for _ in range(3)])


def _write(path: Path, samples: Samples) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    except (soundfile.SoundFileError, OSError) as error:
        raise OutputError(f"cannot write {path}: {error}; free some space or choose another root") from error


def _put(temporary: Path, root: Path, recipe: Recipe, cache_dir: str) -> None:
    """Give the finished folder its name; what stood there is an earlier, damaged corpus or another process's work."""
    old = root.with_name(f"{root.name}.tmp.{os.getpid()}.old")
    try:
        if root.exists():
            if is_intact(root, recipe, cache_dir):
                return
            os.rename(root, old)
        os.rename(temporary, root)
    except OSError as error:
        if not is_intact(root, recipe, cache_dir):
            raise OutputError(f"cannot write {root}: {error.strerror or error}; choose another root") from error
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _remove_stale(root: Path) -> None:
    """Remove what processes that are no more left half-written."""
    for folder in root.parent.glob(f"{root.name}.tmp.*"):
        pid = folder.name.removeprefix(f"{root.name}.tmp.").partition(".")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _read_marker(root: Path) -> dict[str, Any]:
    """Return the marker, or nothing when it is damaged."""
    try:
        marker = json.loads((root / _MARKER).read_text(encoding="utf-8"))
        return marker if isinstance(marker.get("recipe"), dict) and isinstance(marker.get("files"), dict) else {}
    except (OSError, ValueError, AttributeError):
        return {}
