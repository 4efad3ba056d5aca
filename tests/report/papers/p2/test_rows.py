"""Which of our models is which row of Tan & Wang, and the published cells."""

from __future__ import annotations

import pytest

from audioprune.report.papers.p2.rows import P2Evidence, is_structured, row_name
from audioprune.report.published import read_reported
from audioprune.report.runs.entry import Entry

TABLE_1 = ("Mixture", "FDNN_P", "FDNN_B", "LSTM_P", "LSTM_B")


TABLE_2 = (
    "Mixture",
    *(f"{model}_{letter}" for model in ("FDNN", "LSTM", "TCNN", "GCRN") for letter in "UC"),
    "GCRN_C-SP",
)


def _published(reported, table: str):
    return P2Evidence((), reported).printed(table)


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
