"""Runs with names that try to break a page, and the page of them, for tests in a browser."""

from __future__ import annotations

import json
from pathlib import Path

from fake_runs import SCALE, FakeRun

from audioprune.report import write_report

EVIL = "<script>window.hacked=1</script>\"'`]]>&amp;\x1b[31m\n../..<img src=x onerror=hacked=1>"
STOI = {"good": 0.9, "bad": 0.2, "middling": 0.5, "</script>'\"]]>": 0.4}


def scored(run: FakeRun, versions: tuple[str, ...] = ("uncompressed", "compressed")) -> None:
    """Keep audio of all items, and their scores."""
    for item in STOI:
        safe = item.replace("/", "_")  # a name of a file has no slash
        run.audio("babble_-5dB", safe, ("noisy", *versions, "clean"))
    lines = []
    for variant in ("mixture", *versions):
        key = f"{variant}/babble_-5dB"
        lines += [
            f'{key},"{item.replace("/", "_").replace(chr(34), chr(34) * 2)}",{score}'
            for item, score in STOI.items()
        ]
    (run.folder / "items-all.csv").write_text("\n".join(["key,id,stoi", *lines]) + "\n")


def make_runs(folder: Path) -> Path:
    """Make runs: one good, one no better than its input, one failed, all with evil names."""
    whole = {"data": {"name": EVIL}, "pipeline": {"name": EVIL, "note": EVIL, "lambda_1": 1.0}}
    for place, (model, stoi) in enumerate((("fdnn", 0.69), (EVIL, 0.3), ("lstm", 0.66))):
        config = {**whole, "pipeline": {**whole["pipeline"], "lambda_1": place + 0.5}}
        run = FakeRun(folder / f"run-{place}", model, "p2_unstructured", 0, SCALE, config)
        named = {"corpus": EVIL, "corpus_fingerprint": "a" * 64}
        run.scores("mixture", 0.5, 1.4, **named)
        run.scores("uncompressed", stoi + 0.01, 2.0, **named)
        run.scores("compressed", stoi, 1.0 if stoi < 0.5 else 1.9, **named)
        run.size("uncompressed", **named)
        run.size("compressed", nonzero=300 + place, paper=400 + 100 * place, **named)
        run.iterations(0.5, 0.3)
        run.row(
            key="layers",
            kind="iteration",
            label=model,
            iteration=3,
            remaining_share=0.2,
            density_per_tensor={EVIL: 0.25, "=1+1": 0.5},
            **named,
        )
        if place < 2:
            scored(run)
        (run.folder / "env.json").write_text(json.dumps({"python": EVIL}))
        hydra = run.folder / ".hydra"
        hydra.mkdir()
        (hydra / "overrides.yaml").write_text(json.dumps([f"model={model}", f"seed={place}"]))
    failed = FakeRun(folder / "failed", "dense", "p2_unstructured", 0, SCALE, whole)
    failed.status("failed", EVIL)
    return folder


def make_page(folder: Path, live: bool = False) -> Path:
    """Write the report of these runs, and return its page."""
    runs = folder / "runs"
    if not runs.exists():
        make_runs(runs)
    files = write_report(runs, folder / "report", live=live)
    return next(file for file in files if file.name == "report.html")
