"""The pinned packages of ``make install``: all that it needs, each named once."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [_key(line.partition("==")[0]) for line in lines if re.match(r"[\w.-]+==", line)]


def _needed(name: str, extras: frozenset[str], found: set[tuple[str, frozenset[str]]]) -> None:
    """Add a package and what it brings on this platform."""
    if (_key(name), extras) in found:
        return
    found.add((_key(name), extras))
    for line in metadata.requires(name) or []:
        each = Requirement(line)
        if each.marker is None or any(
            each.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            _needed(each.name, frozenset(each.extras), found)


def test_every_package_that_is_installed_is_pinned_once() -> None:
    torch: set[tuple[str, frozenset[str]]] = set()
    _needed("torch", frozenset(), torch)
    found: set[tuple[str, frozenset[str]]] = set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *extras["test"], *extras["codec"]):
        _needed(Requirement(line).name, frozenset(Requirement(line).extras), found)
    beside_torch = {name for name, _ in found} - {name for name, _ in torch}
    pinned, others = _pinned("requirements.txt"), _pinned("constraints.txt")
    # two processes unpack torch and requirements.txt at the same time: they may share no package
    assert beside_torch <= set(pinned) and not set(pinned) & {name for name, _ in torch}
    assert len(pinned) == len(set(pinned)) and not set(pinned) & set(others)
