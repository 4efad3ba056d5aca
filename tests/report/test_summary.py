"""The summary: it judges the claims that it is asked for."""

from __future__ import annotations

from audioprune.report import write_report


def test_a_summary_judges_claims_where_it_is_asked_to(make_run, tmp_path) -> None:
    run = make_run("a").scores("uncompressed", 0.7, 2.0).scores("compressed", 0.69, 1.9)
    plain, asked = tmp_path / "plain", tmp_path / "asked"
    files = write_report(run.folder, plain)
    assert [file.name for file in write_report(run.folder, asked, claims=["p2"])] == [
        file.name for file in files
    ]
    words = "Claims of Ke Tan and DeLiang Wang"
    assert words not in (plain / "report.html").read_text(encoding="utf-8")
    assert words in (asked / "report.html").read_text(encoding="utf-8")
