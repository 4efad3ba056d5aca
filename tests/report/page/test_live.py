"""The version file of a live page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import FakeRun

from audioprune.report.page import Section, overview_of, write_page
from audioprune.report.runs.entries import entries
from audioprune.report.runs.job import load_jobs
from audioprune.report.tables import Column, Table

TABLE = Table("t", "Some", (Column("a", "A"),), ({"a": "b"},))


def test_a_live_page_names_its_version_beside_it_and_the_last_one_does_not(tmp_path: Path) -> None:
    page, version = tmp_path / "report.html", tmp_path / "report.version.js"
    found = []
    for title in ("one", "two", "two"):
        write_page(page, title, "lead", [Section("s", (TABLE,))], live=True)
        told = re.search(r'<html lang="en" data-version="(\w+)">', page.read_text())
        assert told and version.read_text() == f'window.audiopruneVersion("{told[1]}");\n'
        found.append(told[1])
    assert found[0] != found[1] == found[2]
    write_page(page, "two", "lead", [Section("s", (TABLE,))])
    assert not version.exists() and 'data-version=""' in page.read_text()


@pytest.mark.parametrize(("live", "told"), [(True, "was scored yet."), (False, "was scored.")])
def test_only_a_live_page_waits_for_scores(
    make_run: Callable[..., FakeRun], tmp_path: Path, live: bool, told: str
) -> None:
    jobs = load_jobs(make_run("one").scores("uncompressed", 0.7, 2.0).folder)
    overview = overview_of(jobs, entries(jobs))
    page = write_page(tmp_path / "report.html", "one", "lead", [], overview, live=live)
    assert f"No compressed model {told}" in page.read_text()
