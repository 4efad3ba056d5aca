"""Papers: whole reports, parts alone, parts that are unknown."""

from __future__ import annotations

import pytest

from audioprune.errors import ConfigError
from audioprune.report import write_report


def test_an_unknown_part_or_paper_names_the_closest(make_run, tmp_path) -> None:
    run, out = make_run("a").folder, tmp_path / "out"
    with pytest.raises(ConfigError, match="report.only: unknown part of p2 'tabel1'; closest: ta"):
        write_report(run, out, "p2", only="tabel1")
    with pytest.raises(ConfigError, match="report.claims: unknown paper 'p22'; closest: p2"):
        write_report(run, out, claims=["p22"])
    assert not out.exists()


@pytest.mark.parametrize("part", ["table1", "table2", "claims"])
def test_parts_of_the_paper_are_written_alone(make_run, tmp_path, part: str) -> None:
    files = write_report([make_run("a").folder], tmp_path / "out", "p2", only=[part])
    assert [file.name for file in files] == [
        f"p2_{part}.{ending}" for ending in ("md", "csv", "tex", "json")
    ]


def test_parts_keep_the_order_of_the_page(make_run, tmp_path) -> None:
    run = make_run("a").iterations(0.5)
    files = write_report(run.folder, tmp_path / "out", "p2", only=["figures", "claims", "table1"])
    assert [file.name for file in files if file.suffix in (".md", ".png")] == [
        "p2_table1.md",
        "p2_claims.md",
        "p2_figure2.png",
    ]
    assert not (tmp_path / "out" / "figures").exists()


def test_everything_of_the_paper(make_run, tmp_path) -> None:
    run = (
        make_run("a").scores("mixture", 0.5, 1.4).scores("uncompressed", 0.7, 2.0).iterations(0.5)
    )
    names = {file.name for file in write_report(run.folder, tmp_path / "out", "p2")}
    assert {
        "p2_table1.md",
        "p2_table2.tex",
        "p2_claims.csv",
        "p2_figure2.png",
        "p2_figure2.csv",
        "report.html",
    } <= names


def test_published_numbers_can_be_given(make_run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="published numbers"):
        write_report(make_run("a").folder, tmp_path / "out", "p2", reported=tmp_path / "none.yaml")
