"""A folder of generated audio: written once, found again, never taken for another one.

``GeneratedFolder.make`` writes it where it is missing or damaged. What its files hold is decided
by the corpus that generates them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audioprune.data.files.audio import find_audio
from audioprune.data.files.file_index import inspect_files
from audioprune.data.files.messages import listing
from audioprune.data.files.parallel import in_threads
from audioprune.dsp.encoding import encoded
from audioprune.errors import DataError, OutputError
from audioprune.files import check_writable, sha256, sha256_file, write_atomic, write_json
from audioprune.interrupts import check_stop
from audioprune.paths import cache_folder
from audioprune.plain.sealing import parse

Pieces = Mapping[str, Callable[[], np.ndarray]]


@dataclass(frozen=True)
class GeneratedFolder:
    """A folder whose audio follows from a recipe.

    The folder gets its name when all files are there. Several processes may make it at once: the
    first to finish wins, the others find its work. A marker holds the recipe and the hash of every
    file.

    Attributes:
        root: The folder.
        name: Kind of corpus, also the name of the marker.
        recipe: Everything that decides the audio, as JSON values.
        cache_dir: Where results of file checks are kept; empty for the user's cache folder.
    """

    root: Path
    name: str
    recipe: Mapping[str, Any]
    cache_dir: str = ""

    @classmethod
    def at(
        cls, root: str | Path | None, name: str, recipe: Mapping[str, Any], cache_dir: str = ""
    ) -> GeneratedFolder:
        """Return the folder at ``root``, else one in the cache that is named after the recipe."""
        named = sha256(json.dumps(recipe, sort_keys=True).encode())[:12]
        place = Path(root).expanduser() if root else cache_folder(cache_dir) / name / named
        return cls(place, name, json.loads(json.dumps(recipe)), cache_dir)

    def is_intact(self) -> bool:
        """Tell whether the folder is there, complete and unchanged.

        Raises:
            DataError: It holds audio of another recipe, or files of someone else.
        """
        if not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            return False
        if not self.root.is_dir() or not self._marker.exists():
            found = listing(self.root) if self.root.is_dir() else "a file"
            raise DataError(
                f"expected an empty folder or an earlier {self.name} corpus at {self.root}, "
                f"found {found}; choose another root"
            )
        stored = self._read_marker()
        if not stored:
            return False
        self._refuse_other_recipe(stored["recipe"])
        return self._has_audio(stored["files"]) and self._has_texts(stored.get("texts", {}))

    def _refuse_other_recipe(self, stored: Mapping[str, Any]) -> None:
        if stored == self.recipe:
            return
        differing = [key for key in self.recipe if stored.get(key) != self.recipe[key]]
        raise DataError(
            f"expected a {self.name} corpus of this recipe at {self.root}, found another "
            f"{', '.join(differing)}; choose another root"
        )

    def _has_audio(self, hashes: Mapping[str, str]) -> bool:
        """Tell whether the folder holds these audio files and no others."""
        files = find_audio(self.root)
        if {path.relative_to(self.root).as_posix() for path in files} != set(hashes):
            return False
        facts = inspect_files(self.root, files, self.cache_dir)
        found = {fact.path.relative_to(self.root).as_posix(): fact.sha256 for fact in facts}
        return found == hashes

    def _has_texts(self, hashes: Mapping[str, str]) -> bool:
        places = {self.root / name: wanted for name, wanted in hashes.items()}
        return all(
            path.is_file() and sha256_file(path) == wanted for path, wanted in places.items()
        )

    def make(
        self,
        pieces: Pieces,
        sample_rate: int,
        need_bytes: int,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """Write all files, unless the folder is intact.

        Args:
            pieces: Function that returns the samples, (T,) or (T, C), of each file by its path
                below the folder; written with 16 bits as WAV where the path ends so, else as FLAC.
            sample_rate: In Hz.
            need_bytes: About what the files take on disk.
            texts: Lists and tables that belong to the audio, by their path below the folder.

        Raises:
            DataError: The folder holds something else.
            OutputError: It cannot be written.
        """
        if self.is_intact():
            return
        check_writable(self.root.parent, need_bytes)
        self._remove_stale()
        temporary = self.root.with_name(f"{self.root.name}.tmp.{os.getpid()}")
        try:
            hashes = dict(self._write(temporary, pieces, sample_rate))
            marker: dict[str, Any] = {"recipe": self.recipe, "files": hashes}
            if texts:
                marker["texts"] = _write_texts(temporary, texts)
            write_json(temporary / self._marker.name, marker)
            self._put(temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @property
    def _marker(self) -> Path:
        return self.root / f"{self.name}.json"

    def _write(
        self, temporary: Path, pieces: Pieces, sample_rate: int
    ) -> Iterator[tuple[str, str]]:
        """Write every file and yield its place and its hash; each piece is made on its own."""

        def write(place: str) -> tuple[str, str]:
            check_stop()
            path = temporary / place
            samples = pieces[place]()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                kind = "WAV" if path.suffix == ".wav" else "FLAC"
                data = encoded(samples, sample_rate, kind)
                path.write_bytes(data)  # the folder has its final name only when all is there
            except (soundfile.SoundFileError, OSError) as error:
                raise OutputError(
                    f"cannot write {path}: {error}; free some space or choose another root"
                ) from error
            return place, sha256(data)

        yield from in_threads(write, list(pieces), f"making {self.name}")

    def _put(self, temporary: Path) -> None:
        """Give the finished folder its name.

        What has that name already is an earlier, damaged corpus, or the work of another process.
        """
        old = temporary.with_name(f"{temporary.name}.old")
        try:
            if self.root.exists():
                if self.is_intact():
                    return
                os.rename(self.root, old)
            os.rename(temporary, self.root)
        except OSError as error:
            if not self.is_intact():
                raise OutputError(
                    f"cannot write {self.root}: {error.strerror or error}; choose another root"
                ) from error
        finally:
            shutil.rmtree(old, ignore_errors=True)

    def _remove_stale(self) -> None:
        """Remove what processes that are no more left half-written."""
        for folder in self.root.parent.glob(f"{self.root.name}.tmp.*"):
            pid = folder.name.removeprefix(f"{self.root.name}.tmp.").partition(".")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)

    def _read_marker(self) -> dict[str, Any]:
        """Return the marker, or nothing when it is damaged."""
        try:
            marker = parse(self._marker.read_text(encoding="utf-8"))
            parts = (marker.get("recipe"), marker.get("files"))
        except (OSError, ValueError, AttributeError):
            return {}
        return marker if all(isinstance(part, dict) for part in parts) else {}


def _write_texts(folder: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Write texts below a folder and return their hashes."""
    return {
        place: sha256_file(write_atomic(folder / place, text)) for place, text in texts.items()
    }
