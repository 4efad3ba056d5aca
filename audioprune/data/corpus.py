"""What all corpora share: prepare once, describe, write a manifest, delegate.

Choose a base for a new corpus:

* ``FileCorpus`` finds, checks and splits files itself. A subclass calls ``super().__init__``,
  keeps what it found in a dataclass derived from ``Found`` and writes ``_find``, ``train``,
  ``valid``, ``tests``, ``collate``, ``fingerprint``, ``scale``, ``sources`` and ``_facts``; it
  reads what was found by ``self._ready()``. It may also write ``_rules``, ``shared``, ``leaks``.
* ``WrappedCorpus`` is another corpus, ``self.inner``, with other arguments. A subclass builds the
  inner corpus and overrides only what differs. ``_before`` and ``_after`` run around the inner
  ``prepare``.
* ``GeneratedCorpus`` is a wrapped corpus over a folder of files that it writes; a subclass adds
  ``_generate``.

All of them satisfy ``protocols.Corpus`` and ``protocols.Shares``.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from audioprune.data.files.checks import Finding
from audioprune.data.files.generated_folder import GeneratedFolder
from audioprune.data.files.messages import check_on_bad_file
from audioprune.errors import ConfigError
from audioprune.files import write_atomic
from audioprune.protocols import Batch, Items

Record = dict[str, Any]
"""Plain values of one corpus, file or item, for a manifest."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a corpus found on disk; each corpus adds its own fields.

    Attributes:
        notes: What the user should know about the files, one line each.
        skipped: Files that are left out because they are bad.
        split_rules: How the splits came about, in words.
    """

    notes: list[str]
    skipped: list[Finding]
    split_rules: list[str]


FoundKind = TypeVar("FoundKind", bound=Found)


class CorpusBase(ABC):
    """What every corpus offers; ``title`` and ``sample_rate`` besides."""

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What the user should know about the files, one line each, after ``prepare``."""

    @abstractmethod
    def prepare(self) -> None:
        """Find, check and split the files; a second call does nothing.

        Raises:
            DataError: Files or folders are missing, bad, or in several splits; the message names
                them.
        """

    @abstractmethod
    def train(self) -> Items:
        """Return the training items."""

    @abstractmethod
    def valid(self) -> Items:
        """Return the validation items, the same in every epoch."""

    @abstractmethod
    def tests(self) -> Mapping[str, Items]:
        """Return the test items of every condition by name."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, and of all rules."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the size of every split, the rules and the files left out, as plain values."""

    @abstractmethod
    def scale(self) -> str:
        """Return the size of the training set in a few words."""

    @abstractmethod
    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits."""

    @abstractmethod
    def shared(self) -> dict[str, Any]:
        """Return the numbers that task and model must agree with, by their names."""

    @abstractmethod
    def sources(self) -> list[Record]:
        """Return a record of every file, pair, clip or note that is used."""

    @abstractmethod
    def manifest(self) -> list[Record]:
        """Return one record for the corpus and one for each source."""

    def write_manifest(self, path: str | Path) -> Path:
        """Write the manifest as JSON lines."""
        lines = [json.dumps(record) for record in self.manifest()]
        return write_atomic(path, "\n".join(lines) + "\n")


class FileCorpus(CorpusBase, Generic[FoundKind]):
    """A corpus that finds, checks and splits files itself.

    Args:
        title: Name in tables.
        sample_rate: Rate of all items in Hz.
        on_bad_file: ``"stop"`` or ``"skip"``.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
        memory_mb: Most megabytes of audio or features kept in memory.

    Raises:
        ConfigError: ``on_bad_file`` is neither, or ``memory_mb`` is negative.
    """

    usual_memory_mb: ClassVar[int] = 2048
    """The value that the refusal of a wrong ``memory_mb`` proposes."""

    def __init__(
        self,
        title: str,
        sample_rate: int,
        *,
        on_bad_file: str,
        cache_dir: str | None,
        memory_mb: float,
    ) -> None:
        check_on_bad_file(on_bad_file)
        if not memory_mb >= 0:
            raise ConfigError(
                f"expected memory_mb of at least 0, got {memory_mb}; use for instance "
                f"{self.usual_memory_mb}"
            )
        self.title = title
        self.sample_rate = sample_rate
        self.on_bad_file = on_bad_file
        self.cache_dir = cache_dir or ""
        self.memory_mb = memory_mb
        self._found: FoundKind | None = None

    @staticmethod
    @abstractmethod
    def collate(items: Sequence[Mapping[str, Any]]) -> Batch:
        """Join items to a batch."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files, one line each, after ``prepare``."""
        return [] if self._found is None else self._found.notes

    @property
    def memory_bytes(self) -> int:
        """Most bytes of audio or features kept in memory."""
        return round(self.memory_mb * 1e6)

    def prepare(self) -> None:
        """Find, check and split the files; see CorpusBase."""
        self._ready()

    def describe(self) -> dict[str, Any]:
        """Return the size of every split, the rules and the files left out, as plain values."""
        found = self._ready()
        facts = {"name": self.title, "scale": self.scale(), **self._facts()}
        skipped = [finding.line() for finding in found.skipped]
        return {**facts, "skipped": skipped, "notes": found.notes}

    def leaks(self) -> list[Finding]:
        """Return nothing, unless the corpus knows how to look."""
        return []

    def shared(self) -> dict[str, Any]:
        """Return the sample rate; a corpus adds what else decides about task and model."""
        return {"sample_rate": self.sample_rate}

    def manifest(self) -> list[Record]:
        """Return one record for the corpus and one for each source."""
        head: Record = {"kind": "corpus", "name": self.title, "fingerprint": self.fingerprint()}
        head |= {**self._rules(), "split_rules": self._ready().split_rules}
        return [head, *self.sources()]

    @abstractmethod
    def _find(self) -> FoundKind:
        """Find, check and split the files; ``prepare`` calls it once."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """Return what ``describe`` says besides name, scale, files left out and notes."""

    def _rules(self) -> dict[str, Any]:
        """Return what the first record of the manifest says of the making of items."""
        return {}

    def _ready(self) -> FoundKind:
        """Return what was found; look, and log the notes, at the first call only."""
        if self._found is None:
            self._found = self._find()
            logger = logging.getLogger(type(self).__module__)
            for note in self._found.notes:
                logger.warning(note)
        return self._found


Inner = TypeVar("Inner", bound="FileCorpus[Any] | WrappedCorpus[Any]")


class WrappedCorpus(CorpusBase, Generic[Inner]):
    """Another corpus under a name and with arguments of its own.

    Args:
        inner: The corpus that does the work; every method prepares it first.
    """

    def __init__(self, inner: Inner) -> None:
        self.inner = inner
        self._is_prepared = False

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.inner.title

    @property
    def sample_rate(self) -> int:
        """Rate of all items in Hz."""
        return self.inner.sample_rate

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files, one line each, after ``prepare``."""
        return list(self.inner.notes)

    @property
    def collate(self) -> Callable[[Sequence[Mapping[str, Any]]], Batch]:
        """The function that joins items to a batch."""
        return self.inner.collate

    def prepare(self) -> None:
        """Prepare the inner corpus; see CorpusBase."""
        if self._is_prepared:
            return
        self._before()
        self.inner.prepare()
        self._after()
        self._is_prepared = True

    def train(self) -> Items:
        """Return the training items."""
        return self._ready().train()

    def valid(self) -> Items:
        """Return the validation items, the same in every epoch."""
        return self._ready().valid()

    def tests(self) -> Mapping[str, Items]:
        """Return the test items of every condition by name."""
        return self._ready().tests()

    def fingerprint(self) -> str:
        """Return a hash of every file's place, content and use, and of all rules."""
        return self._ready().fingerprint()

    def describe(self) -> dict[str, Any]:
        """Return the size of every split, the rules and the files left out, as plain values."""
        return self._ready().describe()

    def scale(self) -> str:
        """Return the size of the training set in a few words."""
        return self._ready().scale()

    def leaks(self) -> list[Finding]:
        """Return what is suspected to be in several splits."""
        return self._ready().leaks()

    def shared(self) -> dict[str, Any]:
        """Return the numbers that task and model must agree with, by their names."""
        return self._ready().shared()

    def sources(self) -> list[Record]:
        """Return a record of every file, pair, clip or note that is used."""
        return self._ready().sources()

    def manifest(self) -> list[Record]:
        """Return one record for the corpus and one for each source."""
        return self._ready().manifest()

    def _before(self) -> None:
        """Do what the inner corpus needs before it is prepared."""

    def _after(self) -> None:
        """Check or complete the prepared inner corpus."""

    def _ready(self) -> Inner:
        """Return the prepared inner corpus."""
        self.prepare()
        return self.inner


class GeneratedCorpus(WrappedCorpus[Inner]):
    """A corpus over a folder of artificial audio that it writes where it is missing.

    Args:
        inner: The corpus that reads the folder.
        folder: The folder.
        recipe: The dataclass that decides every file.
    """

    def __init__(self, inner: Inner, folder: GeneratedFolder, recipe: Any) -> None:
        super().__init__(inner)
        self.folder = folder
        self.recipe = recipe

    def describe(self) -> dict[str, Any]:
        """Return the size of the corpus and the recipe."""
        recipe = {"recipe": asdict(self.recipe), "root": str(self.folder.root)}
        return {**super().describe(), **recipe}

    def leaks(self) -> list[Finding]:
        """Return nothing: each file is made anew, whatever its name."""
        return []

    def _before(self) -> None:
        self._generate()

    @abstractmethod
    def _generate(self) -> None:
        """Write the files that are missing or damaged.

        Raises:
            DataError: The folder holds other files, or a corpus of another recipe.
            OutputError: The folder cannot be written.
        """
