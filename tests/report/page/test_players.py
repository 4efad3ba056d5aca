"""Which recordings are played, and what is said beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_runs import FakeRun

from audioprune.report.clips import clips
from audioprune.report.page.players import players_of
from audioprune.report.page.sound import Sounds
from audioprune.report.runs.job import load_jobs

Make = Callable[..., FakeRun]
STOI = {"a": 0.9, "b": 0.2, "c": 0.5, "d": 0.4, "e": 0.7}


def _scored(run: FakeRun, items: dict[str, float], variant: str = "compressed") -> FakeRun:
    """Keep audio of some items, and the scores of all of them."""
    for name in items:
        run.audio("babble_-5dB", name)
    names, scores = list(items), list(items.values())
    for each in ("mixture", variant):
        lower = [score - 0.1 * (each == "mixture") for score in scores]
        key = f"{each}/babble_-5dB"
        row = {"kind": "score", "variant": each, "label": run.model.upper(), "key": key}
        mean = {"stoi": sum(lower) / len(lower)}
        run.row(**row, condition="babble_-5dB", noise="babble", snr_db=-5.0, metrics=mean)
        lines = [f"{key},{name},{score}" for name, score in zip(names, lower, strict=True)]
        text = "\n".join(["key,id,stoi", *lines]) + "\n"
        (run.folder / f"items-{each}.csv").write_text(text)
    return run


def _played(folder: Path, count: int = 3, **options: int):
    return players_of(clips(load_jobs(folder)), count, Sounds(), **options)


def test_worst_median_and_best_are_chosen_by_score(make_run: Make) -> None:
    run = _scored(make_run("one"), STOI)
    items, notes = _played(run.folder)
    assert [item.title[-1] for item in items] == ["b", "c", "a"]
    assert [item.why for item in items] == [
        "worst of 5 kept, by STOI 20.00 % of FDNN compressed, place 5 of 5 in its test",
        "median of 5 kept, by STOI 50.00 % of FDNN compressed, place 3 of 5 in its test",
        "best of 5 kept, by STOI 90.00 % of FDNN compressed, place 1 of 5 in its test",
    ]
    assert notes[0].startswith("2 more recordings lie in the audio folders")
    versions = items[0].versions
    assert [(version.name, version.role) for version in versions] == [
        ("Reference", "reference"),
        ("Input, unprocessed", "input"),
        ("FDNN uncompressed", "model"),
        ("FDNN compressed", "model"),
    ]
    assert items[0].columns == ("STOI (%)",)
    assert [version.scores for version in versions] == [("",), ("10.00",), ("n/a",), ("20.00",)]


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, ""), (1, "c"), (2, "ba"), (4, "bdea"), (9, "bdcea")]
)
def test_so_many_are_played_as_asked_for(make_run: Make, count: int, chosen: str) -> None:
    items, _ = _played(_scored(make_run("one"), STOI).folder, count)
    assert "".join(item.title[-1] for item in items) == chosen


def test_less_is_better_where_it_is_an_error(make_run: Make) -> None:
    run = _scored(make_run("one"), STOI)
    for path in (*run.folder.glob("items-*.csv"), run.folder / "results.jsonl"):
        path.write_text(path.read_text().replace("stoi", "error"))
    items, _ = _played(run.folder)
    assert [item.title[-1] for item in items] == ["a", "c", "b"]
    assert items[0].why.startswith("worst of 5") and "place 5 of 5" in items[0].why


def test_two_runs_share_reference_and_input(make_run: Make, tmp_path: Path) -> None:
    _scored(make_run("one"), {"a": 0.5})
    _scored(make_run("two", model="lstm"), {"a": 0.6})
    sounds = Sounds()
    ((item,), _) = players_of(clips(load_jobs(tmp_path / "runs")), 3, sounds)
    assert len(item.versions) == 2 + 2 * 2
    assert len({version.sound.name for version in item.versions}) == 4  # both runs sound alike
    assert {version.name for version in item.versions if version.role == "model"} == {
        "FDNN uncompressed",
        "FDNN compressed",
        "LSTM uncompressed",
        "LSTM compressed",
    }


@pytest.mark.parametrize(
    ("settings", "apart"),
    [
        ([{"seed": 0}, {"seed": 1}], "seed 1"),
        ([{"pipeline_config": {"levels": 4}}, {"pipeline_config": {"levels": 8}}], "levels=8"),
        ([{}, {}], "two"),
    ],
)
def test_runs_of_one_model_are_told_apart(
    make_run: Make, tmp_path: Path, settings: list[dict], apart: str
) -> None:
    for name, own in zip(("one", "two"), settings, strict=True):
        make_run(name, **own).audio("babble_-5dB", "a", ("noisy", "compressed", "clean"))
    ((item,), _) = _played(tmp_path / "runs")
    assert item.versions[-1].name == f"FDNN compressed ({apart})"


def test_versions_are_made_as_loud_as_the_reference(make_run: Make) -> None:
    run = _scored(make_run("one"), {"a": 0.5})
    path = run.folder / "audio" / "babble_-5dB" / "a_compressed.flac"
    signal, rate = soundfile.read(path)
    soundfile.write(path, 0.25 * signal, rate)
    soundfile.write(path.with_name("a_uncompressed.flac"), 0 * signal, rate)
    ((item,), _) = _played(run.folder)
    gains = {version.name: version.gain_db for version in item.versions}
    assert gains["FDNN compressed"] == pytest.approx(12.04, abs=0.5)
    assert gains["FDNN uncompressed"] == 0.0 == gains["Reference"]  # silence stays silence


def test_what_does_not_fit_or_cannot_be_read_is_named(make_run: Make) -> None:
    run = _scored(make_run("one"), STOI)
    items, notes = _played(run.folder, most_bytes=1)
    assert len(items) == 1 and notes[0].startswith("4 more recordings lie")
    (run.folder / "audio" / "babble_-5dB" / "b_compressed.flac").write_bytes(b"no audio")
    items, notes = _played(run.folder)
    assert len(items) == 2 and "babble, -5 dB: b" in notes[0] and "cannot be played" in notes[0]


def test_notes_tell_their_pitch(make_run: Make) -> None:
    run = make_run("one")
    run.audio("test", "flute", ("reference", "uncompressed"))
    for name, hz in (("reference", 440.0), ("uncompressed", 466.16)):
        tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(8000) / 16000)
        soundfile.write(run.folder / "audio" / "test" / f"flute_{name}.flac", tone, 16000)
    ((item,), _) = _played(run.folder)
    assert item.columns == ("Pitch (Hz)",) and item.why == "the first one that was kept"
    assert [version.scores[0] for version in item.versions] == ["440.0", "466.2 (+100 cents)"]
