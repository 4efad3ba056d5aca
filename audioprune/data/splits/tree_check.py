"""Whether the audio below a folder can be trusted, and whether it leaks between splits.

``check_tree`` returns a ``Report`` with every finding. It changes nothing and uses no corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audioprune.data.files.audio import find_audio
from audioprune.data.files.checks import SHORTEST_S, Finding, doubled, use_findings
from audioprune.data.files.file_index import inspect_files
from audioprune.data.splits.folders import split_named
from audioprune.data.splits.leaks import tree_leaks
from audioprune.errors import DataError


@dataclass(frozen=True)
class Report:
    """What a check of many files found.

    Attributes:
        root: Folder that was checked.
        files: Number of files looked at.
        duration_s: Audio in the files that can be used, in seconds.
        findings: Everything found, in the order of the files.
    """

    root: Path
    files: int
    duration_s: float
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Findings that forbid the use of a file."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that a user should know."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def lines(self) -> list[str]:
        """Return every finding, errors first, and a last line that sums up."""
        summary = f"{self.root}: {self.files} audio files, {self.duration_s / 3600:.2f} h; "
        summary += f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        return [finding.line() for finding in self.errors + self.warnings] + [summary]


def check_tree(
    root: str | Path,
    sample_rate: int | None = None,
    shortest_s: float = SHORTEST_S,
    cache_dir: str = "",
) -> Report:
    """Check every audio file below a folder, and whether the same audio occurs twice.

    Args:
        root: Folder to check.
        sample_rate: Wanted rate in Hz, or None for any.
        shortest_s: A shorter file is a warning, in seconds.
        cache_dir: Where decoded results are remembered; empty for the user's cache folder.

    Returns:
        The report; the same audio below folders of two splits is an error, elsewhere a warning,
        and so is what is only suspected: one recording or speaker by its name, or a copy by ear,
        in two splits.

    Raises:
        DataError: The folder does not exist or holds no audio file.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"expected a folder of audio files at {root}, found none; check the path")
    paths = find_audio(root)
    if not paths:
        raise DataError(f"expected audio files below {root}, found none; check the path")
    facts = inspect_files(root, paths, cache_dir)
    found: list[Finding] = []
    splits: dict[Path, str] = {}
    depth = len(root.parts)
    for fact in facts:
        found += [*fact.findings, *use_findings(fact, sample_rate, shortest_s)]
        splits[fact.path] = split_named(fact.path.parts[depth:-1])
    found += [*doubled(facts, splits), *tree_leaks(root, facts)]
    usable = sum(fact.duration_s for fact in facts if not fact.errors)
    return Report(root, len(facts), usable, tuple(found))
