"""Which files VCTK has, in three layouts, and which speakers train, validate and test: ``Vctk``.

Transcripts are not needed, and no audio is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audioprune.data.files.audio import find_audio
from audioprune.data.files.lists import read_lines
from audioprune.data.files.messages import listing
from audioprune.data.splits.assign import Assigned, assign_speech
from audioprune.data.splits.recordings import Links
from audioprune.data.splits.speakers import speaker_of
from audioprune.errors import ConfigError, DataError, unknown_name

MICS = ("mic1", "mic2")
VALENTINI = {
    "train": (
        "p227", "p228", "p230", "p231", "p233", "p236", "p239", "p243", "p244", "p250", "p254",
        "p256", "p258", "p259", "p267", "p268", "p269", "p270", "p273", "p274", "p276", "p277",
        "p278", "p279", "p282", "p286",
    ),
    "valid": ("p226", "p287"),
    "test": ("p232", "p257"),
}  # fmt: skip
"""Valentini-Botinhao's 28 training and 2 test speakers.

Two of the training speakers validate, as in SpeechBrain's recipe.
"""

_SPEAKER = re.compile(r"[ps]\d+")
_TRIMMED, _PLAIN = "wav48_silence_trimmed", "wav48"
_FLAT = re.compile(r"clean_(train|test)set.*wav", re.IGNORECASE)
_NUWAVE_TEST, _NUWAVE_VALID = 8, 4
_ENOUGH = 24
"""With fewer speakers, fewer than these 8 and 4 are held out."""
_LAYOUT = (
    f"VCTK at {{}}: folders {_TRIMMED} or {_PLAIN} of speakers p225, ..., or "
    f"clean_trainset_*_wav and clean_testset_wav"
)


@dataclass(frozen=True)
class Vctk:
    """The VCTK corpus: 110 English speakers, 48 kHz.

    Layouts: 0.92, ``<root>/wav48_silence_trimmed/p225/p225_001_mic1.flac`` with two microphones
    (``p280`` and ``p315`` lack the second); 0.80, ``<root>/wav48/p225/p225_001.wav``; the flat
    28-speaker subset of VoiceBank-DEMAND, ``<root>/clean_trainset_28spk_wav/p226_001.wav`` and
    ``<root>/clean_testset_wav``. A part of the corpus will do.

    Attributes:
        root: Folder of the corpus.
        mic: ``"mic1"`` (omnidirectional) or ``"mic2"``; of layout 0.92 alone.
        split: ``"valentini"``: the lists of VALENTINI. ``"holdout"``: the last 8 speakers by name
            test, the 4 before them validate; of fewer than 24 speakers a quarter and an eighth.
            Else a list file or a mapping as in ``splits.read_split_list``.
        seed: Chooses validation speakers where the flat layout lacks those of VALENTINI.
        title: Name in tables.

    Raises:
        ConfigError: The microphone is unknown.
    """

    root: Path
    mic: str = "mic1"
    split: str | Path | Mapping[str, Sequence[str]] = "valentini"
    seed: int = 0
    title: str = "vctk"
    speaker_from: str = field(default="prefix", init=False)

    def __post_init__(self) -> None:
        if self.mic not in MICS:
            raise ConfigError(unknown_name("mic", self.mic, MICS))

    def find(self) -> tuple[Path, list[Path]]:
        """Return the folder that holds the audio, and its files.

        Raises:
            DataError: VCTK is not there; the message says where it is when the path is a level
                off.
        """
        folder = audio_folder(self.root)
        paths = [path for path in find_audio(folder) if self._is_wanted(path, folder)]
        if not paths:
            wanted = "speech files named after speakers, such as p225_001.wav,"
            if folder.name == _TRIMMED:
                wanted = f"files *_{self.mic}.flac"
            raise DataError(
                f"expected {wanted} below {folder}, found {listing(folder)}; complete the corpus"
            )
        return folder, paths

    def assign(
        self, root: Path, relative: Mapping[Path, Path], links: Links = ()
    ) -> tuple[list[Assigned], list[str]]:
        """Give files their split and speaker.

        Raises:
            DataError: Speakers of the split are missing, or a speaker is in two sets.
        """
        speakers = sorted({speaker_of(Path(place.name), "prefix") for place in relative.values()})
        notes: list[str] = []
        split: Any = self.split
        if split == "holdout":
            split, notes = _holdout(speakers, root)
        elif split == "valentini" and _is_flat(root):
            return self._assign_flat(root, relative, speakers)
        elif split == "valentini":
            _refuse_missing(speakers, root)
            split = VALENTINI
        assigned, more = assign_speech(
            root, relative, split, speaker_from="prefix", seed=self.seed, links=links
        )
        return assigned, notes + more

    def genders(self) -> dict[str, str]:
        """Return the genders that ``speaker-info.txt`` lists, and of VALENTINI's test set."""
        genders = {"p232": "M", "p257": "F"}
        place = self.root / "speaker-info.txt"
        if not place.is_file():
            return genders
        for _, text in read_lines(place, "a list of speakers", errors="replace"):
            row = text.split()
            if len(row) > 2 and row[2] in ("F", "M"):
                genders[_named(row[0])] = row[2]
        return genders

    def describe(self) -> dict[str, Any]:
        """Return root, microphone and split."""
        return {"root": str(self.root), "mic": self.mic, "split": str(self.split)}

    def _is_wanted(self, path: Path, folder: Path) -> bool:
        """Tell whether a file is speech of a speaker, by the wanted microphone."""
        by_mic = path.stem.rpartition("_")[2] in MICS
        chosen = path.stem.endswith(f"_{self.mic}") if by_mic else folder.name != _TRIMMED
        if not chosen:
            return False
        if _is_flat(folder) and not _FLAT.fullmatch(path.relative_to(folder).parts[0]):
            return False
        return _SPEAKER.fullmatch(speaker_of(Path(path.name), "prefix")) is not None

    def _assign_flat(
        self, root: Path, relative: Mapping[Path, Path], speakers: Sequence[str]
    ) -> tuple[list[Assigned], list[str]]:
        """Give files of the flat layout the split that their folder names.

        Two training speakers validate.
        """
        named = {}
        for path, place in relative.items():
            match = _FLAT.fullmatch(place.parts[0])
            if match:
                named[path] = Path(match[1].lower(), place.name)
        valid = [speaker for speaker in VALENTINI["valid"] if speaker in speakers]
        return assign_speech(
            root, named, "folders", speaker_from="prefix", seed=self.seed, valid_speakers=valid
        )


def _named(identity: str) -> str:
    """Return the name of a speaker: the list of 0.80 leaves out the ``p``."""
    return f"p{identity}" if identity.isdigit() else identity


def audio_folder(root: Path) -> Path:
    """Return the folder of VCTK's audio: one of the two of speakers, or the root itself.

    Raises:
        DataError: There is none; the message names the right folder when the path is one or two
            levels off.
    """
    expected = _LAYOUT.format(root)
    if not root.is_dir():
        raise DataError(
            f"expected {expected}, found {'a file' if root.exists() else 'no such folder'}; "
            f"give the path of your copy"
        )
    found = _audio_inside(root)
    if found:
        return found
    inner = next((child for child in _folders_below(root, 2) if _audio_inside(child)), None)
    outer = next(
        (parent for parent in list(root.resolve().parents)[:3] if _audio_inside(parent)), None
    )
    hint = f"; point to {inner or outer}" if inner or outer else "; check the path"
    raise DataError(f"expected {expected}, found {listing(root)}{hint}")


def _audio_inside(root: Path) -> Path | None:
    """Return the folder of the audio if a folder is the root of one of the layouts."""
    for name in (_TRIMMED, _PLAIN):
        if (root / name).is_dir():
            return root / name
    return root if _is_flat(root) else None


def _is_flat(root: Path) -> bool:
    matches = [_FLAT.fullmatch(entry.name) for entry in root.iterdir() if entry.is_dir()]
    return {match[1].lower() for match in matches if match} == {"train", "test"}


def _folders_below(root: Path, depth: int) -> list[Path]:
    """Return the folders up to some levels below, nearest first."""
    level, found = [root], []
    for _ in range(depth):
        inside = [entry for folder in level for entry in folder.iterdir()]
        visible = [entry for entry in inside if not entry.name.startswith(".")]
        level = sorted(entry for entry in visible if entry.is_dir())
        found += level
    return found


def _holdout(speakers: Sequence[str], root: Path) -> tuple[dict[str, Sequence[str]], list[str]]:
    """Return the split that tests on the last speakers by name.

    Source: the 100 and 8 speakers of NU-Wave, with 4 of the 100 set aside for validation.
    """
    if len(speakers) < 3:
        raise DataError(
            f"expected at least 3 speakers below {root} to hold some out, found "
            f"{', '.join(speakers)}; add speakers"
        )
    test, valid = _NUWAVE_TEST, _NUWAVE_VALID
    notes = []
    if len(speakers) < _ENOUGH:
        test, valid = max(1, len(speakers) // 4), max(1, len(speakers) // 8)
        notes.append(
            f"only {len(speakers)} speakers: {test} test and {valid} validate, where the whole "
            f"corpus holds out 8 and 4"
        )
    first = len(speakers) - test - valid
    return {
        "train": speakers[:first],
        "valid": speakers[first : first + valid],
        "test": speakers[first + valid :],
    }, notes


def _refuse_missing(speakers: Sequence[str], root: Path) -> None:
    """Raise a DataError when a set of VALENTINI has no speaker at all."""
    empty = {split: names for split, names in VALENTINI.items() if not set(names) & set(speakers)}
    if empty:
        wanted = "; ".join(
            f"{split}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for split, names in empty.items()
        )
        more = f", ... {len(speakers)} in all" if len(speakers) > 5 else ""
        raise DataError(
            f"expected speakers of the valentini split below {root} ({wanted}), found "
            f"{', '.join(speakers[:5])}{more}; use data.split=holdout or a list"
        )
