"""A disk that is full at any write, too small, or read-only: one line, and nothing is harmed."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.crashes import Ended, Trial, carry_out, limit_files
from faults.disks import Disk
from faults.given import VERBS, pipeline_trial, verb_trial
from faults.record import record
from faults.verbs import Given

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm", "one_thread")]
OF_PAPERS = ("p1_sensitivity", "p2_unstructured", "p3_mask", "p4_proxsg")
SAID = ("disk full writing", "cannot write", "needs about")
ON_DISK = 3
"""Writes of each trial before which the disk becomes full."""


def refused(ended: Ended, *told: object) -> bool:
    """Require one line and code 5; tell whether the command ended so, rather than well."""
    assert "Traceback" not in ended.text, (*told, ended.text)
    if ended.code in (0, 1) and "error: " not in ended.text:  # what failed costs time alone
        return False
    lines = [line for line in ended.text.splitlines() if "error: " in line]
    if "sweep: " in ended.text:  # every job that failed has a line
        assert ended.code in (1, 5), (*told, ended.code, ended.text)
    else:
        assert ended.code == 5 and len(lines) == 1, (*told, ended.code, ended.text)
    for line in lines:
        assert any(words in line for words in SAID), (*told, line)
    return True


def full_at_some_writes(trial: Trial, disk: Disk, *told: object) -> int:
    """Fill the disk before some writes; return after how many the command said so."""
    said = 0
    for at in trial.positions(ON_DISK):
        folder, ended = trial.disturbed(at, disk.fill)
        said += refused(ended, *told, at)
        left = [path for path in folder.rglob("*") if ".tmp." in path.name and path.is_file()]
        assert not left, (*told, at, left)
        disk.empty()
        trial.resume(folder, *told, at)
    return said


@pytest.mark.faults("C6")
@pytest.mark.parametrize("name", OF_PAPERS)
def test_a_pipeline_survives_a_full_disk(disk: Disk, name: str) -> None:
    said = full_at_some_writes(pipeline_trial(name, disk.folder), disk, name)
    assert said >= ON_DISK - 1
    record("C6", f"`{name}`: full before {ON_DISK} writes each, then the same bits")


@pytest.mark.faults("C6")
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_survives_a_full_disk(given: Given, disk: Disk, name: str) -> None:
    full_at_some_writes(verb_trial(given, name, disk.folder), disk, name)
    record("C6", f"`{name}`: full before {ON_DISK} writes, then the same files")


@pytest.mark.faults("C6")
@pytest.mark.parametrize("name", ["p2_unstructured", "p3_mask"])
def test_a_file_that_may_not_grow_is_a_full_disk(place: Path, name: str) -> None:
    trial = pipeline_trial(name, place)
    for at in trial.positions(3, seed=4):
        folder, ended = trial.disturbed(at, limit_files)
        assert refused(ended, at)
        trial.resume(folder, at)
    record("C6", "a limit of the size of files, for any user: the same line")


@pytest.mark.faults("C6")
@pytest.mark.parametrize("name", ["train", "data", "enhance"])
def test_a_small_disk_is_refused(given: Given, small_disk: Disk, name: str) -> None:
    ended = carry_out(given.command(name), small_disk.folder / "trial")
    if name == "enhance":  # six short files fit
        assert ended.code == 0, ended.text
        return
    assert refused(ended)
    left = [path.name for path in small_disk.folder.rglob("*") if ".tmp." in path.name]
    assert not left
    record("C6", "a disk of 2 MB: refused before the work")


@pytest.mark.faults("C7")
@pytest.mark.parametrize("name", VERBS)
def test_a_folder_that_can_only_be_read_is_refused(given: Given, disk: Disk, name: str) -> None:
    folder = disk.folder / "trial"
    folder.mkdir()
    given.prepare(name)(folder)
    disk.close()
    ended = carry_out(given.command(name), folder)
    disk.open()
    assert refused(ended, name), ended.text
    assert "epoch" not in ended.text, "it had begun to train"
    record("C7", f"`{name}`: one line and code 5")
