"""``audioprune data``: check, prepare or list a corpus."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audioprune.commands.messages import note
from audioprune.data.files.checks import Finding
from audioprune.data.splits.tree_check import check_tree
from audioprune.errors import DataError
from audioprune.experiment.config_hash import plain_values
from audioprune.terminal.records import Field, show_records
from audioprune.terminal.streams import plain as plain_text
from audioprune.terminal.streams import shown_form, width

_FIELDS = tuple(Field(key, key) for key in ("severity", "code", "path", "reason"))


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Check the audio files of a folder, or prepare a corpus and say what it holds.

    Raises:
        DataError: A file is bad, or the same audio is in two splits.
    """
    plain = plain_values(config)
    if plain["action"] == "check" and plain["root"]:
        _check_folder(plain["root"])
        return
    from audioprune.experiment.model_io import instantiate  # loads torch, which a folder needs not

    corpus = instantiate(plain["data"])
    corpus.prepare()
    findings = corpus.leaks() if plain["action"] == "check" else []
    about = corpus.describe()
    certain = sum(finding.severity == "error" for finding in findings)
    told = f"{certain} leaks between splits, {len(findings) - certain} suspected"
    checked = plain["action"] == "check"
    _show(findings, {"corpus": about}, _about(about), [told] if checked else [])
    if plain["action"] == "manifest":
        target = Path(plain["out"] or "manifest.jsonl")
        corpus.write_manifest(target)
        note(f"wrote {target}")
    if certain:
        raise DataError(
            f"{certain} files hold the same audio as a file of another split; see the list above"
        )


def _check_folder(root: str) -> None:
    """Print what is wrong with the audio files under a folder."""
    found = check_tree(Path(root))
    summary = found.lines()[-1]
    about = {"root": str(found.root), "files": found.files, "duration_s": found.duration_s}
    _show([*found.errors, *found.warnings], about, [], [summary])
    if found.errors:
        leaks = sum(finding.code == "leak" for finding in found.errors)
        among = f", {leaks} leaks between splits" if leaks else ""
        raise DataError(
            f"{root}: {len(found.errors) - leaks} bad files of {found.files}{among}; see the "
            f"list above"
        )


def _show(
    findings: Sequence[Finding], about: dict[str, Any], above: list[str], below: list[str]
) -> None:
    """Print findings, what they are about above them and a sum below."""
    rows = [{**asdict(finding), "path": str(finding.path)} for finding in findings]
    form = shown_form()
    if form != "table":
        show_records(form, rows, _FIELDS, {**about, "findings": rows})
        return
    for line in [*above, *(finding.line() for finding in findings), *below]:
        print(plain_text(line))


def _about(facts: dict[str, Any]) -> list[str]:
    """Return what a corpus says of itself, a line for each fact."""
    wide = max(map(len, facts), default=0)
    lines = []
    for key, value in facts.items():
        values = value if isinstance(value, list) and key == "notes" else [value]
        for number, each in enumerate(values):
            name = "" if number else key
            indent = " " * (wide + 2)
            first = f"{name:{wide}}  "
            text = _fact(each) or "-"
            lines += textwrap.wrap(text, width(), initial_indent=first, subsequent_indent=indent)
    return lines


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
