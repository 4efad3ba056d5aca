"""The platforms of Esling et al., Table 1, and what fits on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.errors import ConfigError
from audioprune.report.platforms import bounds, read_platforms

PLATFORMS = {platform.name: platform for platform in read_platforms()}


def test_numbers_are_those_of_the_table() -> None:
    rows = {
        name: (each.clock_hz, each.flops, each.drive_bytes, each.ram_bytes)
        for name, each in PLATFORMS.items()
    }
    assert list(rows) == ["ATMega1280", "ATMega2560", "RPi 1B", "RPi 2B"]
    assert rows["ATMega1280"] == (16e6, 160e3, 128e3, 8e3) and rows["ATMega2560"] == (
        32e6,
        320e3,
        256e3,
        16e3,
    )
    assert rows["RPi 1B"] == (700e6, 41e6, 256e6, 512e6) and rows["RPi 2B"] == (
        900e6,
        53e6,
        1e9,
        1e9,
    )


def test_bounds_of_full_size_models() -> None:
    assert not any(
        bounds(platform, 79.2e9, 1e7, 1.1e7).real_time for platform in PLATFORMS.values()
    )
    sing = 4 * 80_765_057
    assert not bounds(PLATFORMS["RPi 1B"], 1.0, sing, 4.27e8).embeddable
    assert bounds(PLATFORMS["RPi 2B"], 1.0, sing, 4.27e8).embeddable
    edge = bounds(PLATFORMS["ATMega1280"], 160e3, 128e3, 8e3 + 1)
    assert (edge.real_time, edge.fits_drive, edge.fits_memory, edge.embeddable) == (
        True,
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    "text",
    ["name: x", "name: x\nclock_hz: 1\nflops: -1\ndrive_bytes: 1\nram_bytes: 1", "[1, 2]", "a: ["],
)
def test_damaged_files_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match="mine.yaml: expected name, family and positive numbers clock_hz, flops"
    ):
        read_platforms(tmp_path)
