"""The pages that stay: the committed ones are what their rows give, and none makes up a number."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from audioprune.report.papers import papers
from audioprune.report.results import readme_lines, write_results
from audioprune.report.runs.collected import collect
from audioprune.report.runs.job import COLLECTED

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from scripts import results as script  # noqa: E402

RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages that are written anew from the committed rows."""
    folder = tmp_path_factory.mktemp("results")
    for rows in RESULTS.glob(f"*/{COLLECTED}"):
        (folder / rows.parent.name).mkdir()
        shutil.copy(rows, folder / rows.parent.name / COLLECTED)
        (folder / rows.parent.name / "of_before.csv").write_text("no page links it")
    write_results(folder)
    return folder


def test_the_committed_pages_are_those_of_the_committed_rows(written: Path) -> None:
    found = {path.relative_to(written): path.read_text() for path in written.rglob("*.md")}
    kept = {path.relative_to(RESULTS): path.read_text() for path in RESULTS.rglob("*.md")}
    assert found == kept, "run: make results"
    assert set(map(str, found)) == {"index.md", *(f"{name}.md" for name in papers())}


def test_figures_and_their_numbers_are_those_of_the_rows(written: Path) -> None:
    for ending, same in ((".csv", True), (".png", False)):
        found = {path.relative_to(written) for path in written.rglob(f"*{ending}")}
        kept = {path.relative_to(RESULTS) for path in RESULTS.rglob(f"*{ending}")}
        assert found == kept
        for path in found if same else ():
            assert (written / path).read_text() == (RESULTS / path).read_text(), path


def test_readme_shows_the_lines_of_the_pages() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script.readme(text, RESULTS) == text, "run: make results"
    assert len(readme_lines(RESULTS)) == 4


def test_rows_are_small() -> None:
    assert sum(path.stat().st_size for path in RESULTS.rglob(COLLECTED)) < 600_000


def test_a_paper_without_rows_shows_no_number(tmp_path: Path) -> None:
    write_results(tmp_path)
    for name in papers():
        text = (tmp_path / f"{name}.md").read_text()
        assert "No rows yet" in text and "contradicts itself" in text and "| " not in text
    assert readme_lines(tmp_path)[0].endswith("| no rows yet | - |")


def test_a_page_names_verdicts_tier_and_source(make_run, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        run = make_run(f"run{seed}", seed=seed, scale="small; 20 mixtures; width 64")
        run.scores("mixture", 0.5, 1.4).scores("uncompressed", 0.6 + 0.001 * seed, 1.6)
        run.scores("compressed", 0.599 + 0.001 * seed, 1.59).size("uncompressed")
        run.size("compressed", nonzero=300, paper=400).iterations(0.3)
    collect(run.folder.parent, tmp_path / "kept" / "p2")
    write_results(tmp_path / "kept")
    text = (tmp_path / "kept" / "p2.md").read_text()
    assert "- FDNN_C against FDNN_U: **holds** (as claimed in all of -5 dB, 0 dB, 5 dB)" in text
    assert "Scale: small; 20 mixtures; width 64, not a reproduction." in text
    assert "## Where the numbers come from" in text and "| run0 " in text
    assert "![" in text and (tmp_path / "kept" / "p2" / "gain-stoi.png").is_file()
    assert not [line for line in text.splitlines() if line.startswith("# ")][1:]
    index = (tmp_path / "kept" / "index.md").read_text()
    assert "3 runs, seeds 0, 1, 2, tier small" in index and "1 holds" in index
