"""What the messages of corpora advise can be typed as it stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "audioprune" / "data"
KEYS = (
    *("split", "speaker_from", "recording_from", "noise_from", "babble_share", "hold_out"),
    *("lengths", "speaker_csv", "valid_share", "sample_rate"),
)
BARE = re.compile(rf"(?<![\w.])(?:{'|'.join(KEYS)})=")


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """Return the literal parts of all texts of a module, but for docstrings, with their lines."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def test_keys_are_named_as_they_are_typed() -> None:
    bare = [
        f"{file.name}:{line}: {text}"
        for file in sorted(DATA.rglob("*.py"))
        for line, text in _texts(file)
        if BARE.search(text)
    ]
    assert bare == []
