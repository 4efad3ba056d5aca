"""The audit computes a run's numbers again, and finds one that was changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tiny_runs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import audit  # noqa: E402
from scripts.auditing import scores, tables_p4  # noqa: E402
from scripts.auditing.folders import Folder  # noqa: E402


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Carry out a tiny pipeline once, with an empty folder of reports beside it."""
    root = tmp_path_factory.mktemp("audited")
    steps = tiny_runs.whole_pipeline(most=1)
    tiny_runs.start(root / "runs" / "tiny", tiny_runs.config(steps, root / "cache"))
    (root / "reports").mkdir()
    return root


def _verdicts(root: Path, cells: int = 10_000) -> dict[str, list]:
    found = audit.all_cells(audit.folders_under(root / "runs"), root / "reports")
    return audit.audit(found, seed=0, wanted=cells)


def test_the_numbers_of_a_run_are_right(run_folder: Path) -> None:
    found = _verdicts(run_folder)
    assert [(cell.row, cell.column) for cell, _ in found["wrong"]] == []
    columns = {cell.column for cell, _ in found["right"]}
    sizes = {"params", "nonzero", "sparsity", "bytes_paper", "bytes_ideal", "bytes_file"}
    assert sizes | {"macs_per_second", "metrics/si_sdr", "remaining_share", "levels"} <= columns


@pytest.mark.parametrize("key, by", [("nonzero", 1), ("bytes_paper", 4), ("sparsity", 0.01)])
def test_a_changed_number_is_found(
    run_folder: Path, key: str, by: float, capsys: pytest.CaptureFixture
) -> None:
    file = run_folder / "runs" / "tiny" / "results.jsonl"
    before = file.read_text()
    rows = [json.loads(line) for line in before.splitlines()]
    row = next(row for row in rows if row["key"] == "compressed/size")
    row[key] += by
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    try:
        code = audit.main([str(run_folder / "runs"), str(run_folder / "reports"), "cells=10000"])
    finally:
        file.write_text(before)
    assert code == 1
    assert f"WRONG tiny/results.jsonl | compressed/size | {key}: " in capsys.readouterr().out


def test_the_draw_follows_the_seed(run_folder: Path) -> None:
    cells = audit.all_cells(audit.folders_under(run_folder / "runs"), run_folder / "reports")
    drawn = [
        [(cell.row, cell.column) for cell, _ in audit.audit(cells, seed, 5)["right"]]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("arguments", [[], ["runs"], ["runs", "reports", "sede=1"]])
def test_a_wrong_command_is_told(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert audit.main(arguments) == 2
    assert "expected RUNS REPORTS" in capsys.readouterr().out


def test_a_task_that_follows_its_corpus_is_built() -> None:
    """The configuration of a run may leave the number of classes to the corpus."""
    data = {
        "_target_": "audioprune.data.scenes.synthetic.SyntheticScenes",
        "clips_per_class": 3,
        "duration_s": 1.0,
    }
    task = {"_target_": "audioprune.tasks.scenes.SceneClassification", "classes": None}
    corpus, built = scores._parts(Folder(Path("a"), {"config": {"data": data, "task": task}}, ()))
    assert built.classes == len(corpus.classes)


def _admm(seed: int, accuracies: dict[str, float]) -> Folder:
    kinds = {
        name: {"key": f"{name}/test", "kind": "score", "variant": name, "condition": "test"}
        for name in accuracies
    }
    rows = [kinds[name] | {"metrics": {"accuracy": value}} for name, value in accuracies.items()]
    sizes = [{"key": f"{name}/size", "kind": "size", "variant": name} for name in accuracies]
    config = {"pipeline": {"name": "p4_admm"}, "model": {"name": "vgg"}}
    return Folder(Path(f"a{seed}"), {"seed": seed, "config": config}, tuple(rows + sizes))


def test_every_state_of_admm_has_its_own_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [_admm(seed, {"projected": 0.1, "trimmed": 0.1 + 0.02 * seed}) for seed in (0, 1)]
    monkeypatch.setattr(tables_p4, "_behind", lambda *of: folders)
    row = {"Problem": "VGG", "Method": "ADMM, p4_admm"}
    found = {
        s: tables_p4.optimizers(folders, row | {"State": s}, "Accuracy (%)")
        for s in ("dense x", "projected", "fine-tuned")
    }
    assert found == {
        "dense x": None,
        "projected": pytest.approx(10),
        "fine-tuned": pytest.approx(11),
    }
