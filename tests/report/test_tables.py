"""How tables are printed: decimals, percent, missing cells, footnotes, escapes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from audioprune.report.model_tables import (
    condition_table,
    iteration_table,
    score_table,
    scores_csv,
)
from audioprune.report.runs.entries import entries
from audioprune.report.runs.entry import Value
from audioprune.report.runs.job import load_jobs
from audioprune.report.tables import (
    Column,
    Table,
    cell_text,
    csv_text,
    escape_latex,
    escape_markdown,
    few,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    unit_text,
    write_table,
)

COLUMNS = (
    Column("name", "Model"),
    Column("stoi", "STOI", "percent"),
    Column("size", "File", "mebibytes"),
)


def _table(*rows: dict, notes: tuple[str, ...] = ()) -> Table:
    return Table("t", "A table", COLUMNS, rows, notes)


@pytest.mark.parametrize(
    ("cell", "style", "text"),
    [
        (Value(0.75761), "percent", "75.76"),
        (Value(0.75761, 0.00123, 3), "percent", "75.76 ± 0.12"),
        (Value(0.5, 0.0, 3), "percent", "50.00"),
        (Value(1.638), "score", "1.64"),
        (Value(-0.000001), "score", "0.00"),
        (34.5397 * 2**20, "mebibytes", "34.54"),
        (4096, "mebibytes", "0.004"),
        (9054369, "params", "9.054"),
        (343.02, "times", "343.0x"),
        (1234567, "count", "1234567"),
        (Value(None, reason="silence"), "percent", "n/a"),
        (None, "text", "n/a"),
        ("not run", "percent", "not run"),
        (float("nan"), "score", "n/a"),
    ],
)
def test_cells(cell, style: str, text: str) -> None:
    assert cell_text(cell, style) == text


@pytest.mark.parametrize(
    ("cell", "style", "text"),
    [
        (0.79, "percent", "79.00 %"),
        (Value(0.5, 0.01), "percent", "50.00 ± 1.00 %"),
        (Value(None), "percent", "n/a"),
        (None, "percent", "n/a"),
        ("-", "percent", "-"),
        (8.0, "times", "8.0x"),
    ],
)
def test_a_unit_stands_behind_a_number_alone(cell, style: str, text: str) -> None:
    assert unit_text(cell, style) == text


def test_of_many_words_the_first_are_named() -> None:
    assert few("abcd", 2) == "a, b and 2 more" and few("ab", 2) == "a, b" and few("", 2) == ""


def test_markdown_lines_up_and_has_footnotes() -> None:
    rows = (
        {"name": "a|b*", "stoi": Value(0.5, n=10, n_valid=8), "size": None},
        {"name": "c", "stoi": Value(None, reason="silence")},
    )
    text = to_markdown(_table(*rows, notes=("One < two.",)))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert r"a\|b\*" in lines[2] and "50.00 [1]" in lines[2] and "n/a [2]" in lines[3]
    assert (
        "[1] 8 of 10 files valid" in text
        and "[2] n/a: silence" in text
        and "One &lt; two." in text
    )
    assert lines[1].split("|")[2].endswith(": ")


def test_markdown_and_latex_escapes() -> None:
    assert escape_markdown("a|b`c*<d>\ne") == "a\\|b\\`c\\*&lt;d> e"
    assert escape_latex("50% of $x_1 & #2 {a} ~ ^ \\") == (
        r"50\% of \$x\_1 \& \#2 \{a\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escape_latex("1 ± 2") == r"1 $\pm$ 2"
    assert escape_latex("-0.62") == "$-$0.62" and escape_latex("-") == "-"


def test_latex_is_booktabs() -> None:
    text = to_latex(
        _table(
            {"name": "FDNN_P", "stoi": Value(0.5, 0.01, 2), "size": Value(2**20, n=3, n_valid=2)},
            notes=("100 %",),
        )
    )
    assert r"\begin{tabular}{lrr}" in text and r"Model & STOI (\%) & File (MB) \\" in text
    assert r"FDNN\_P & 50.00 $\pm$ 1.00 & 1.00\textsuperscript{1} \\" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1
    assert r"\textsuperscript{1} 2 of 3 files valid" in text and r"100 \%" in text
    assert text.count("{") == text.count("}")


def test_csv_is_for_machines() -> None:
    rows = (
        {"name": "a, b", "stoi": Value(0.123456789, 0.01, 2), "size": 3 * 2**20},
        {"name": "c", "stoi": Value(None, reason="silence")},
    )
    read = list(csv.DictReader(io.StringIO(to_csv(_table(*rows)))))
    assert read[0] == {
        "Model": "a, b",
        "STOI (%)": "12.3457",
        "STOI (%) std": "1",
        "File (MB)": "3",
        "notes": "",
    }
    assert read[1]["STOI (%)"] == "n/a" and read[1]["notes"] == "STOI: n/a: silence"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t"])
def test_no_cell_of_a_csv_is_a_formula(sign: str) -> None:
    evil = f"{sign}cmd|' /C calc'!A0"
    read = list(csv.reader(io.StringIO(csv_text([evil, "b"], [[evil, -1.5], ["-", "-2.5"]]))))
    assert read == [[f"'{evil}", "b"], [f"'{evil}", "-1.5"], ["-", "-2.5"]]
    table = _table({"name": evil, "stoi": Value(-0.1), "size": None})
    (row,) = csv.DictReader(io.StringIO(to_csv(table)))
    assert next(csv.reader(io.StringIO(csv_text(["\r\x1b"], [])))) == ["␍␛"]
    assert row["Model"] == f"'{evil}" and row["STOI (%)"] == "-10"


def test_json_keeps_stored_units() -> None:
    read = json.loads(
        to_json(_table({"name": "a", "stoi": Value(0.5, 0.1, 2, 10, 9), "size": float("inf")}))
    )
    assert read["rows"][0]["stoi"] == {
        "mean": 0.5,
        "std": 0.1,
        "seeds": 2,
        "n": 10,
        "n_valid": 9,
        "reason": "",
    }
    assert read["rows"][0]["size"] is None and read["columns"][1]["title"] == "STOI"


def test_four_files_markdown_first(tmp_path: Path) -> None:
    files = write_table(_table({"name": "a"}), tmp_path / "new")
    assert [file.name for file in files] == ["t.md", "t.csv", "t.tex", "t.json"]
    before = [file.read_bytes() for file in files]
    assert [
        file.read_bytes() for file in write_table(_table({"name": "a"}), tmp_path / "new")
    ] == before


def test_each_corpus_has_a_block_of_its_own(make_run) -> None:
    for place, fingerprint in enumerate(("a" * 64, "b" * 64)):
        run = make_run(f"r{place}").scores(
            "compressed", 0.6 + 0.1 * place, 1.6, corpus="speech", corpus_fingerprint=fingerprint
        )
        run.row(key="c/0/p", kind="iteration", iteration=1, remaining_share=0.5)
    jobs = load_jobs(run.folder.parent)
    for table in (
        score_table(entries(jobs)),
        condition_table(entries(jobs)),
        iteration_table(jobs),
    ):
        text = to_markdown(table)
        first, second = (text.index(f"Corpus: speech (fingerprint {sign * 12})") for sign in "ab")
        assert text.count("| Model") == 2 and text[first:second].count("\n\n") >= 2
        assert to_latex(table).count(r"\multicolumn") == 2
        read = list(csv.DictReader(io.StringIO(to_csv(table))))
        assert [row["corpus"][-13:-1] for row in read] == ["a" * 12] * (len(read) // 2) + [
            "b" * 12
        ] * (len(read) // 2)
        assert json.loads(to_json(table))["rows"][0]["corpus"].startswith("Corpus: speech")
    long = list(csv.DictReader(io.StringIO(scores_csv(jobs))))
    assert {(row["corpus"], row["corpus_fingerprint"]) for row in long} == {
        ("speech", "a" * 64),
        ("speech", "b" * 64),
    }


def test_a_single_corpus_is_named_too() -> None:
    text = to_markdown(_table({"name": "x", "corpus": "Corpus: speech (fingerprint 1)"}))
    assert text.count("Corpus: speech (fingerprint 1)") == 1 and text.count("| Model") == 1
