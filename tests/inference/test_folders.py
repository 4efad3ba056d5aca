"""A folder is worked through once; bad files are told, the same command does what is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_enhancers import recording

from audioprune.errors import ConfigError, DataError, OutputError
from audioprune.files import write_atomic
from audioprune.inference import folders
from audioprune.inference.folders import Plan, Work, work_through

CALLS: list[str] = []


def _begin(request: Any) -> Work:
    def work(source: Path, target: Path) -> Mapping[str, Any]:
        CALLS.append(source.name)
        if "bad" in source.name:
            raise DataError(f"{source}: bad")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(request)
        return {"line": str(target)}

    return work


def _plan(folder: Path, **options: Any) -> Plan:
    given = {"made_by": "1", **options}
    return Plan(folder / "in", folder / "out", lambda name: name, "log.jsonl", **given)


def _run(plan: Plan, request: str = "x", jobs: int = 1) -> tuple[int, int, int, list[str]]:
    CALLS.clear()
    found = work_through(plan, _begin, request, jobs=jobs, tell=lambda line: None)
    return len(found.done), found.skipped, len(found.failed), sorted(CALLS)


def test_a_tree_is_mirrored_and_resumed(tmp_path: Path) -> None:
    for name in ("a.wav", "sub/b.wav", "bad.wav"):
        recording(tmp_path / "in" / name, 0.01)
    assert _run(_plan(tmp_path)) == (2, 0, 1, ["a.wav", "b.wav", "bad.wav"])
    assert (tmp_path / "out/sub/b.wav").read_text() == "x"
    assert _run(_plan(tmp_path)) == (0, 2, 1, ["bad.wav"])
    (tmp_path / "out/a.wav").unlink()
    (tmp_path / "out/sub/b.wav").write_text("cut short")
    assert _run(_plan(tmp_path)) == (2, 0, 1, ["a.wav", "b.wav", "bad.wav"])
    assert _run(_plan(tmp_path, made_by="2"), "y")[0] == 2
    recording(tmp_path / "in/a.wav", 0.02)
    assert _run(_plan(tmp_path, made_by="2"))[3] == ["a.wav", "bad.wav"]


def test_a_file_of_someone_else_stays(tmp_path: Path) -> None:
    recording(tmp_path / "in/a.wav", 0.01)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.wav").write_text("mine")
    assert _run(_plan(tmp_path)) == (0, 0, 1, [])
    assert (tmp_path / "out/a.wav").read_text() == "mine"
    assert _run(_plan(tmp_path, overwrite=True)) == (1, 0, 0, ["a.wav"])


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path: Path) -> None:
    from made_enhancers import enhancer_file

    from audioprune.commands.on_audio.enhance import Request, _replacing

    for name in ("a.wav", "b.wav", "c.wav"):
        recording(tmp_path / "in" / name)
    model = str(enhancer_file(tmp_path / "m.apz"))
    request = Request(model, None, None, None, "cpu", 1, 10.0, None, True, False)
    found = work_through(_plan(tmp_path), _replacing, request, jobs=2, tell=lambda line: None)
    assert len(found.done) == 3 and (tmp_path / "out/c.wav").exists()


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        _plan(tmp_path).pairs()
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="got none"):
        _plan(tmp_path).pairs()
    recording(tmp_path / "in/a.wav", 0.01)
    recording(tmp_path / "in/a.flac", 0.01)
    same = Plan(tmp_path / "in", tmp_path / "out", lambda name: "a.wav", "log", "1")
    with pytest.raises(ConfigError, match="would both become"):
        same.pairs()
    for out in ("in", "in/out"):
        with pytest.raises(OutputError, match="outside the input"):
            Plan(tmp_path / "in", tmp_path / out, str, "log", "1").pairs()


def test_a_disk_that_takes_no_more_ends_the_work(tmp_path: Path) -> None:
    def full(source: Path, target: Path) -> dict[str, str]:
        write_atomic(Path("/dev/full/x"), b"a")
        return {}

    def refused(source: Path, target: Path) -> dict[str, str]:
        raise OutputError("this one alone")

    source = tmp_path / "a.wav"
    assert folders._done(refused, (source, source))[2] == "this one alone"
    with pytest.raises(OutputError, match="cannot write"):
        folders._done(full, (source, source))
