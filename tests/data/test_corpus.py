"""Every configured corpus satisfies the contract, and writes nothing twice that a base holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from audioprune.data.coded.corpora import coded_folder, coded_synthetic, vctk
from audioprune.data.corpus import CorpusBase, FileCorpus, Found, GeneratedCorpus, WrappedCorpus
from audioprune.data.files.checks import Finding
from audioprune.data.notes.folder import note_folder
from audioprune.data.notes.nsynth import nsynth
from audioprune.data.notes.studio_online import tinysol
from audioprune.data.notes.synthetic import synthetic_notes
from audioprune.data.scenes.corpora import ClassFolder, TutScenes
from audioprune.data.scenes.synthetic import SyntheticScenes
from audioprune.data.speech.noisy_mixtures import NoisyMixtures
from audioprune.data.speech.paired_folder import PairedFolder
from audioprune.data.speech.synthetic_speech import SyntheticSpeech
from audioprune.data.speech.wsj0_mix import Wsj0Mix
from audioprune.errors import ConfigError
from audioprune.protocols import Corpus, Shares

CONFIGURED: dict[str, Callable[[], Any]] = {
    "noisy_mixtures": lambda: NoisyMixtures("speech", "noise"),
    "paired_folder": lambda: PairedFolder("pairs"),
    "synthetic_speech": lambda: SyntheticSpeech("made"),
    "wsj0_mix": lambda: Wsj0Mix("wsj0", "noise", "test_noise"),
    "vctk": lambda: vctk("vctk"),
    "coded_folder": lambda: coded_folder("speech"),
    "coded_synthetic": lambda: coded_synthetic("made"),
    "nsynth": lambda: nsynth("nsynth"),
    "tinysol": lambda: tinysol("sol"),
    "note_folder": lambda: note_folder("notes"),
    "synthetic_notes": lambda: synthetic_notes("made"),
    "tut_scenes": lambda: TutScenes("tut"),
    "class_folder": lambda: ClassFolder("scenes"),
    "synthetic_scenes": lambda: SyntheticScenes("made"),
}
ONCE = {"prepare", "write_manifest", "notes", "_ready"}
"""What no corpus writes again."""
DELEGATED = {name for name in vars(WrappedCorpus) if not name.startswith("_")}


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_configured_corpus_satisfies_the_contracts(name: str) -> None:
    corpus = CONFIGURED[name]()
    assert isinstance(corpus, CorpusBase)
    assert isinstance(corpus, Corpus) and isinstance(corpus, Shares)
    assert corpus.title and corpus.sample_rate > 0 and corpus.notes == []


@pytest.mark.parametrize("name", CONFIGURED)
def test_no_corpus_repeats_what_a_base_holds(name: str) -> None:
    for kind in type(CONFIGURED[name]()).__mro__:
        if kind.__module__ == CorpusBase.__module__:
            break
        once = ONCE | DELEGATED if issubclass(kind, WrappedCorpus) else ONCE
        assert not once & set(vars(kind)), kind


class _Items(list[int]):
    """Items that are their numbers."""


class _Files(FileCorpus[Found]):
    """Three files, found at the first call."""

    searches = 0

    def train(self) -> Any:
        self._ready()
        return _Items([1, 2])

    def valid(self) -> Any:
        return _Items([3])

    def tests(self) -> Mapping[str, Any]:
        return {"babble": _Items([4])}

    @staticmethod
    def collate(items: Sequence[Any]) -> dict[str, Any]:
        return {"numbers": list(items)}

    def fingerprint(self) -> str:
        return "f" * 12

    def scale(self) -> str:
        return f"{self.title}, 2 items"

    def sources(self) -> list[dict[str, Any]]:
        return [{"kind": "file", "path": "a.wav"}]

    def _find(self) -> Found:
        self.searches += 1
        bad = Finding(Path("bad.wav"), "error", "unreadable", "an empty file")
        return Found(notes=["one is bad"], skipped=[bad], split_rules=["by folders"])

    def _facts(self) -> dict[str, Any]:
        return {"train": 2}

    def _rules(self) -> dict[str, Any]:
        return {"rules": {"seed": 0}}


class _Folder:
    """A folder that counts how often it was written."""

    root = Path("made")
    writes = 0


class _Generated(GeneratedCorpus[_Files]):
    def _generate(self) -> None:
        self.folder.writes += 1


def _files(**options: Any) -> _Files:
    given = {"on_bad_file": "stop", "cache_dir": None, "memory_mb": 1.5, **options}
    return _Files("toy", 16000, **given)


def test_files_are_searched_once_and_notes_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    corpus = _files()
    assert corpus.notes == [] and corpus.memory_bytes == 1_500_000
    with caplog.at_level(logging.WARNING):
        corpus.prepare()
        corpus.train()
        corpus.prepare()
    assert corpus.searches == 1 and caplog.messages == ["one is bad"] == corpus.notes
    assert caplog.records[0].name == __name__
    assert isinstance(corpus, Corpus)


def test_description_and_manifest_are_in_one_order(tmp_path: Path) -> None:
    corpus = _files()
    assert list(corpus.describe()) == ["name", "scale", "train", "skipped", "notes"]
    assert "bad.wav: an empty file" in corpus.describe()["skipped"][0]
    lines = corpus.write_manifest(tmp_path / "m.jsonl").read_text().splitlines()
    head, source = map(json.loads, lines)
    assert list(head) == ["kind", "name", "fingerprint", "rules", "split_rules"]
    assert source == {"kind": "file", "path": "a.wav"}
    assert corpus.leaks() == [] and corpus.shared() == {"sample_rate": 16000}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_bad_file": "skp"}, "unknown on_bad_file 'skp'; closest: skip"),
        ({"memory_mb": -1.0}, "expected memory_mb of at least 0, got -1.0; use for instance 2048"),
        ({"memory_mb": float("nan")}, "expected memory_mb of at least 0, got nan"),
    ],
)
def test_common_arguments_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _files(**options)


def test_a_wrapped_corpus_delegates_and_prepares_first() -> None:
    inner = _files()
    corpus = WrappedCorpus(inner)
    assert (corpus.title, corpus.sample_rate, corpus.notes) == ("toy", 16000, [])
    assert inner.searches == 0 and isinstance(corpus, Corpus)
    assert corpus.describe() == inner.describe() and corpus.manifest() == inner.manifest()
    assert corpus.train() == [1, 2] and corpus.collate([1, 2]) == {"numbers": [1, 2]}
    assert corpus.notes == ["one is bad"] and inner.searches == 1


def test_a_generated_corpus_writes_its_files_once_before_it_reads_them() -> None:
    folder: Any = _Folder()
    corpus = _Generated(_files(), folder, Found(notes=[], skipped=[], split_rules=[]))
    assert folder.writes == 0
    corpus.prepare()
    corpus.train()
    assert folder.writes == 1 and corpus.leaks() == []
    told = corpus.describe()
    assert told["root"] == "made" and told["recipe"] == {
        "notes": [],
        "skipped": [],
        "split_rules": [],
    }
