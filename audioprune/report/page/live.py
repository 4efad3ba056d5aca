"""How an open page learns that it was written anew: a file beside it that names its version.

``write_version`` writes ``report.version.js`` while runs go on, and removes it with the last page.
The page asks for this file alone, from the disk that it came from; see templates/report_live.js.
"""

from __future__ import annotations

import json
from pathlib import Path

from audioprune.files import sha256, write_atomic


def version_of(text: str) -> str:
    """Return the version of a page: a digest of its text."""
    return sha256(text.encode("utf-8", "replace"))[:16]


def version_file(page: Path) -> Path:
    """Return the file that names the version of a page."""
    return page.with_suffix(".version.js")


def write_version(page: Path, version: str) -> None:
    """Write which version a page has, or remove the file where it has none.

    Args:
        page: The HTML file.
        version: Its version; empty for a page that does not change any more.
    """
    path = version_file(page)
    if version:
        write_atomic(path, f"window.audiopruneVersion({json.dumps(version)});\n")
    else:
        path.unlink(missing_ok=True)
