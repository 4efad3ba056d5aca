"""The main table: a block for each corpus, what a row says, and what it opens to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import FakeRun

from audioprune.report.page.models import model_blocks
from audioprune.report.platforms import Platform
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import load_jobs

Make = Callable[..., FakeRun]
SMALL = Platform("Small", 1e6, 3e6, 2000, 4500)
LARGE = Platform("Large", 1e9, 1e9, 1e9, 1e9)


def _blocks(folder: Path):
    return model_blocks(final(entries(load_jobs(folder))), [SMALL, LARGE])


@pytest.fixture
def blocks(make_run: Make, tmp_path: Path):
    run = make_run("one").scores("mixture", 0.5, 1.0)
    run.scores("uncompressed", 0.7, 2.0).size("uncompressed")
    run.scores("compressed", 0.69, 2.0, n_valid={"stoi": 10, "pesq_raw_nb": 8})
    run.size("compressed", nonzero=300, paper=400)
    make_run("two", model="lstm").status("failed", "no memory")
    other = make_run("three", model="dense", data={"name": "elsewhere"})
    other.scores("uncompressed", 0.1, 1.0, corpus="elsewhere", corpus_fingerprint="f" * 64)
    other.scores("mixture", 0.5, 1.1, corpus="elsewhere", corpus_fingerprint="f" * 64)
    return _blocks(tmp_path / "runs")


def test_every_corpus_has_a_block_of_its_own(blocks) -> None:
    assert len(blocks) == 2 and "elsewhere (fingerprint ffffffffffff)" in blocks[1].title
    rows = [row for block in blocks for row in block.rows]
    assert len({row.anchor for row in rows}) == len(rows) == 6
    for block in blocks:
        assert all(len(row.cells) == len(block.columns) for row in block.rows)


def test_a_row_says_scores_change_and_costs(blocks) -> None:
    names = [name for name, _ in blocks[0].columns]
    row = next(row for row in blocks[0].rows if row.title == "FDNN compressed")
    cells = dict(zip(names, row.cells, strict=True))
    told = {name: cell.text for name, cell in cells.items()}
    assert told == {
        "STOI (%)": "79.00",
        "Change": "-1.00",
        "PESQ (raw NB)": "2.30",
        "Params": "300",
        "File": "500 bytes",
        "Smaller": "8.0x",
        "Sparsity (%)": "70.0",
        "MACs/s (M)": "2.00",
        "Real time": "0.0035",
    }
    assert cells["Change"].value == pytest.approx(-0.01) and cells["File"].value == 500
    assert cells["PESQ (raw NB)"].note == "48 of 60 files valid"


def test_what_failed_or_is_no_better_says_so(blocks) -> None:
    states = {row.title: (row.state, row.status) for block in blocks for row in block.rows}
    assert states["LSTM FAILED"] == ("bad", "failed: no memory")
    assert states["DENSE uncompressed"] == ("poor", "no better than its input")
    assert states["FDNN compressed"] == ("good", "")
    assert states["FDNN uncompressed"] == ("whole", "")
    assert states["Unprocessed input"] == ("whole", "")


def test_a_card_says_four_sizes_speed_and_where_it_fits(blocks) -> None:
    rows = {row.title: row for block in reversed(blocks) for row in block.rows}
    card = rows["FDNN compressed"].card
    assert [(bar.text, bar.share) for bar in card.sizes] == [
        ("3.9 kB", 1.0),
        ("400 bytes", 0.1),
        ("450 bytes", 0.1125),
        ("500 bytes", 0.125),
    ]
    facts = dict(card.facts)
    assert facts["Parameters"] == "300 of 1000 not zero" and facts["Sparsity"] == "70.0 %"
    assert facts["Multiplications"] == "2.00 M a second, 2.00 M before"
    assert facts["Real-time factor"].startswith("0.0035: one thread of this machine does 286 s")
    assert facts["Memory"].startswith("3.9 kB for the unpacked weights")
    assert card.fits == (("Small", False, "too slow"), ("Large", True, ""))
    whole = rows["FDNN uncompressed"].card
    assert whole.fits[0] == ("Small", False, "drive too small, too slow")
    assert rows["LSTM FAILED"].card is None and rows["Unprocessed input"].details is None


def test_settings_that_differ_are_columns_with_short_names(make_run: Make, tmp_path: Path) -> None:
    for name, levels in (("a", 4), ("b", 8)):
        run = make_run(name, pipeline_config={"levels": levels})
        run.scores("compressed", 0.7, 2.0).size("compressed")
    (block,) = _blocks(tmp_path / "runs")
    assert block.columns[-1] == ("levels", "setting")
    assert [row.cells[-1].text for row in block.rows] == ["4", "8"]
