"""Reading schedule files: the shipped one, damaged ones, and numbers that YAML takes for words."""

from __future__ import annotations

from pathlib import Path

import pytest

from audioprune.distiller.reading import read, shipped
from audioprune.errors import ConfigError


def _file(folder: Path, text: str) -> Path:
    path = folder / "schedule.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_schedule_is_found_by_its_name() -> None:
    assert "dcae_sensitivity" in shipped()
    document = read("dcae_sensitivity")
    assert (
        document.values["policies"][0]["ending_epoch"] == 129
        and "dcae_sensitivity" in document.title
    )


def test_exponents_are_numbers_and_names_stay_texts(tmp_path: Path) -> None:
    text = "a: 1e-5\nb: '2.5E+3'\nc: [1e3, 3D, 2D]\nd: {e: .5e1}\n1: one\n"
    assert read(_file(tmp_path, text)).values == {
        "a": 1e-5,
        "b": 2500.0,
        "c": [1000.0, "3D", "2D"],
        "d": {"e": 5.0},
        "1": "one",
    }
    assert read({"x": {"lambda": "1e-5"}}).values == {"x": {"lambda": 1e-5}}


def test_every_place_knows_its_line(tmp_path: Path) -> None:
    document = read(
        _file(
            tmp_path, "version: 1\npruners:\n  p:\n    class: X\npolicies:\n  - a: 1\n  - b: 2\n"
        )
    )
    assert document.lines["pruners", "p", "class"] == 4 and document.lines["policies", 1] == 7
    assert str(document.error("wrong", "policies", 1, "c", "d")).endswith(
        "schedule.yaml, line 7: wrong"
    )
    assert str(document.error("wrong")).endswith("schedule.yaml: wrong")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "pruners:\npruner1:\nclass: 'SensitivityPruner'\n  sensitivities:\n   'G.enc "
            "blocks.0.conv.weight': 0\n",
            "line 4",
        ),
        ("a: [1, 2\nb: 3\n", "line 2"),
        ("a:\n\tb: 1\n", "line 2"),
        ("pruners:\n  p: {class: A}\n  p: {class: B}\n", "line 3: 'p' stands in line 2 already"),
        ("- a\n- b\n", "expected a mapping .* got list"),
        ("", "got NoneType"),
        ("a: !!python/object:os.system x\n", "line 1"),
    ],
)
def test_damaged_files_are_answered_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(_file(tmp_path, text))
    assert "\n" not in str(caught.value) and "schedule.yaml" in str(caught.value)


def test_missing_files_name_what_is_shipped(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match="unknown schedule 'dcae_sensitivty'; closest: dcae_sensitivity.*No such file",
    ):
        read("dcae_sensitivty")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ConfigError, match="it is no text"):
        read(tmp_path / "x.yaml")
