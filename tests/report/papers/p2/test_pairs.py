"""Two models compared: what was taken out, and what was set by hand."""

from __future__ import annotations

from p2_runs import given_job

from audioprune.experiment.rows import SizeRow
from audioprune.report.claims import (
    Side,
)
from audioprune.report.papers.p2.pairs import set_by_hand, taken_out


def test_a_trimmed_share_is_that_of_the_bytes() -> None:
    assert taken_out(SizeRow.read({"bytes_uncompressed": 400, "bytes_fp32": 100})) == 0.75
    assert taken_out(SizeRow.read({"bytes_uncompressed": 0, "bytes_fp32": 100})) == 0.0
    assert (
        taken_out(SizeRow.read({"bytes_uncompressed": 400})) == 0.0
        and taken_out(SizeRow.read({"bytes_uncompressed": 400, "bytes_fp32": 0})) == 1.0
    )


def test_a_sparsity_is_given_where_no_analysis_found_it() -> None:
    found = given_job(
        "a", {"sparsity": 0.9, "alpha_1": 0.1}, {"sparsity": None}, {}, {"sparsity": float("nan")}
    )
    assert set_by_hand(Side("x", (found,))) == ""
    by_hand = given_job("b", {"sparsity": 0.8}, {"sparsity": 0.25}, {"sparsity": 0.8})
    assert (
        set_by_hand(Side("x", (found, by_hand))) == "the sparsity of x was set by hand (0.25, 0.8)"
    )
