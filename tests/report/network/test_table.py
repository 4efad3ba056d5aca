"""Layers as a table that fits a terminal."""

from __future__ import annotations

import pytest
from network_facts import FACTS, layer

from audioprune.report.network.table import (
    WIDTH,
    bytes_text,
    closing_text,
    group_text,
    layer_table,
    number_text,
    removable_text,
    shortened,
)


def test_every_line_fits_and_every_layer_is_there() -> None:
    long = layer("a" * 60, reason="it meets " + "something " * 30, type="ConvTranspose2d")
    lines = layer_table({**FACTS, "layers": [*FACTS["layers"], long]}).splitlines()
    assert max(map(len, lines)) <= WIDTH
    row = next(line for line in lines if line.startswith("inner"))
    assert row.split() == ["inner", "Linear", "1", "8", "1.23", "kB", "456", "k", "yes"]
    assert "outer                      Linear           -     -" in "\n".join(lines)
    assert "    1  8 units, written by inner, read by outer" in lines


def test_what_is_said_of_layers_and_groups() -> None:
    assert removable_text(layer("a", reason="it leaves the model")) == "no: it leaves the model"
    assert removable_text(layer("a", removable=True, tied_to=["b", "c"])) == "yes, with b, c"
    tied = layer("a", removable=True, tied_to=list("bcdefg"))
    assert removable_text(tied) == "yes, with b, c, d, e and 2 more"
    crossed = {**FACTS["groups"][0], "exact": False, "read_by": []}
    assert group_text(crossed).endswith(
        "read by nothing; taking them out is not the same as setting them to zero"
    )
    known = {**crossed, "why_inexact": "'softmax' weighs its units against one another"}
    assert group_text(known).endswith(
        "to zero, for 'softmax' weighs its units against one another"
    )


def test_how_small_it_can_get() -> None:
    assert closing_text(FACTS) == (
        "2,000 parameters, 8.00 kB as fp32; units (derived and proved) can take out up to 75.0 %, "
        "down to 500 parameters"
    )
    assert "no units can be removed" in closing_text({**FACTS, "groups": []})
    assert "declared by the model" in closing_text({**FACTS, "source": "declared"})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (45678, "45.7 k"), (999_600, "1.00 M")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_bytes_and_long_names() -> None:
    assert bytes_text(12) == "12 B" and bytes_text(5e6) == "5.00 MB"
    assert shortened("encoder.layers.12.weight", 12) == "enc...weight"
    assert len(shortened("x" * 40, 26)) == 26 and shortened("short", 26) == "short"
