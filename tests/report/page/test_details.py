"""What a row opens to, and what a run kept of its layers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from fake_runs import FakeRun

from audioprune.report.page.details import Layer, details_of, layers_of
from audioprune.report.runs.entries import entries, final
from audioprune.report.runs.job import read_job

Make = Callable[..., FakeRun]
STEPS = {
    "train": {"_target_": "audioprune.steps.Train", "epochs": 3, "lambda_1": None},
    "again": {
        "_target_": "audioprune.steps.Repeat",
        "most": 2,
        "steps": {"prune": {"_target_": "audioprune.steps.Prune", "sparsity": 0.5}},
    },
}


def test_pipeline_history_and_files_are_those_of_the_run(make_run: Make) -> None:
    run = make_run("one", pipeline_config={"steps": STEPS})
    run.row(key="train", kind="train", monitor="loss", epochs=3, steps=6, kept=0.25, seconds=2.0)
    run.iterations(0.5).scores("compressed", 0.7, 2.0)
    run.size("compressed", paper=400, file="model.apz")
    (run.folder / "model.apz").write_bytes(b"0" * 500)
    (entry,) = final(entries([read_job(run.folder)]))
    found = details_of(entry)
    assert found.pipeline == (
        (0, "train", "Train", "epochs=3"),
        (0, "again", "Repeat", "most=2"),
        (1, "prune", "Prune", "sparsity=0.5"),
    )
    assert found.history == (
        "train: trained 3 epochs, 6 steps, loss 0.25 at the kept epoch, 2 s",
        "compress/0/prune: pruned, 50.0 % of the parameters left",
        "compressed: compressed, file of 500 bytes, STOI 80.00",
    )
    assert found.models == (("model.apz", "500 bytes"),)
    assert [name for name, _ in found.files] == ["results.jsonl", "run.json", "status.json"]
    assert found.load == f"audioprune.load({str(run.folder / 'model.apz')!r})"
    assert found.runs == (("one", "finished"),)


@pytest.mark.parametrize(
    ("row", "layers"),
    [
        (
            {"kind": "iteration", "density_per_tensor": {"a": 0.25, "b": 1.0}},
            [Layer("a", 0.25, "25.0 % of the weights"), Layer("b", 1.0, "100.0 % of the weights")],
        ),
        (
            {"kind": "trim", "units_before": {"a": 8}, "units_after": {"a": 2}},
            [Layer("a", 0.25, "2 of 8 units")],
        ),
        (
            {"kind": "groups", "layers": [{"name": "a", "zero": 3, "filters": 4}]},
            [Layer("a", 0.25, "1 of 4 filters")],
        ),
        ({"kind": "ticket", "units": {"a": 8}}, []),
    ],
)
def test_what_was_kept_of_a_layer(make_run: Make, row: dict, layers: list[Layer]) -> None:
    run = make_run("one").row(key="first", **json.loads(json.dumps(row)))
    assert layers_of(read_job(run.folder)) == layers


def test_tickets_are_compared_with_the_first(make_run: Make) -> None:
    run = make_run("one")
    for count in (8, 4, 2):
        run.row(key=f"{count}", kind="ticket", units={"a": count, "b": 3})
    found = layers_of(read_job(run.folder))
    assert found == [Layer("a", 0.25, "2 of 8 units"), Layer("b", 1.0, "3 of 3 units")]
