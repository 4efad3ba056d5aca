"""Networks of other people on whole command lines: no task, no corpus, one line where it fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from audioprune import cli

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8, dtype="float32"):
        super().__init__()
        self.a = nn.Conv1d(1, width, 5, padding=2)
        self.b = nn.Conv1d(width, 1, 5, padding=2, dtype=getattr(torch, dtype))

    def forward(self, x):
        hidden = torch.relu(self.a(x[:, None]))
        return {"mask": self.b(hidden)[:, 0], "level": x.abs().mean()}

class Late(Net):
    def forward(self, x):
        self.late = nn.Linear(4, 4)
        return super().forward(x)

def script():
    return torch.jit.script(nn.Linear(4, 4))

def number():
    return 7
"""
NET = ["model=othernet:Net", "model.args.width=6", "model.example=[1,160]", "model.seconds=0.01"]
QUICK = ["scoring.latency_repeats=0", "runtime.device=cpu"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    (folder / "othernet.py").write_text(CODE)
    names: dict = {}
    exec(CODE, names)
    torch.manual_seed(0)
    torch.save(names["Net"](width=6).state_dict(), folder / "weights.pt")
    torch.save(names["Net"](width=5).state_dict(), folder / "other.pt")
    return folder


@pytest.fixture(autouse=True)
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(home)
    monkeypatch.setenv("AUDIOPRUNE_CACHE", str(home / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    GlobalHydra.instance().clear()
    yield home
    sys.modules.pop("othernet", None)
    GlobalHydra.instance().clear()


def _results(folder: Path) -> dict[str, dict]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    return {row["key"]: row for row in map(json.loads, lines)}


def test_a_network_is_made_small_scored_by_nobody_and_read_back(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = [*NET, "checkpoint=weights.pt", *QUICK]
    assert cli.run_verb("prune", [*line, "pipeline=units", "pipeline.fraction=0.4"]) == 0
    assert "no task: not scored" in capfd.readouterr().out
    (folder,) = (home / "runs" / "prune").iterdir()
    rows = _results(folder)
    assert rows["prune"]["max_difference"] <= 1e-5
    sizes = [rows[f"{key}/size"] for key in ("uncompressed", "trimmed", "compressed")]
    assert {row["remark"] for row in sizes} == {"no task: not scored"}
    assert sizes[0]["params"] == 6 * 6 + 31 > sizes[1]["params"] == sizes[2]["params"]
    assert {row["kind"] for row in rows.values()} == {"size", "trim"}
    assert sizes[0]["macs_per_second"] == pytest.approx(160 * 2 * 30 / 0.01)

    # arguments, example and task come from the file
    assert cli.run_verb("eval", ["model=othernet:Net", f"checkpoint={folder}", *QUICK]) == 0
    (scored,) = (home / "runs" / "eval").iterdir()
    assert _results(scored)["evaluate/size"]["params"] == sizes[2]["params"]
    assert not (home / "cache").exists()  # no corpus was made

    # another network than that of the file
    capfd.readouterr()
    asked = ["model=othernet:Net", "model.args.width=9", f"checkpoint={folder}", *QUICK]
    assert cli.run_verb("eval", asked) == 4
    assert "leave model.args.width=9 away or give another" in capfd.readouterr().err
    assert cli.run_verb("eval", [f"checkpoint={folder}", *QUICK]) == 4
    assert "give it yourself with model=othernet:Net (its arg" in capfd.readouterr().err


def test_quantize_fixes_levels_and_info_explains(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_verb("quantize", [*NET, "checkpoint=weights.pt", *QUICK]) == 0
    (folder,) = (home / "runs" / "quantize").iterdir()
    assert (folder / "model.apz").exists() and "compressed/size" in _results(folder)
    capfd.readouterr()
    assert cli.run_verb("info", [*NET, "checkpoint=weights.pt", "explain=true"]) == 0
    said = capfd.readouterr()
    assert "6 units, written by a, read by b" in said.out and "Net-units.html" in said.err
    assert "<svg" in (home / "Net-units.html").read_text()
    line = [*NET, "explain=true", "format=json", "out=here.html"]
    assert cli.run_verb("info", line) == 0
    known = json.loads(capfd.readouterr().out)
    assert known["explained"]["groups"][0]["units"] == 6 and (home / "here.html").exists()


@pytest.mark.parametrize(
    ("verb", "words", "code", "message"),
    [
        ("info", ["model=othernet:Net"], 2, "give model.example=[1,16000]"),
        ("info", ["model=othernet:Nett"], 2, "unknown class of othernet 'Nett'; closest: Net"),
        ("info", ["model=nonet:Net"], 2, "cannot build nonet.Net: No module named 'nonet'"),
        ("info", ["model=othernet:number"], 2, "got int from othernet.number"),
        ("info", ["model=othernet:script"], 2, "got the TorchScript program othernet.script"),
        ("info", ["model=othernet:Late", NET[2]], 2, "got late.weight from the first forward"),
        (
            "info",
            ["model=othernet:Net", "model.example=[1,2,3,4]"],
            2,
            "got RuntimeError in a (Conv1d)",
        ),
        ("info", [*NET[:1], "model.example=[1,0]"], 2, "every size is a whole number above 0"),
        ("info", [*NET, "model.args.dtype=float64"], 2, "in b (Conv1d)|b.weight: expected"),
        ("info", [*NET, "model.output=masks"], 2, "unknown output of Net 'masks'; closest: mask"),
        ("prune", [*NET, "checkpoint=other.pt"], 4, "a.weight (5, 1, 5) in the file, (6, 1, 5)"),
        ("prune", [*NET, "pipeline=magnitude"], 2, "training: expected a task that measures"),
        (
            "prune",
            [*NET, "checkpoint=weights.pt", "pipeline=budget"],
            2,
            "an analysis by validation: expected a task",
        ),
        ("quantize", [*NET, "checkpoint=weights.pt", "pipeline.levels=null"], 2, "levels=64"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    home: Path,
    capfd: pytest.CaptureFixture[str],
    verb: str,
    words: list[str],
    code: int,
    message: str,
) -> None:
    folders = set(home.glob("runs/*/*"))
    assert cli.run_verb(verb, words) == code
    said = [row for row in capfd.readouterr().err.splitlines() if row.startswith("error: ")]
    assert len(said) == 1 and any(part in said[0] for part in message.split("|")), said
    assert "defect" not in said[0]
    assert set(home.glob("runs/*/*")) == folders


def test_an_output_is_picked_for_a_labelled_task(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run_verb("info", [*NET, "model.output=mask", "task=irm"]) == 0
    assert "Conv1d" in capfd.readouterr().out
