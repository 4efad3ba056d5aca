"""What was read from the signatures is committed, and is still what they say."""

from __future__ import annotations

import pickle
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from audioprune import schema  # noqa: E402
from audioprune.schema.table import classes, kind_of, read_table, targets  # noqa: E402
from scripts import write_schema  # noqa: E402

REMEDY = "differs from the signatures; run `make schema` and commit what it writes"


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    return write_schema.read_all()


def test_the_committed_table_is_what_the_signatures_say(now: dict[str, Any]) -> None:
    written = write_schema.TABLE.read_text(encoding="utf-8")
    assert written == write_schema.table_text(now), f"{write_schema.TABLE.name} {REMEDY}"


def test_the_committed_options_are_what_the_configurations_say(now: dict[str, Any]) -> None:
    written = write_schema.OPTIONS.read_text(encoding="utf-8")
    found = write_schema.options_text(write_schema.read_options(now))
    assert written == found, f"{write_schema.OPTIONS.name} {REMEDY}"


def test_the_committed_page_is_what_the_signatures_say(now: dict[str, Any]) -> None:
    written = write_schema.PAGE.read_text(encoding="utf-8")
    assert written == write_schema.page_text(now), f"{write_schema.PAGE.name} {REMEDY}"


def test_every_key_has_a_meaning() -> None:
    for name, entry in read_table()["classes"].items():
        assert entry["meaning"], name
        for key, facts in entry["keys"].items():
            assert facts["type"].startswith("@") or facts["meaning"], f"{name}.{key}"


def test_every_option_has_a_class_and_every_class_its_keys() -> None:
    for options in read_table()["groups"].values():
        assert set(options.values()) <= set(classes())
    for name, kind in classes().items():
        assert is_dataclass(kind) and kind.__name__ == name
        assert [item.name for item in fields(kind)] == schema.keys_of(name)
    assert schema.keys_of("Unknown") == []


def test_lists_are_not_shared_between_configurations() -> None:
    kind = classes()["TrainingConfig"]
    assert kind().betas == [0.9, 0.999] and kind().betas is not kind().betas


def test_targets_are_the_classes_that_options_build() -> None:
    assert "audioprune.data.notes.nsynth.nsynth" in targets("data")
    assert "audioprune.models.fdnn.FDNN" in targets("model")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("int", int),
        ("float?", float | None),
        ("list[str]", list[str]),
        ("list[int]?", list[int] | None),
        ("dict[any]", dict[str, Any]),
    ],
)
def test_types_are_written_as_text(text: str, kind: Any) -> None:
    assert kind_of(text) == kind


def test_classes_are_exchanged_by_name() -> None:
    """A sweep's processes must not change the classes of the process that began them."""
    for each in classes().values():
        assert pickle.loads(pickle.dumps(each)) is each
