"""Published numbers: read, and refused where they are no mapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.errors import ConfigError
from audioprune.report.published import read_reported


def test_published_numbers_are_read_and_refused(tmp_path: Path) -> None:
    assert read_reported({"a": 1}, "p2") == {"a": 1}
    (tmp_path / "p2.yaml").write_text("a: 2\n")
    assert read_reported(tmp_path, "p2") == {"a": 2} == read_reported(tmp_path / "p2.yaml", "p2")
    (tmp_path / "p2.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        read_reported(tmp_path, "p2")
    with pytest.raises(ConfigError, match="give reported=FILE"):
        read_reported(tmp_path / "none.yaml", "p2")
