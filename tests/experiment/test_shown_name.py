"""Names that claim a size belong to models of that size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from composing import CONF, composed, hydra_started
from omegaconf import OmegaConf

from audioprune.experiment.presets import SIZES, shown_name

PLAIN = {"cp_resnet", "own"}


@pytest.fixture(scope="module")
def hydra() -> Iterator[None]:
    with hydra_started():
        yield


def _preset(name: str) -> dict[str, Any]:
    return OmegaConf.to_container(composed("train", f"model={name}").model, resolve=True)


def test_every_preset_with_a_size_in_its_name_is_known_and_has_that_size(hydra: None) -> None:
    names = {path.stem for path in (CONF / "model").glob("*.yaml")} - PLAIN
    assert set(SIZES) == {name for name in names if re.search(r"\d|_", name)}
    for name in SIZES:
        preset = _preset(name)
        assert {key: preset[key] for key in SIZES[name]} == SIZES[name]
        assert shown_name(preset, "Class") == name.upper()


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({"name": "resnet50", "depths": [1, 1, 1, 1], "width": 8}, "RESNET depths 1-1-1-1"),
        ({"name": "resnet50", "depths": [3, 4, 6, 3], "width": 8}, "RESNET50"),
        ({"name": "resnet50"}, "RESNET50"),
        ({"name": "fdnn_b", "width": 40, "depth": 2}, "RESNET width 40, depth 2"),
        ({"name": "fdnn", "width": 40}, "FDNN"),
        ({}, "RESNET"),
    ],
)
def test_other_sizes_are_named_by_their_arguments(config: dict[str, Any], shown: str) -> None:
    assert shown_name(config, "ResNet") == shown
