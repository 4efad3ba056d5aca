"""The index of a folder: what is written is read back, by name and stamp."""

from __future__ import annotations

from pathlib import Path

from audioprune.data.files.checks import FileFacts, Finding
from audioprune.data.files.index_file import IndexFile


def test_the_index_gives_back_what_was_found(tmp_path: Path) -> None:
    place = tmp_path / "a.index"
    facts = FileFacts(tmp_path / "a.wav", 1, "0f" * 32, "f0" * 32, 2, 3, 4, 0.1 + 0.2, "likeness")
    bad = FileFacts(tmp_path / "b.wav", findings=(Finding(tmp_path / "b.wav", "error", "x", "é"),))
    odd = b"b\xff.wav"  # a name that is no text
    IndexFile.read(place).write({b"a.wav": ((1, 2), facts), odd: ((3, 4), bad)})
    IndexFile.read(place).write({b"c.wav": ((5, 6), facts)})
    index = IndexFile.read(place)
    wanted = {facts.path: (b"a.wav", (1, 2)), bad.path: (odd, (3, 4))}
    assert index.known(wanted) == {facts.path: facts, bad.path: bad}
    changed = {facts.path: (b"a.wav", (1, 3)), bad.path: (b"gone.wav", (3, 4))}
    assert index.known(changed) == {}
    index.write({b"a.wav": ((1, 3), bad)})
    assert IndexFile.read(place).known({bad.path: (b"a.wav", (1, 3))}) == {bad.path: bad}
