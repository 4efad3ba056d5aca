"""Who speaks in a file: by names of known corpora, by folders, a user's pattern or table.

``SpeakerRule.read`` returns the speaker of every file, or asks in one line for what cannot be
read; it never guesses. Which split a speaker gets is decided in assign.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from audioprune.data.files.lists import Line, bare_name, name_key, read_table, without_ending
from audioprune.errors import ConfigError, DataError, unknown_name

SPEAKER_RULES = ("auto", "folder", "prefix", "file")
OUTER_FOLDERS = (
    "speakers are the outer of several folders; name them with data.speaker if they are not"
)

# Names of published corpora; each pattern fits a whole name without its ending.
_NAMES = {
    "VCTK's p225_001": re.compile(r"(?P<speaker>[ps]\d{2,4})_\d{3,}(_mic\d)?"),
    "speaker-chapter-utterance": re.compile(
        r"(?P<speaker>(?!(19|20)\d\d-[01]\d-[0-3]\d$)\d+)-\d+-\d+"
    ),
    "speaker_chapter_paragraph_utterance": re.compile(r"(?P<speaker>\d+)_\d+_\d{6}_\d{6}"),
    "RAVDESS's 03-01-01-01-01-01-12": re.compile(r"\d\d(-\d\d){5}-(?P<speaker>\d\d)"),
    "WSJ's 011a0101": re.compile(
        r"(?P<speaker>\d[0-9a-z]{2})[a-z][0-9a-z]{2}[0-9a-z]{2}", re.IGNORECASE
    ),
    "EmoDB's 03a01Fa": re.compile(r"(?P<speaker>\d\d)[ab]\d\d[A-Z][a-z]"),
}
_SPEAKER_FOLDER = re.compile(
    r"(spk|spkr|speaker|sp|talker|subject|subj|sub|voice|actor|reader|person|participant|user"
    r"|client|id|p|s|f|m)[ _-]?\d+[a-z]?"
    r"|[fm][a-z]{3}\d",  # TIMIT's FCJF0
    re.IGNORECASE,
)
_OTHER_FOLDER = re.compile(
    r"(sessions?|sess|ses|day|visit|chapters?|parts?|dis[ck]|cd|(sub)?sets?|channels?|ch|mics?"
    r"|microphone|wavs?|flac|audio|clips"
    r"|recordings?|rec|data|speech|corpus|clean|noisy|utterances?|utts?|sentences?|takes?|dr"
    r"|original|samples?)([ _-]?\d+)?"
    r"|wav\d*_[a-z_]+|s[ied]_[a-z_]+\d*"  # VCTK's wav48_silence_trimmed, WSJ's si_tr_s
    r"|(19|20)\d\d[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])",  # the day of a session
    re.IGNORECASE,
)
_GENDER_FOLDER = re.compile(r"f|m|fem|female|male|women|men|girls|boys", re.IGNORECASE)
_UTTERANCE_WORDS = {
    *("audio", "clip", "common", "file", "rec", "recording", "sample", "segment", "sentence"),
    *("sound", "speech", "track", "train", "test", "utt", "utterance", "voice", "wav"),
}
"""Words before a number that name no speaker."""
_PATHS = ("path", "file", "filename", "name")
_SPEAKERS = ("speaker", "speaker_id", "spk", "spk_id", "client_id")
_RULE_WORDS = {
    "folder": "first folders",
    "prefix": "names up to the first _ or -",
    "file": "files: speakers are not known",
}


@dataclass(frozen=True)
class SpeakerRule:
    """How the speaker of a file is found.

    Attributes:
        rule: ``"folder"``: the first folder. ``"prefix"``: the name up to the first ``_`` or
            ``-``. ``"file"``: each file is a speaker of its own. ``"auto"``: names of known
            corpora, else folders that are not named after sessions, channels and the like, else
            the prefix where it plainly names speakers.
        pattern: Regular expression with a group named ``speaker``, searched in a file's path below
            the corpus or split folder, with ``/`` between folders; such as
            ``^(?P<speaker>[^/]+)/`` or ``(?P<speaker>...)[a-z]....[.]wav``. It decides in place of
            the rule.
        table: CSV file with the columns ``path`` and ``speaker``; paths below the corpus, or bare
            file names. It decides in place of the rule.

    Raises:
        ConfigError: The rule is unknown, the pattern is none or lacks its group, or both pattern
            and table are given.
    """

    rule: str = "auto"
    pattern: str | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in SPEAKER_RULES:
            raise ConfigError(unknown_name("speaker_from", self.rule, SPEAKER_RULES))
        if self.pattern and self.table:
            raise ConfigError(
                "expected data.speaker or data.speaker_csv, got both; leave one of them out"
            )
        if not self.pattern:
            return
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ConfigError(
                f"expected data.speaker as a regular expression, got '{self.pattern}' "
                f"({error}); correct it"
            ) from error
        if "speaker" not in groups:
            raise ConfigError(
                f"expected a group (?P<speaker>...) in data.speaker, got '{self.pattern}'; mark "
                f"what names the speaker"
            )

    @property
    def by_file(self) -> bool:
        """Whether each file counts as a speaker, so that speakers are not known."""
        return self.rule == "file" and not self.pattern and not self.table

    def read(self, root: Path, places: Mapping[Path, Path]) -> tuple[dict[Path, str], str]:
        """Return the speaker of each file, and in words how it was found.

        Args:
            root: Folder of the corpus.
            places: Place of each file below the corpus or its split folder.

        Raises:
            DataError: The speaker of a file cannot be read, or the table cannot.
        """
        places = {path: _composed(place) for path, place in places.items()}
        if self.table:
            listed = _by_table(root, Path(self.table).expanduser(), places)
            return listed, f"speakers as {self.table} lists them"
        if self.pattern:
            return _by_pattern(self.pattern, places), f"speakers by the pattern {self.pattern}"
        if self.rule != "auto":
            found = {path: speaker_of(place, self.rule) for path, place in places.items()}
            return found, f"speakers are {_RULE_WORDS[self.rule]}"
        return _read_auto(root, places)


def _composed(place: Path) -> Path:
    """Return a place with its letters composed; most are already."""
    text = place.as_posix()
    key = name_key(text)
    return place if key == text else Path(key)


def speaker_of(place: PurePath, rule: str) -> str:
    """Return the speaker of one file by a rule other than ``"auto"``; see SpeakerRule.

    Raises:
        DataError: The rule is ``"folder"`` and the file lies in no folder.
    """
    if rule == "file":
        return place.with_suffix("").as_posix()
    if rule == "prefix":
        return re.split(r"[_-]", place.stem, maxsplit=1)[0] or place.stem
    if len(place.parts) > 1:
        return place.parts[0]
    raise DataError(
        f"expected {place.name} in a folder named after its speaker, got none; use "
        f"data.speaker_from=prefix or file"
    )


def plain_speakers(places: Mapping[Path, Path]) -> dict[Path, str]:
    """Return the speaker of each file whose name or folder tells it beyond doubt.

    These are names of known corpora and folders such as ``spk03``.
    """
    found = {}
    for path, place in places.items():
        names = [part for part in place.parts[:-1] if _SPEAKER_FOLDER.fullmatch(part)]
        matches = [pattern.fullmatch(place.stem) for pattern in _NAMES.values()]
        names += [match["speaker"] for match in matches if match]
        if names:
            found[path] = names[0].lower()
    return found


def _read_auto(root: Path, places: Mapping[Path, Path]) -> tuple[dict[Path, str], str]:
    """Read speakers by names, then by folders; some files may lie in folders, some beside them."""
    levels = {path: _levels(place) for path, place in places.items()}
    named, words = _by_names(places, levels)
    if named:
        return named, words
    speakers: dict[Path, str] = {}
    said = []
    deep = {path: found for path, found in levels.items() if found}
    if deep:
        speakers, words = _by_folders(root, deep)
        said.append(words)
    flat = {path: places[path] for path, found in levels.items() if not found}
    if flat:
        more, words = _by_names(flat, {})
        if not more:
            more, words = _by_prefix(root, flat)
        speakers |= more
        said.append(words)
    return speakers, "; ".join(said)


def _levels(place: PurePath) -> list[str]:
    """Return the folders that may name a speaker.

    Sessions, channels and formats are left out, and so is a gender above another folder.
    """
    kept = []
    for part in place.parts[:-1]:
        if _SPEAKER_FOLDER.fullmatch(part) or not _OTHER_FOLDER.fullmatch(part):
            kept.append(part)
    above = [part for part in kept[:-1] if not _GENDER_FOLDER.fullmatch(part)]
    return above + kept[-1:]


def _by_names(
    places: Mapping[Path, Path], levels: Mapping[Path, Sequence[str]]
) -> tuple[dict[Path, str], str]:
    """Return speakers if all names are of one known kind and no folder contradicts them."""
    for words, pattern in _NAMES.items():
        found = {}
        for path, place in places.items():
            match = pattern.fullmatch(place.stem)
            inside = [part.lower() for part in levels.get(path, ())] if match else []
            if not match or (inside and match["speaker"].lower() not in inside):
                break
            found[path] = match["speaker"]
        else:
            return found, f"speakers as in {words}"
    return {}, ""


def _by_folders(root: Path, levels: Mapping[Path, Sequence[str]]) -> tuple[dict[Path, str], str]:
    """Return the outermost folder of each file.

    Where every file has a folder plainly named after a speaker, only such folders count.
    """
    plain = {}
    for path, found in levels.items():
        plain[path] = [part for part in found if _SPEAKER_FOLDER.fullmatch(part)]
    chosen: Mapping[Path, Sequence[str]] = plain if all(plain.values()) else levels
    # An inner folder in two outer ones may be the speaker as well: that is for the user to say.
    above: dict[str, str] = {}
    for path, found in chosen.items():
        if len(found) > 1 and above.setdefault(found[1], found[0]) != found[0]:
            inner = f"'{found[1]}' in both '{above[found[1]]}' and '{found[0]}'"
            remedy = _remedy(" or data.speaker_from=folder for the outer")
            raise DataError(
                f"{root}: expected one folder a speaker, found {inner}, such as {path.name}; "
                f"{remedy}"
            )
    several = any(len(found) > 1 for found in chosen.values())
    words = OUTER_FOLDERS if several else "speakers are folders"
    return {path: found[0] for path, found in chosen.items()}, words


def _by_prefix(root: Path, places: Mapping[Path, Path]) -> tuple[dict[Path, str], str]:
    """Return prefixes where several files share one, or where each is a word before a number."""
    parts = {path: re.split(r"[_-]", place.stem, maxsplit=1) for path, place in places.items()}
    prefixes = {path: split[0] for path, split in parts.items()}
    bare = any(len(split) < 2 or not _may_name(split[0]) for split in parts.values())
    shared = len(set(prefixes.values())) < len(prefixes)
    counted = all(split[0].isalpha() and split[-1].isdigit() for split in parts.values())
    if bare or not (shared or counted):
        shown = ", ".join(sorted(place.name for place in places.values())[:3])
        remedy = _remedy(" or data.speaker_from=file")
        raise DataError(
            f"{root}: expected speakers in folders or file names, found none in {shown}; {remedy}"
        )
    return prefixes, "speakers are names up to the first _ or -"


def _may_name(prefix: str) -> bool:
    return bool(prefix) and prefix.lower() not in _UTTERANCE_WORDS


def _remedy(more: str) -> str:
    return (
        f"give data.speaker_csv=FILE with the columns path and speaker, or "
        f"data.speaker='(?P<speaker>...)'{more}"
    )


def _by_pattern(pattern: str, places: Mapping[Path, Path]) -> dict[Path, str]:
    found = {}
    for path, place in places.items():
        match = re.search(pattern, place.as_posix())
        if not match or not match["speaker"]:
            raise DataError(
                f"expected a speaker in every path by data.speaker='{pattern}', found none in "
                f"{place}; correct the pattern"
            )
        found[path] = match["speaker"]
    return found


def _by_table(root: Path, table: Path, places: Mapping[Path, Path]) -> dict[Path, str]:
    """Return the speakers of a table.

    A row counts for the file at its path, or for the files of its name if no other row has it.
    """
    listed = _read_table(table)
    counts = Counter(PurePath(name).name for name in listed)
    by_name = {}
    for name, speaker in listed.items():
        if counts[PurePath(name).name] == 1:
            by_name[PurePath(name).name] = speaker
    found = {}
    for path, place in places.items():
        above = [each for each in (root, table.parent) if path.is_relative_to(each)]
        below = [path.relative_to(each) for each in above]
        keys = [name_key(without_ending(each.as_posix())) for each in (*below, place)]
        rows = [listed[key] for key in keys if key in listed]
        speaker = (rows[0] if rows else "") or by_name.get(bare_name(path.name), "")
        if not speaker:
            raise DataError(
                f"{table}: expected a row with a speaker for every file, found none for "
                f"{place}; complete the table"
            )
        found[path] = speaker
    return found


def _read_table(table: Path) -> dict[str, str]:
    """Return the speaker of each name of a table; names are without endings, see ``name_key``."""
    read = read_table(table, "a table of speakers")
    header = [name.lower() for name in read.header]
    at_path, at_speaker = _column(header, _PATHS), _column(header, _SPEAKERS)
    if at_path is None or at_speaker is None:
        given = ",".join(read.header) or "nothing"
        raise DataError(
            f"{table}: expected the columns path and speaker, got {given}; add a header line"
        )
    found: dict[str, str] = {}
    for row in read.rows:
        name, who = _cell(row, at_path), name_key(_cell(row, at_speaker))
        name = name_key(without_ending(name.replace("\\", "/").removeprefix("./")))
        if name and found.setdefault(name, who) != who:
            told = f"expected one speaker for {name}, got {found[name]} and {who}"
            raise DataError(f"{table}, row {row.number}: {told}; remove one of the rows")
    return found


def _column(header: Sequence[str], known: Sequence[str]) -> int | None:
    """Return the place of the first known name that the header has."""
    places = [header.index(name) for name in known if name in header]
    return places[0] if places else None


def _cell(row: Line, at: int) -> str:
    return row.cells[at] if at < len(row.cells) else ""
