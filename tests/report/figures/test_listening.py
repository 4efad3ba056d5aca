"""Tables and figures of ratings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_runs import same_bytes, size_of

from audioprune.listening.ratings import RatingSheet
from audioprune.listening.scores import Rating
from audioprune.listening.statistics import statistics
from audioprune.report.figures.listening import listening_tables, write_listening
from audioprune.report.tables import to_csv, to_markdown

SCORES = {"ann": (100, 60, 50), "bob": (92, 80, 60), "cy": (70, 90, 70)}


def _statistics(scores: dict[str, tuple[float, ...]] = SCORES, test: str = "my test") -> dict:
    names = ("reference", "DCAE", "coded")
    return statistics(
        RatingSheet(
            [
                Rating(test, who, "i1", name, own[at])
                for who, own in scores.items()
                for at, name in enumerate(names)
            ]
        )
    )


def test_means_are_printed_as_worked_out() -> None:
    # DCAE of all listeners: 60, 80, 90: mean 76.67, sd 15.28; t(0.975, 2) = 4.3027; half = 4.3027
    # * 15.275 / sqrt(3) = 37.95.
    means, differences, screening, items = map(to_csv, listening_tables(_statistics()))
    assert "my test,all,DCAE,3,76.6667,15.2753,38.7208,114.612,3,38.7208,114.612," in means
    # DCAE - coded: 10, 20, 20: mean 16.67, sd 5.77.
    assert "my test,all,DCAE - coded,3,16.6667,5.7735,2.32449,31.0088,3," in differences
    assert "my test,cy,1,100,n/a,hidden reference below 90 in 100% of the items" in screening
    assert "my test,without flagged,i1,coded,2,55," in items


def test_one_listener_says_not_available() -> None:
    means = to_markdown(listening_tables(_statistics({"ann": (100, 60, 50)}))[0])
    assert "n/a" in means and "60.00" in means and "nan" not in means.lower()


@pytest.mark.slow
def test_files_are_written_and_repeat(tmp_path: Path) -> None:
    written = write_listening(_statistics(), tmp_path / "a")
    names = [path.name for path in written]
    assert {
        "listening_means.md",
        "listening_differences.tex",
        "listening_screening.csv",
        "listening_items.json",
    } <= set(names)
    assert {
        "listening_means-my-test.png",
        "listening_differences-my-test.png",
        "statistics.json",
    } <= set(names)
    assert (
        json.loads((tmp_path / "a" / "statistics.json").read_text())["tests"][0]["listeners"] == 3
    )
    again = write_listening(_statistics(), tmp_path / "b")
    assert [same_bytes(path) for path in again] == [same_bytes(path) for path in written]
    for path in written:
        if path.suffix == ".png":
            assert size_of(path)[0] > 400


@pytest.mark.parametrize("scores", [{"ann": (100, 60, 50)}, {"cy": (10, 90, 70)}])
def test_figures_of_one_listener_or_none_left(
    scores: dict[str, tuple[float, ...]], tmp_path: Path
) -> None:
    names = [path.name for path in write_listening(_statistics(scores, test=""), tmp_path)]
    assert "listening_means-test.png" in names and "listening_differences-test.png" in names
