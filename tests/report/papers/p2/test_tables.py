"""Tables 1 and 2 and Figures 2 and 3 of Tan & Wang: row names, published numbers, differences, rows that were not run."""

from __future__ import annotations

import pytest

from audioprune.errors import DataError
from audioprune.report.figures.remaining import remaining_lines
from audioprune.report.paper import write_paper
from audioprune.report.papers.p2.figures import draw, figure_2, figure_3
from audioprune.report.papers.p2.paper import PAPER
from audioprune.report.papers.p2.rows import P2Evidence, is_regularised, is_structured, row_name
from audioprune.report.papers.p2.tables import table_1, table_2
from audioprune.report.published import read_reported
from audioprune.report.request import Request
from audioprune.report.runs.entry import Entry, Value
from audioprune.report.runs.job import load_jobs
from audioprune.report.tables import to_markdown

TABLE_1 = ("Mixture", "FDNN_P", "FDNN_B", "LSTM_P", "LSTM_B")
TABLE_2 = (
    "Mixture",
    *(f"{model}_{letter}" for model in ("FDNN", "LSTM", "TCNN", "GCRN") for letter in "UC"),
    "GCRN_C-SP",
)


def _published(reported, table: str):
    return P2Evidence((), reported).printed(table)


def _both(folder, jobs, reported):
    evidence = P2Evidence(jobs, reported)
    return figure_2(folder, evidence), figure_3(folder, evidence)


@pytest.fixture(scope="module")
def reported():
    return read_reported(None, "p2")


@pytest.mark.parametrize(
    ("model", "variant", "pipeline", "name"),
    [
        ("fdnn", "uncompressed", "p2_unstructured", "FDNN_U"),
        ("fdnn", "pruned", "p2_unstructured", "FDNN_P"),
        ("fdnn_b", "uncompressed", "train", "FDNN_B"),
        ("lstm", "baseline", "train", "LSTM_B"),
        ("fdnn_b", "compressed", "p2_unstructured", None),
        ("gcrn", "compressed", "p2_structured", "GCRN_C-SP"),
        ("gcrn", "uncompressed", "p2_structured", "GCRN_U"),
        ("gcrn", "file", "evaluate", None),
        ("dcae", "compressed", "p1", None),
    ],
)
def test_row_names(model: str, variant: str, pipeline: str, name: str | None) -> None:
    assert row_name(Entry(model.upper(), variant, model, pipeline)) == name
    assert row_name(Entry("Mixture", "mixture")) == "Mixture"


def test_pipelines_by_name() -> None:
    assert (
        is_structured("p2_structured")
        and is_structured("gcrn-sp")
        and not is_structured("p2_unstructured")
    )


def test_every_published_cell_has_a_source(reported) -> None:
    for table, names in (("table_1", TABLE_1), ("table_2", TABLE_2)):
        rows = _published(reported, table)
        assert tuple(rows) == names
        for row in rows.values():
            assert row["source"] and len(row["stoi_percent"]) == len(row["pesq"]) == len(
                reported["snr_db"]
            )
    assert rows["TCNN_C"]["storage_mb"] == 0.56
    demo = {row["name"]: row for row in reported["demo"]["rows"]}
    assert demo["TCNN_C"]["storage_mb"] == 0.94 and demo["TCNN_C"]["source"]
    assert any("0.94 MB" in item["text"] for item in reported["conflicts"])


def test_published_rates_agree_with_published_sizes(reported) -> None:
    rows = _published(reported, "table_2")
    for name, row in rows.items():
        if name.endswith(("_C", "_C-SP")):
            whole = rows[f"{name.split('_')[0]}_U"]["storage_mb"]
            # Both are rounded, the storage to 0.01 MB.
            low, high = whole / (row["storage_mb"] + 0.005), whole / (row["storage_mb"] - 0.005)
            assert low - 0.5 <= row["compression_rate"] <= high + 0.5


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


def _pruning_runs(make_run):
    for strength in (0.0, 2.0):
        for seed in (0, 1):
            run = make_run(
                f"l{strength}-{seed}", seed=seed, pipeline_config={"lambda_1": strength}
            ).scores("mixture", 0.5, 1.4)
            run.scores("uncompressed", 0.7, 2.0).iterations(
                0.8 - 0.02 * seed, 0.6 - 0.1 * strength
            )
            for place in range(2):
                run.scores("pruned", 0.68 - 0.1 * place, 1.9, step=f"compress/{place}/score")
    make_run("broken", seed=9, pipeline_config={"lambda_1": 2.0}).status("failed", "x")
    return load_jobs(run.folder.parent)


def test_parameters_left_per_iteration(make_run) -> None:
    jobs = _pruning_runs(make_run)
    assert [is_regularised(job) for job in jobs if job.seed == 0] == [False, True]
    (line,) = remaining_lines([job for job in jobs if not is_regularised(job)])
    assert line.name == "FDNN" and [x for x, _ in line.points] == [0, 1, 2]
    assert line.points[0][1] == Value(1.0, None, 2)
    assert line.points[1][1].mean == pytest.approx(0.79) and line.points[1][
        1
    ].std == pytest.approx(0.02 / 2**0.5)
    assert [line.name for line in remaining_lines(jobs)] == [
        "FDNN (lambda_1=0.0)",
        "FDNN (lambda_1=2.0)",
    ]


def test_figures_2_and_3(make_run, tmp_path, reported) -> None:
    jobs = _pruning_runs(make_run)
    second, third = _both(tmp_path, jobs, reported)
    text = second.csv.read_text()
    assert (
        "(a) without sparse regularisation,FDNN,0,100" in text
        and '(b) with sparse regularisation,FDNN,2,40,0,2,"desk' in text
    )
    text = third.csv.read_text()
    assert (
        '"(a) STOI, without regularisation",FDNN,0,70' in text
        and '"(d) PESQ (raw NB), with regularisation",Unprocessed,,1.4' in text
    )
    assert "from 70.00 to 58.00" in third.alt


def test_figures_need_iterations(make_run, tmp_path) -> None:
    jobs = load_jobs(make_run("a").scores("compressed", 0.6, 1.5).folder)
    with pytest.raises(DataError, match="expected runs with pruning iterations"):
        write_paper(PAPER, Request(jobs, tmp_path, only=("figures",)))


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


def test_panels_keep_the_letters_of_the_paper(make_run, tmp_path, reported) -> None:
    run = (
        make_run("a", pipeline_config={"lambda_1": 2.0})
        .scores("uncompressed", 0.7, 2.0)
        .iterations(0.8)
    )
    jobs = load_jobs(run.scores("pruned", 0.68, 1.9, step="compress/0/score").folder)
    second, third = _both(tmp_path, jobs, reported)
    assert "(b) with sparse" in second.csv.read_text() and "(a)" not in second.csv.read_text()
    text = third.csv.read_text()
    assert (
        "(b) STOI, with" in text
        and "(d) PESQ (raw NB), with" in text
        and "(a)" not in text
        and "(c)" not in text
    )


def test_zero_biases_are_not_counted(make_run, reported) -> None:
    notes = " ".join(
        table_1(
            P2Evidence(load_jobs(make_run("a").scores("pruned", 0.6, 1.5).folder), reported)
        ).notes
    )
    assert "counts all parameters that are not zero, biases and normalisation too" in notes
