"""What one line says of a compressed model, and when it says nothing."""

from __future__ import annotations

from audioprune.report import compression_line


def test_gains_over_input_and_losses_by_compression(make_run) -> None:
    run = (
        make_run("a")
        .scores("mixture", 0.5, 1.4, snrs=(-5.0, 0.0), noises=("babble",))
        .scores("uncompressed", 0.56, 1.6, snrs=(-5.0, 0.0), noises=("babble",))
        .size("uncompressed", paper=4000)
        .scores("compressed", 0.55, 1.6, snrs=(-5.0, 0.0), noises=("babble",))
        .size("compressed", paper=80)
    )
    line = compression_line(run.folder)
    assert line.startswith("FDNN compressed: STOI +5.0 points over its input on average")
    assert "(babble -5 dB +5.0, babble 0 dB +5.0)" in line
    assert ", -1.0 against the uncompressed model" in line


def test_nothing_is_said_without_one_compressed_model_and_its_input(make_run) -> None:
    alone = make_run("a").scores("compressed", 0.5, 1.4)
    assert compression_line(alone.folder) == ""
    other = make_run("b").scores("mixture", 0.5, 1.4).scores("pruned", 0.5, 1.4)
    assert compression_line(other.folder) == ""
    two = make_run("c").scores("mixture", 0.5, 1.4).scores("compressed", 0.5, 1.4)
    make_run("d", seed=4, config={"training": {"epochs": 3}}).scores("mixture", 0.5, 1.4).scores(
        "compressed", 0.6, 1.4
    )
    assert compression_line([two.folder, two.folder.parent / "d"]) == ""
