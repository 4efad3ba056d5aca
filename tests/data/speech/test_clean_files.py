"""Clean speech: any folder, and artificial voices."""

from __future__ import annotations

from pathlib import Path

import pytest
from speech_trees import speech_tree

from audioprune.data.speech.clean_files import SpeechFolder, SyntheticVoices
from audioprune.data.speech.synthetic_speech import Recipe, pieces
from audioprune.errors import ConfigError, DataError

TINY = Recipe(
    seed=0,
    minutes=(0.03, 0.02, 0.02),
    speakers=(2, 1, 1),
    utterance_s=(1.0, 1.0),
    noise_s=1.0,
    noises=1,
)


def test_any_folder(tmp_path: Path) -> None:
    voices = SpeechFolder(speech_tree(tmp_path / "speech"))
    root, paths = voices.find()
    assigned, _ = voices.assign(root, {path: path.relative_to(root) for path in paths})
    assert {entry.split for entry in assigned} == {"train", "valid", "test"} and len(
        {entry.group for entry in assigned}
    ) == 12
    assert voices.describe() == {"root": str(root)}
    plain = SpeechFolder(speech_tree(tmp_path / "plain", splits=()), fractions=(0.5, 0.25, 0.25))
    root, paths = plain.find()
    assigned, _ = plain.assign(root, {path: path.relative_to(root) for path in paths})
    assert (
        sorted({(entry.group, entry.split) for entry in assigned})[0][0] == "all0"
        and len(assigned) == 8
    )
    with pytest.raises(DataError, match="no such folder"):
        SpeechFolder(tmp_path / "absent").find()


@pytest.mark.parametrize(
    "options",
    [{"speaker_from": "foldr"}, {"fractions": (0.5, 0.1, 0.1)}, {"fractions": (1.0, 0.0, 0.0)}],
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        SpeechFolder(Path("x"), **options)


def test_made_voices_are_the_synthetic_speech_without_its_noises(tmp_path: Path) -> None:
    voices = SyntheticVoices(TINY, cache_dir=str(tmp_path))
    root, paths = voices.find()
    names = {f"speech/{path.relative_to(root).as_posix()}" for path in paths}
    assert (
        names == {name for name in pieces(TINY) if name.startswith("speech/")}
        and root.parent == tmp_path / "synthetic_voices"
    )
    before = paths[0].stat().st_mtime_ns
    assert voices.find() == (root, paths) and paths[0].stat().st_mtime_ns == before
    assigned, notes = voices.assign(root, {path: path.relative_to(root) for path in paths})
    groups = {
        split: {entry.group for entry in assigned if entry.split == split}
        for split in ("train", "valid", "test")
    }
    assert (
        [len(found) for found in groups.values()] == [2, 1, 1]
        and len(set.union(*groups.values())) == 4
        and notes == []
    )
    assert (
        voices.describe()["recipe"]["seed"] == 0 and "noise_s" not in voices.describe()["recipe"]
    )
    chosen = SyntheticVoices(TINY, tmp_path / "here", str(tmp_path))
    assert chosen.find()[0] == tmp_path / "here"
