"""The looks of figures: colours that stay apart for everyone, legends, lines of text."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from audioprune.report.figures.theme import (
    COLORS,
    GROUND,
    RAMPS,
    SHAPES,
    chosen_text,
    key_of,
    level_key,
    ramp,
    wrapped,
)

# How linear red, green and blue are seen without one kind of cone: Machado, Oliveira and
# Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def _lab(color: str, seen: str = "all cones") -> np.ndarray:
    """Return lightness and both hues (CIE 1976) of a colour as it is seen."""
    part = np.array(list(bytes.fromhex(color[1:]))) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = np.array(TO_XYZ) @ np.clip(np.array(SEEN[seen]) @ linear, 0, 1)
    ratio = xyz / (np.array(TO_XYZ) @ np.ones(3))
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("seen", SEEN)
def test_colours_stay_apart_whatever_cones_the_reader_has(seen: str) -> None:
    for (place, one), (other_place, other) in combinations(enumerate(COLORS), 2):
        apart = float(np.linalg.norm(_lab(one, seen) - _lab(other, seen)))
        assert apart > 12, (one, other, apart)
        assert SHAPES[place] != SHAPES[other_place]


@pytest.mark.parametrize("name", RAMPS)
def test_ramps_rise_or_fall_in_lightness_all_the_way(name: str) -> None:
    steps = np.diff([_lab(color)[0] for color in ramp(name, 12)])
    assert (steps > 0).all() or (steps < 0).all()


def test_every_colour_is_seen_on_the_ground() -> None:
    assert all(_lab(GROUND)[0] - _lab(color)[0] > 25 for color in COLORS)


def test_a_key_names_every_colour_shape_and_dash() -> None:
    names = [f"model {place}" for place in range(9)]
    key = key_of(names)
    channels = key.channels("color", "shape", "strokeDash")
    assert all(each["scale"]["domain"] == names for each in channels.values())
    looks = zip(*(each["scale"]["range"] for each in channels.values()), strict=True)
    assert len({str(look) for look in looks}) == 9
    assert level_key(["a", "b", "a"]).names == ("a", "b")


def test_long_names_are_broken_and_never_cut() -> None:
    name = "a name " * 30
    legend = key_of([name.strip()]).channels("color")["color"]["legend"]
    lines = wrapped(name.strip(), 290)
    assert " ".join(lines) == name.strip() and len(lines) > 1
    assert all(line in legend["labelExpr"] for line in lines)
    assert wrapped("x" * 100, 95) == ["x" * 20] * 5 and wrapped("", 10) == [""]


def test_a_text_is_chosen_by_its_value() -> None:
    told = chosen_text({1.0: "one", 'a"b': ["c", "d"]}, "datum.value")
    assert told == (
        'datum.value === 1.0 ? "one" : datum.value === "a\\"b" ? ["c", "d"] : datum.value'
    )
