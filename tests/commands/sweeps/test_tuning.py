"""What a trial is worth, what Optuna is told of it, and what is said at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from audioprune.commands.sweeps import tuning
from audioprune.commands.sweeps.tuning import JOURNAL, Measured, measure, read_journal
from audioprune.errors import ConfigError
from audioprune.files import append_line

TUNE = {"metric": "stoi", "size": "bytes_file", "max_drop": 0.5}


def _rows(stoi: float, size: int, dense: str = "uncompressed") -> list[dict[str, Any]]:
    found = []
    for step, variant, value, file in (("d", dense, 0.75, 1000), ("c", "compressed", stoi, size)):
        found += [
            {"key": f"{step}/a", "variant": variant, "condition": "a", "metrics": {"stoi": value}},
            {"key": f"{step}/size", "variant": variant, "bytes_file": file},
        ]
    return found


def _measured(size: float, drop: float) -> Measured:
    return Measured(size, 1000, 0.7, 0.75, drop, 0.5)


@pytest.mark.parametrize(("stoi", "drop"), [(0.745, 0.5), (0.744, 0.6), (0.76, -1.0)])
def test_the_drop_is_in_the_unit_of_the_tables(stoi: float, drop: float) -> None:
    found = measure(_rows(stoi, 90), TUNE)
    assert found == Measured(90, 1000, stoi, 0.75, drop, 0.5)
    assert found.keeps == (drop <= 0.5)


def test_a_model_given_compressed_is_what_the_drop_is_measured_against() -> None:
    assert measure(_rows(0.745, 90, "as given"), TUNE).drop == 0.5
    with pytest.raises(ConfigError, match="expected a pipeline that scores the uncompressed"):
        measure(_rows(0.745, 90, "other"), TUNE)


def test_every_trial_within_the_bound_beats_every_one_beyond_it() -> None:
    within = [_measured(1000, 0.5), _measured(10, 0.4)]
    beyond = [_measured(10, 0.6), _measured(5, 3.0), _measured(2000, 4.0)]
    for one in within:
        assert one.told() == [one.size, one.drop]
        for other in beyond:
            assert all(a < b for a, b in zip(one.told(), other.told(), strict=True))
    told = [each.told() for each in beyond]
    assert told == sorted(told) and [each[1] for each in told] == [0.6, 3.0, 4.0]


def test_the_journal_tells_the_newest_of_every_trial(tmp_path: Path) -> None:
    file = tmp_path / JOURNAL
    for event in (
        {"trial": 0, "key": "x", "value": "4", "distribution": "D"},
        {"trial": 1, "key": "x", "value": "8", "distribution": "D"},
        {"trial": 0, "state": "FAIL", "values": []},
        {"trial": 0, "state": "COMPLETE", "values": [1.0, 2.0]},
    ):
        append_line(file, event)
    found = read_journal(file)
    assert found[0] == {
        "params": {"x": "4"},
        "distributions": {"x": "D"},
        "state": "COMPLETE",
        "values": [1.0, 2.0],
    }
    assert found[1]["state"] == ""


def test_the_command_of_a_trial_says_nothing_of_the_sweep() -> None:
    words = ["pipeline.levels=8", "+tune=smallest", "tune.max_drop=1", "data.snr=[-5]"]
    told = tuning.command_of("prune", words)
    assert told == "audioprune prune pipeline.levels=8 'data.snr=[-5]'"


def test_keys_that_a_sweep_varies_are_known() -> None:
    words = ["seed=0,1", "+a.b=choice(1,2)", "data.utterance_s=[1,2]", 'root="/a,b"', "x=1"]
    words.append("title='a','b'")
    root = OmegaConf.create({"hydra": {"overrides": {"task": words}}})
    assert tuning.swept_keys(root) == ["seed", "a.b", "title"]
