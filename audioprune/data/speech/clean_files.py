"""Which files a corpus of clean speech has, and which split each belongs to.

``CleanSpeech`` is the contract; ``SpeechFolder`` is any folder, ``SyntheticVoices`` are artificial
voices. VCTK has a module of its own, coded/vctk.py. What is done with the speech, such as coding
it, is decided by the corpora.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from audioprune.data.files.audio import find_audio
from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.speech.speech_synthesis import SAMPLE_RATE
from audioprune.data.speech.synthetic_speech import Recipe, speech_pieces
from audioprune.data.splits.assign import Assigned, assign_speech
from audioprune.data.splits.corpus_folder import audio_below
from audioprune.data.splits.recordings import Links
from audioprune.data.splits.shares import check_fractions
from audioprune.data.splits.speakers import SpeakerRule


class CleanSpeech(Protocol):
    """Clean speech of known speakers."""

    @property
    def title(self) -> str:
        """Name in tables."""
        ...

    @property
    def speaker_from(self) -> str | SpeakerRule:
        """How speakers are found, see SpeakerRule; ``"file"`` where they are not known."""
        ...

    def find(self) -> tuple[Path, list[Path]]:
        """Return a folder and the audio files below it."""
        ...

    def assign(
        self, root: Path, relative: Mapping[Path, Path], links: Links = ()
    ) -> tuple[list[Assigned], list[str]]:
        """Give files their split and speaker, with notes for the user.

        Args:
            root: The folder.
            relative: Place of each file below it.
            links: Files of the same audio, which stay together.
        """
        ...

    def genders(self) -> dict[str, str]:
        """Return ``"F"`` or ``"M"`` for the speakers whose gender is known."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what a description of the corpus says about the speech besides its size."""
        ...


@dataclass(frozen=True)
class SpeechFolder:
    """Any folder of speech.

    Layouts: ``<root>/<speaker>/...`` or ``<root>/{train,valid,test}/<speaker>/...``.

    Attributes:
        root: The folder.
        split: None takes folders named after splits, else shares of the speakers; or as in
            ``assign.assign_speech``.
        fractions: Shares of the speakers in train, valid and test.
        speaker_from: ``"auto"``, ``"folder"``, ``"prefix"`` (of the file name) or ``"file"``, or a
            whole rule.
        seed: Chooses the speakers of each share.
        title: Name in tables.

    Raises:
        ConfigError: A value is out of its range.
    """

    root: Path
    split: str | Path | Mapping[str, Sequence[str]] | None = None
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    speaker_from: str | SpeakerRule = "auto"
    seed: int = 0
    title: str = "speech_folder"

    def __post_init__(self) -> None:
        if isinstance(self.speaker_from, str):
            SpeakerRule(self.speaker_from)
        check_fractions(self.fractions)

    def find(self) -> tuple[Path, list[Path]]:
        """Return the folder and its audio files.

        Raises:
            DataError: It is missing, without audio, or plainly one level off.
        """
        return self.root, audio_below(self.root, "speech")

    def assign(
        self, root: Path, relative: Mapping[Path, Path], links: Links = ()
    ) -> tuple[list[Assigned], list[str]]:
        """Give files their split and speaker; see CleanSpeech."""
        return assign_speech(
            root, relative, self.split, self.fractions, self.speaker_from, self.seed, links=links
        )

    def genders(self) -> dict[str, str]:
        """Return nothing: a folder does not tell."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return the folder."""
        return {"root": str(self.root)}


@dataclass(frozen=True)
class SyntheticVoices:
    """Artificial voices, written once to disk; each split has voices of its own.

    Attributes:
        recipe: What decides the audio; its noises are not used.
        root: Folder to write or read; None for one in the cache folder, named after the recipe.
        cache_dir: Cache folder; empty for the user's.
        title: Name in tables.
    """

    recipe: Recipe
    root: Path | None = None
    cache_dir: str = ""
    title: str = "synthetic_voices"
    speaker_from: str = field(default="folder", init=False)

    def find(self) -> tuple[Path, list[Path]]:
        """Make the audio where it is missing or damaged, and return its folder and files.

        Raises:
            DataError: The folder holds other files, or voices of another recipe.
            OutputError: It cannot be written.
        """
        seconds = 60 * sum(self.recipe.minutes)
        need_bytes = round(2 * SAMPLE_RATE * seconds)
        self._folder.make(speech_pieces(self.recipe), SAMPLE_RATE, need_bytes)
        return self._folder.root, find_audio(self._folder.root)

    def assign(
        self, root: Path, relative: Mapping[Path, Path], links: Links = ()
    ) -> tuple[list[Assigned], list[str]]:
        """Give files the split and speaker that their folders name."""
        return assign_speech(root, relative, "folders", speaker_from=self.speaker_from)

    def genders(self) -> dict[str, str]:
        """Return nothing: artificial voices are high or low."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return the folder and the recipe."""
        return {"root": str(self._folder.root), "recipe": self._facts}

    @property
    def _facts(self) -> dict[str, Any]:
        recipe = self.recipe.facts()
        return {key: value for key, value in recipe.items() if not key.startswith("noise")}

    @property
    def _folder(self) -> GeneratedFolder:
        return GeneratedFolder.at(self.root, self.title, self._facts, self.cache_dir)
