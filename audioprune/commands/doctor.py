"""``audioprune doctor``: say whether this machine has what audioprune needs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

from audioprune.errors import ConfigError, OutputError
from audioprune.files import check_writable
from audioprune.paths import cache_folder
from audioprune.terminal.records import Field, show_records
from audioprune.torchaudio_loader import describe_torchaudio

Check = dict[str, Any]
"""One row: ``name``, ``for`` (what needs it), ``found``, ``ok`` and, of a package, ``wanted``."""


_FIELDS = (
    Field("ok", "state", lambda ok: "ok" if ok else "missing"),
    Field("name", "what"),
    Field("wanted", "wanted"),
    Field("found", "found"),
    Field("for", "needed by"),
)


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Print all checks, as a table, JSON or CSV.

    Raises:
        ConfigError: Something required is missing.
    """
    checks = [*_packages(), *_machine(), *_folders()]
    python, cores = sys.version.split()[0], len(os.sched_getaffinity(0))
    whole = {"cores": cores, "python": python, "checks": checks}
    absent = _missing(checks)
    bad = {place: "bad" for place, row in enumerate(checks) if row["name"] in absent}
    title = f"python {python}, {cores} cores"
    show_records(config.format, checks, _FIELDS, whole, title, colours=bad)
    if absent:
        raise ConfigError(
            f"expected {', '.join(absent)}, missing or too old; run make install, or choose a "
            f"folder that can be written"
        )


def missing_packages() -> list[str]:
    """Return the required packages that are missing or too old."""
    return _missing(_packages())


def _missing(checks: Sequence[Check]) -> list[str]:
    return [row["name"] for row in checks if row["for"] == "required" and not row["ok"]]


def _packages() -> list[Check]:
    """Compare every declared dependency with what is installed."""
    try:
        declared = metadata.requires("audioprune") or []
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            "expected audioprune as an installed package, got a bare source folder; run make "
            "install"
        ) from error
    wishes = [Requirement(text) for text in declared]
    return [_package(wish) for wish in wishes if wish.name != "audioprune"]


def _package(wish: Requirement) -> Check:
    extra = re.search(r'extra == "(\w+)"', str(wish.marker or ""))
    try:
        found = metadata.version(wish.name)
    except metadata.PackageNotFoundError:
        found = ""
    return {
        "name": wish.name,
        "for": extra[1] if extra else "required",
        "wanted": str(wish.specifier),
        "found": found,
        "ok": bool(found) and wish.specifier.contains(found, prereleases=True),
    }


def _machine() -> list[Check]:
    compiler = shutil.which("gcc") or shutil.which("cc") or ""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    audio = describe_torchaudio()
    return [
        {
            "name": "import torchaudio",
            "for": "models of users",
            "found": audio,
            "ok": not audio.startswith("not importable"),
        },
        {"name": "C compiler", "for": "builds pesq", "found": compiler, "ok": bool(compiler)},
        {"name": "CUDA device", "for": "optional", "found": device, "ok": bool(device)},
    ]


def _folders() -> list[Check]:
    """Say how much room there is where runs and the cache are written."""
    rows: list[Check] = []
    for folder in (Path.cwd(), cache_folder()):
        try:
            check_writable(folder)
            found = f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free"
        except OutputError:
            found = ""
        name = f"folder {folder}"
        rows.append({"name": name, "for": "required", "found": found, "ok": bool(found)})
    return rows
