"""Configurations are checked against the ranges and options of the signatures."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

import pytest
from omegaconf import OmegaConf

from audioprune import schema
from audioprune.errors import ConfigError
from audioprune.ranges import Range


def _config(value: Any, kind: Any, **metadata: Any) -> Any:
    node = make_dataclass("Kind", [("key", kind, field(default=None, metadata=metadata))])
    return OmegaConf.merge(OmegaConf.structured(node), {"key": value})


@pytest.mark.parametrize(
    ("limits", "good", "bad", "text"),
    [
        (Range(1), (1, 2.5), (0, -3), ">= 1"),
        (Range(0, 1), (0, 1), (-0.1, 1.1), ">= 0 and <= 1"),
        (Range(above=0, below=1), (0.5,), (0, 1), "> 0 and < 1"),
        (Range(), (-9, 9), (), "of any size"),
    ],
)
def test_a_number_lies_in_its_range(
    limits: Range, good: tuple[float, ...], bad: tuple[float, ...], text: str
) -> None:
    assert schema.range_text(limits) == text
    for value in good:
        schema.check(_config(value, float | None, range=limits))
    for value in bad:
        with pytest.raises(ConfigError, match=f"^key: expected a number {text}, got {value}"):
            schema.check(_config(float(value), float | None, range=limits))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite(value: float) -> None:
    with pytest.raises(ConfigError, match="^key: expected a finite number >= 1, got"):
        schema.check(_config(value, float | None, range=Range(1)))


def test_null_is_checked_by_its_type_alone() -> None:
    schema.check(_config(None, float | None, range=Range(1)))
    schema.check(_config(None, str | None, options=("a",)))


def test_every_number_and_name_of_a_list_is_checked() -> None:
    with pytest.raises(ConfigError, match="got 3"):
        schema.check(_config([1.0, 3.0], list[float] | None, range=Range(0, 2)))
    with pytest.raises(ConfigError, match="^key: unknown value 'adm'; closest: adam"):
        schema.check(_config(["adam", "adm"], list[str] | None, options=("adam", "sgd")))


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ConfigError, match="^key: expected a value, got none; give key="):
        schema.check(OmegaConf.create({"key": "???"}))
