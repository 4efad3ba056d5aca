"""What a report shows of any runs: damaged audio, and what is left out."""

from __future__ import annotations

from audioprune.report import overview, write_report


def test_a_damaged_audio_file_stops_nothing(make_run, tmp_path) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5).audio("babble_-5dB", "x")
    (run.folder / "audio" / "babble_-5dB" / "x_compressed.flac").write_bytes(b"no audio")
    files = write_report(run.folder, tmp_path / "out")
    assert "No spectrogram of babble, -5 dB: x" in files[-1].read_text(encoding="utf-8")


def test_what_is_not_shown_is_named(make_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(overview, "MOST_JOBS_DRAWN", 1)
    for place in range(3):
        run = make_run(f"r{place}").sensitivity(1, {"w": 0.1})
        (run.folder / "quantization.csv").write_text(
            "tensor,levels,loss_increase,bits,chosen,kept\nw,4,0.1,2.0,True,9\n"
        )
    run.scores("compressed", 0.6, 1.5)
    text = write_report(run.folder.parent, tmp_path / "out")[-1].read_text(encoding="utf-8")
    assert (
        "2 more runs were quantised" in text
        and "The sensitivity of 2 more runs is not drawn" in text
    )
