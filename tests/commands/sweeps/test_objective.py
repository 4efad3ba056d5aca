"""What a job returns: which row, which column, which sign."""

from __future__ import annotations

from typing import Any

import pytest

from audioprune.commands.sweeps.objective import Objective, drop
from audioprune.errors import ConfigError


def _score(step: str, variant: str, condition: str, stoi: float | None) -> dict[str, Any]:
    row = {"key": f"{step}/{condition}", "kind": "score", "variant": variant}
    return {**row, "condition": condition, "metrics": {"stoi": stoi, "lsd": 2.0}}


def _size(step: str, variant: str, size: int) -> dict[str, Any]:
    return {"key": f"{step}/size", "kind": "size", "variant": variant, "bytes_file": size}


ROWS = [
    {"key": "train", "kind": "train", "best": 0.25, "monitor": "loss"},
    _score("mixture", "mixture", "a", 0.1),
    _score("dense", "uncompressed", "a", 0.8),
    _score("dense", "uncompressed", "b", 0.9),
    _size("dense", "uncompressed", 1000),
    _score("c/0/score", "pruned", "a", 0.5),
    _size("c/0/score", "pruned", 600),
    _score("pruned", "pruned", "a", 0.7),
    _score("pruned", "pruned", "b", 0.75),
    _size("pruned", "pruned", 500),
    _score("packed", "compressed", "a", 0.6),
    _score("packed", "compressed", "b", 0.7),
    _size("packed", "compressed", 90),
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bytes_file", 90),
        ("bytes_file@pruned", 500),
        ("bytes_file@uncompressed", 1000),
        ("stoi", 0.65),
        ("-stoi", -0.65),
        ("stoi/b", 0.7),
        ("stoi@pruned", 0.725),
        ("-stoi@pruned/a", -0.7),
        ("drop_stoi", 0.2),
        ("drop_stoi@pruned/b", 0.15),
        ("-drop_stoi", -0.2),
        ("best", 0.25),
    ],
)
def test_an_objective_names_one_number_of_a_run(text: str, value: float) -> None:
    assert Objective.parse(text).value(ROWS) == pytest.approx(value, abs=1e-12)


def test_a_drop_is_above_zero_where_a_score_got_worse() -> None:
    assert drop("stoi", 0.8, 0.5) == pytest.approx(0.3)
    assert drop("lsd", 2.0, 3.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "rows", "told"),
    [
        ("bytes_fil", ROWS, "unknown column 'bytes_fil'; closest: bytes_file"),
        ("stoi@prund", ROWS, "unknown variant 'prund'; closest: pruned"),
        ("stoi/c", ROWS, "unknown test condition 'c'"),
        ("drop_stoi", ROWS[5:], "expected the scores of the uncompressed model, got none"),
        ("stoi", [_score("p", "compressed", "a", None)], "got none under a"),
        ("stoi", [], "unknown column 'stoi'"),
    ],
)
def test_what_a_run_does_not_have_is_named(text: str, rows: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=None) as caught:
        Objective.parse(text).value(rows)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a b", "--stoi", "stoi@", "stoi@/x"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a name such as"):
        Objective.parse(text)


def test_a_metric_that_is_not_measured_is_refused_before_the_run() -> None:
    Objective.parse("-stoi").check(["stoi"])
    Objective.parse("bytes_file").check(["stoi"])
    Objective.parse("accuracy").check([])
    with pytest.raises(ConfigError, match="expected one of scoring.metrics .stoi., got pesq_wb"):
        Objective.parse("drop_pesq_wb").check(["stoi"])
    with pytest.raises(ConfigError, match="unknown metric 'sto'; closest: stoi"):
        Objective.parse("drop_sto").check(["stoi"])
