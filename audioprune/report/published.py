"""Where the published numbers of a paper come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import audioprune
from audioprune.errors import ConfigError
from audioprune.plain import yaml_text

Published = Mapping[str, Any]
"""The published facts of a paper, as its YAML file nests them."""


def read_reported(source: Published | str | Path | None, paper: str) -> Published:
    """Return a paper's published numbers.

    Args:
        source: The numbers themselves, a YAML file, a folder of them, or None for the file that
            the package ships.
        paper: Name of the file, such as ``"p2"``.

    Raises:
        ConfigError: There is no such file or it is not a mapping.
    """
    if isinstance(source, Mapping):
        return source
    path = Path(source) if source else _shipped_conf() / "reported"
    path = path / f"{paper}.yaml" if path.is_dir() else path
    try:
        value = yaml_text.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"expected a YAML file of published numbers, got {path} ({type(error).__name__}); "
            f"give reported=FILE"
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"expected a mapping of published numbers in {path}, got {type(value).__name__}; "
            f"correct the file"
        )
    return value


def _shipped_conf() -> Path:
    package = Path(audioprune.__file__).parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"
