"""The example in the documentation of the package runs as it is printed."""

from __future__ import annotations

import re
import textwrap

import pytest
import torch

import audioprune.optim


def test_documented_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    block = audioprune.optim.__doc__.split("::\n", 1)[1].split("\n\nWhich groups", 1)[0]
    lines = [line for line in textwrap.dedent(block).strip().splitlines() if line.strip()]
    assert len(lines) <= 15
    torch.manual_seed(0)
    exec("\n".join(lines), {})
    zero, kept = map(
        int, re.fullmatch(r"zero units: (\d+)%, kept: (\d+)\n", capsys.readouterr().out).groups()
    )
    assert zero > 50 and kept == round(64 * (1 - zero / 100))
