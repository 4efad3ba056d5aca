"""``audioprune data``: check, prepare or list a corpus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioprune.data.splits.tree_check import check_tree
from audioprune.errors import DataError
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.model_io import instantiate


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Check the audio files of a folder, or prepare a corpus and say what it holds.

    Raises:
        DataError: A file is bad, or the same audio is in two splits.
    """
    plain = plain_values(config)
    if plain["action"] == "check" and plain["root"]:
        _check_folder(plain["root"])
        return
    corpus = instantiate(plain["data"])
    corpus.prepare()
    print(json.dumps(corpus.describe(), indent=1))
    if plain["action"] == "check":
        _check_leaks(corpus)
    if plain["action"] == "manifest":
        target = Path(plain["out"] or "manifest.jsonl")
        corpus.write_manifest(target)
        print(f"wrote {target}")


def _check_folder(root: str) -> None:
    """Print what is wrong with the audio files under a folder."""
    found = check_tree(Path(root))
    print("\n".join(found.lines()))
    if found.errors:
        leaks = sum(finding.code == "leak" for finding in found.errors)
        among = f", {leaks} leaks between splits" if leaks else ""
        raise DataError(
            f"{root}: {len(found.errors) - leaks} bad files of {found.files}{among}; see the "
            f"list above"
        )


def _check_leaks(corpus: Any) -> None:
    """Print what is, or may be, in several splits of a corpus."""
    found = corpus.leaks()
    certain = [finding for finding in found if finding.severity == "error"]
    for finding in found:
        print(finding.line())
    print(f"{len(certain)} leaks between splits, {len(found) - len(certain)} suspected")
    if certain:
        raise DataError(
            f"{len(certain)} files hold the same audio as a file of another split; see the list "
            f"above"
        )
