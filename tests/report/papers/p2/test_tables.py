"""Tables 1 and 2 of Tan & Wang: ours beside the published, differences, what was not run."""

from __future__ import annotations

import pytest

from audioprune.report.papers.p2.figures import draw
from audioprune.report.papers.p2.rows import P2Evidence
from audioprune.report.papers.p2.tables import table_1, table_2
from audioprune.report.published import read_reported
from audioprune.report.runs.job import load_jobs
from audioprune.report.tables import to_markdown

TABLE_2 = (
    "Mixture",
    *(f"{model}_{letter}" for model in ("FDNN", "LSTM", "TCNN", "GCRN") for letter in "UC"),
    "GCRN_C-SP",
)


@pytest.fixture(scope="module")
def reported():
    return read_reported(None, "p2")


def _rows(table) -> dict[tuple[str, str], dict]:
    return {(row["name"], row["what"]): row for row in table.rows}


def test_table_1_sets_ours_beside_the_published(make_run, reported) -> None:
    for seed in (0, 1):
        run = make_run(f"a{seed}", seed=seed).scores("mixture", 0.55, 1.4)
        run.scores("pruned", 0.6 + 0.02 * seed, 1.7).size("pruned", nonzero=400)
    make_run("b", "fdnn_b", "train").scores("uncompressed", 0.58, 1.6).size(
        "uncompressed", params=450, nonzero=450
    )
    table = table_1(P2Evidence(load_jobs(run.folder.parent), reported))
    rows = _rows(table)
    ours, published, difference = (
        rows["FDNN_P", what] for what in ("ours", "published", "ours - published")
    )
    assert (
        ours["stoi@-5.0"].mean == pytest.approx(0.61)
        and ours["stoi@-5.0"].seeds == 2
        and ours["seeds"] == 2
    )
    assert published["stoi@-5.0"].mean == pytest.approx(0.6372) and published["nonzero"] == "1.15"
    assert difference["stoi@-5.0"].mean == pytest.approx(0.61 - 0.6372)
    assert ours["nonzero"].mean == 400 and rows["FDNN_B", "ours"]["nonzero"].mean == 450
    assert (
        ours["scale"].endswith("not a reproduction")
        and published["scale"] == "published: Table 1, row FDNN_P"
    )
    assert (
        rows["LSTM_P", "ours"]["stoi@0.0"] == "not run"
        and ("LSTM_P", "ours - published") not in rows
    )
    text = to_markdown(table)
    assert "PESQ (raw NB) -5 dB" in text and "-2.72" in text and "0.73 bit per weight" in text


def test_table_2_without_any_run_still_prints_the_paper(make_run, reported) -> None:
    table = table_2(P2Evidence(load_jobs(make_run("a", "dcae").folder), reported))
    rows = _rows(table)
    assert [name for name, what in rows if what == "published"] == list(TABLE_2)
    assert all(rows[name, "ours"]["bytes_paper"] == "not run" for name in TABLE_2)
    assert (
        rows["GCRN_C-SP", "published"]["bytes_paper"] == "4.11"
        and rows["FDNN_C", "published"]["rate_paper"] == "343x"
    )
    assert "0.94 MB" in to_markdown(table)


def test_table_2_sizes(make_run, reported) -> None:
    run = make_run("a", "gcrn", "p2_structured").scores("compressed", 0.8, 2.1)
    run.size("uncompressed", params=10**6, nonzero=10**6, paper=4 * 10**6).size(
        "compressed", params=10**6, nonzero=500000, paper=400000
    )
    row = _rows(table_2(P2Evidence(load_jobs(run.folder), reported)))["GCRN_C-SP", "ours"]
    assert row["rate_paper"].mean == pytest.approx(10.0) and row[
        "bits_per_weight"
    ].mean == pytest.approx(6.4)


def test_only_what_sets_entries_of_a_row_apart_is_a_column(make_run, reported) -> None:
    for strength in (0.0, 1.0):
        run = make_run(f"f{strength}", "fdnn", pipeline_config={"lambda_1": strength}).scores(
            "compressed", 0.6, 1.5
        )
    make_run("g", "gcrn", "p2_structured", pipeline_config={"max_iterations": 9}).scores(
        "compressed", 0.6, 1.5
    )
    table = table_2(P2Evidence(load_jobs(run.folder.parent), reported))
    assert [column.key for column in table.columns if column.key.startswith("config:")] == [
        "config:pipeline.lambda_1"
    ]
    found = [
        row.get("config:pipeline.lambda_1")
        for row in table.rows
        if (row["name"], row["what"]) == ("FDNN_C", "ours")
    ]
    assert found == ["0.0", "1.0"]
    make_run("h", "gcrn", "p2_unstructured").scores("uncompressed", 0.6, 1.5)
    make_run("i", "gcrn", "p2_structured").scores("uncompressed", 0.5, 1.5)
    table = table_2(P2Evidence(load_jobs(run.folder.parent), reported))
    found = [
        row.get("config:pipeline")
        for row in table.rows
        if (row["name"], row["what"]) == ("GCRN_U", "ours")
    ]
    assert sorted(found) == ["p2_structured", "p2_unstructured"]


def test_another_method_than_the_papers_is_named(make_run, reported) -> None:
    run = make_run(
        "a", "lstm", task={"output": "mask", "feature": "magnitude", "dry": 0.2}
    ).scores("pruned", 0.6, 1.5)
    make_run("b", "fdnn", task={"output": "mapping", "dry": 0.0}).scores("pruned", 0.6, 1.5)
    notes = table_1(P2Evidence(load_jobs(run.folder.parent), reported)).notes
    assert "Not as in the paper: LSTM task.output=mask, task.dry=0.2." in notes
    assert not any(
        "Not as in" in note
        for note in table_1(P2Evidence(load_jobs(run.folder.parent / "b"), reported)).notes
    )


def test_another_pesq_mode_is_named_and_not_compared(make_run, reported) -> None:
    run = make_run("a").scores("compressed", 0.6, 1.5, metrics={"stoi": 0.6, "pesq_wb": 1.1})
    table = table_2(P2Evidence(load_jobs(run.folder), reported))
    row = _rows(table)["FDNN_C", "ours - published"]
    assert row["pesq_wb@-5.0"].mean is None and row["stoi@-5.0"].mean is not None
    assert any(column.title.startswith("PESQ (WB)") for column in table.columns)


@pytest.mark.usefixtures("undrawn")
def test_each_corpus_has_its_block_and_its_figure(make_run, tmp_path, reported) -> None:
    for place, fingerprint in enumerate(("a" * 64, "b" * 64)):
        stamp = {"corpus": "speech", "corpus_fingerprint": fingerprint}
        run = (
            make_run(f"r{place}")
            .scores("mixture", 0.5, 1.4, **stamp)
            .scores("uncompressed", 0.7, 2.0, **stamp)
        )
        run.iterations(0.8, 0.6).scores("compressed", 0.6 + 0.1 * place, 1.6, **stamp)
        run.scores("pruned", 0.6, 1.8, step="compress/0/score", **stamp)
    jobs = load_jobs(run.folder.parent)
    table = table_2(P2Evidence(jobs, reported))
    first, second = ([row for row in table.rows if sign * 12 in row["corpus"]] for sign in "ab")
    assert len(first) + len(second) == len(table.rows)
    ours = [
        [row["stoi@-5.0"].mean for row in rows if (row["name"], row["what"]) == ("FDNN_C", "ours")]
        for rows in (first, second)
    ]
    assert ours == [[pytest.approx(0.6)], [pytest.approx(0.7)]]
    # What was run nowhere is said once, and a published row stands in every block that has
    # something beside it.
    assert [row["what"] for row in first if row["name"] == "TCNN_C"] == ["published", "ours"]
    assert not [row for row in second if row["name"] == "TCNN_C"]
    assert [row["what"] for row in second if row["name"] == "FDNN_C"] == [
        "published",
        "ours",
        "ours - published",
    ]
    drawn = draw(P2Evidence(jobs, reported), tmp_path)
    assert [figure.csv.name for figure in drawn] == [
        f"p2_figure{number}-{place}-speech.csv" for number in (2, 3) for place in (1, 2)
    ]
    assert all(figure.csv.read_text().count("FDNN,1,") in (1, 2) for figure in drawn)
    assert "a" * 12 in drawn[0].caption and "a" * 12 not in drawn[1].caption


def test_a_row_no_better_than_the_mixture_is_marked(make_run, reported) -> None:
    run = (
        make_run("a")
        .scores("mixture", 0.5, 1.4)
        .scores("compressed", 0.5, 1.4)
        .size("compressed", nonzero=0, paper=1)
    )
    table = table_2(P2Evidence(load_jobs(run.folder), reported))
    assert _rows(table)["FDNN_C", "ours"]["remark"] == "no better than mixture"
    assert _rows(table)["FDNN_C", "published"].get("remark", "-") == "-"
    assert "Remark" in [column.title for column in table.columns]


def test_zero_biases_are_not_counted(make_run, reported) -> None:
    notes = " ".join(
        table_1(
            P2Evidence(load_jobs(make_run("a").scores("pruned", 0.6, 1.5).folder), reported)
        ).notes
    )
    assert "counts all parameters that are not zero, biases and normalisation too" in notes
