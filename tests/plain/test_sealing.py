"""Records with checksums, and JSON within bounds."""

from __future__ import annotations

import json

import pytest

from audioprune.plain.sealing import opened, opened_lines, parse, refuse_deep, sealed, was_check


def test_a_record_comes_back_and_a_changed_one_does_not() -> None:
    record = {"a": 1.5, "é": [1, {"b": None}]}
    whole = sealed(record)
    assert list(whole) == ["a", "é", "check"] and len(whole["check"]) == 16
    assert opened(json.loads(json.dumps(whole))) == record
    assert opened({**whole, "a": 1.25}) is None and opened({**whole, "c": 1}) is None
    assert opened(record) == record  # of an older version
    assert opened({**record, "chgck": "0"}) is None
    assert opened(sealed(record, (0, 2)), (0, 2)) == record
    assert opened(sealed(record, (0, 2)), (0, 1)) is None


def test_lines_are_opened_by_their_place() -> None:
    rows = [{"n": n} for n in range(3)]
    lines = [json.dumps(sealed(row, (place, 3))) for place, row in enumerate(rows)]
    assert opened_lines("\n".join(lines) + "\n") == (rows, [])
    assert opened_lines("\n".join(lines[:2]) + "\n") == ([], [1, 2])
    assert opened_lines("\n".join([lines[1], lines[0], lines[2]])) == ([{"n": 2}], [1, 2])
    grown = [json.dumps({"n": 0}), json.dumps(sealed({"n": 1})), json.dumps({"n": 2}), "{cut"]
    assert opened_lines("\n".join(grown)) == ([{"n": 0}, {"n": 1}], [3, 4])
    assert opened_lines("") == ([], [])


def test_nested_json_is_refused() -> None:
    assert parse("[" * 64 + "]" * 64) and parse(b'{"a": [1]}') == {"a": [1]}
    for text in ("[" * 66 + "]" * 66, b"[" * 100_000, '{"a":' * 70 + "1" + "}" * 70):
        with pytest.raises(ValueError, match="nested|Expecting"):
            parse(text)
    refuse_deep([{}] * 1000)


def test_a_key_that_was_the_checksum_is_known() -> None:
    assert was_check("chfck") and not was_check("check") and not was_check("checks")
