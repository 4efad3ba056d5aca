"""Which audio belongs together: items, order of versions, conditions, scores per file."""

from __future__ import annotations

from audioprune.report.clips import clips, one_per_noise, version_text
from audioprune.report.runs.job import load_jobs


def test_versions_of_one_item_in_listening_order(make_run) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5)
    run.audio(
        "babble_-5dB", "p_01_a", ("clean", "compressed", "my_own", "noisy", "uncompressed")
    ).audio("babble_-5dB", "p_01")
    found = clips(load_jobs(run.folder))
    assert [clip.item for clip in found] == ["p_01", "p_01_a"]
    assert list(found[1].versions) == ["noisy", "uncompressed", "compressed", "my_own", "clean"]
    assert list(found[0].versions) == ["noisy", "uncompressed", "compressed", "clean"]
    assert (
        found[0].condition == ("babble", -5.0)
        and found[0].title == "babble, -5 dB: p_01"
        and found[0].model == "FDNN"
    )
    assert version_text("noisy") == "Unprocessed" and version_text("my_own") == "My own"


def test_conditions_without_rows_are_read_from_the_folder(make_run) -> None:
    run = make_run("a").audio("cafe_noise_-2.5dB", "x").audio("street", "x")
    assert [clip.condition for clip in clips(load_jobs(run.folder))] == [
        ("cafe_noise", -2.5),
        ("street", None),
    ]


def test_one_item_per_noise_at_the_lowest_snr(make_run) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5)
    for condition in ("babble_5dB", "babble_-5dB", "cafeteria_0dB"):
        run.audio(condition, "x").audio(condition, "y")
    chosen = one_per_noise(clips(load_jobs(run.folder)))
    assert [(clip.condition, clip.item) for clip in chosen] == [
        (("babble", -5.0), "x"),
        (("cafeteria", 0.0), "x"),
    ]


def test_scores_of_single_files(make_run) -> None:
    run = make_run("a").audio("street", "x")
    run.row(
        key="1", kind="audio", condition="street", id="x", variant="mixture", metrics={"stoi": 0.5}
    )
    run.row(
        key="2",
        kind="audio",
        condition="street",
        id="x",
        variant="compressed",
        metrics={"stoi": 0.7},
    )
    assert clips(load_jobs(run.folder))[0].scores == {
        "noisy": {"stoi": 0.5},
        "compressed": {"stoi": 0.7},
    }


def test_a_run_without_audio_has_no_clips(make_run) -> None:
    assert clips(load_jobs(make_run("a").folder)) == []
