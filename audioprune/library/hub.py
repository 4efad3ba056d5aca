"""How a network becomes a folder in the layout of the Hugging Face hub: ``save_hub``.

The folder holds the packed file, config.json and a model card; `load` reads it back. Only files
are written: how they are uploaded is up to you, and nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from audioprune.errors import CheckpointError, OutputError
from audioprune.experiment.model_io import load_model_file
from audioprune.files import sha256_file, write_atomic, write_json
from audioprune.library.saving import file_config, save
from audioprune.library.stored_form import stored_form
from audioprune.packing import storage_of
from audioprune.paths import model_file
from audioprune.records import read_rows

MODEL = "model.apz"
_MARK = "<!-- written by audioprune.save_hub -->"
_TASKS = {"enhancement": "audio-to-audio", "adversarial": "audio-to-audio"}
_TASKS |= {"scenes": "audio-classification", "generation": "text-to-audio"}


def save_hub(
    model: nn.Module | str | Path,
    folder: str | Path,
    *,
    title: str = "",
    licence: str = "",
    scores: Mapping[str, float] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Path:
    """Write a folder that can be pushed to a model hub as it is.

    Args:
        model: A network, or a run folder or packed file, whose bytes are then taken as they are.
        folder: The folder; other files in it stay. A card that you wrote yourself stays too.
        title: First line of the card; by default the name of the folder.
        licence: Identifier of the licence in the card, such as ``mit``; none is made up.
        scores: Metric -> value for the card; by default those of the run, of its packed file.
        arguments: As for `save`.

    Returns:
        The folder.

    Raises:
        CheckpointError: A path holds no packed model.
        ConfigError: See `save`.
        OutputError: The folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder, got a file; choose another place")
    if isinstance(model, nn.Module):
        network, config = model, file_config(model, arguments=arguments)
        save(model, folder / MODEL, arguments=arguments)
        found = dict(scores or {})
    else:
        source = model_file(model)
        if source.suffix != ".apz":
            raise CheckpointError(
                f"{model}: expected a run with a packed model, got {source.name}"
            )
        loaded = load_model_file(source)
        network = loaded.model
        config = {"model": loaded.model_config, "task": loaded.task_config}
        write_atomic(folder / MODEL, source.read_bytes())
        found = dict(scores) if scores is not None else _scores_of(source.parent)
    facts = _facts(network, config, folder / MODEL, found)
    write_json(folder / "config.json", facts)
    card = folder / "README.md"
    if not card.exists() or _MARK in card.read_text(encoding="utf-8", errors="replace"):
        write_atomic(card, _card(facts, title or folder.resolve().name, licence))
    return folder


def _facts(
    network: nn.Module, config: Mapping[str, Any], file: Path, scores: Mapping[str, float]
) -> dict[str, Any]:
    """Return what config.json says."""
    stored = storage_of(network, *stored_form(network))
    task = config.get("task") or {}
    return {
        "library_name": "audioprune",
        "model_file": file.name,
        "sha256": sha256_file(file),
        "model": config.get("model"),
        "task": task or None,
        "sample_rate": task.get("sample_rate"),
        "parameters": sum(each.numel() for each in network.parameters()),
        "parameters_nonzero": sum(int(each.count_nonzero()) for each in network.parameters()),
        "bytes_fp32": stored.bytes_fp32,
        "bytes_file": file.stat().st_size,
        "scores": dict(scores),
    }


def _scores_of(run: Path) -> dict[str, float]:
    """Return the mean scores of a run's packed file over its conditions; empty without any."""
    rows = read_rows(run / "results.jsonl")
    sizes = [row for row in rows if row.get("kind") == "size" and row.get("file") == MODEL]
    steps = {str(row["key"]).removesuffix("size") for row in sizes[-1:]}
    named: dict[str, list[float]] = {}
    for row in rows:
        measured = row.get("kind") == "score" and str(row["key"]).startswith(tuple(steps))
        for name, value in (row.get("metrics") or {}).items() if steps and measured else ():
            if value is not None:
                named.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in named.items()}


def _card(facts: Mapping[str, Any], title: str, licence: str) -> str:
    target = str((facts["task"] or {}).get("_target_", ""))
    kind = _TASKS.get(target.split(".")[2]) if target.count(".") > 2 else None
    head = ["---", "library_name: audioprune", "tags: [audio, pruning, quantization]"]
    head += [f"license: {licence}"] if licence else []
    head += [f"pipeline_tag: {kind}"] if kind else []
    smaller = facts["bytes_fp32"] / facts["bytes_file"]
    sizes = [
        ("parameters", f"{facts['parameters']:,}"),
        ("not zero", f"{facts['parameters_nonzero']:,}"),
        ("float32", f"{facts['bytes_fp32']:,} bytes"),
        ("this file", f"{facts['bytes_file']:,} bytes, {smaller:.1f} times smaller"),
    ]
    scores = [(name, f"{value:.4g}") for name, value in facts["scores"].items()]
    lines = [*head, "---", "", _MARK, f"# {title}", "", _text(facts), "", *_table("size", sizes)]
    lines += ["", *_table("score", scores)] if scores else []
    own = str((facts["model"] or {}).get("_target_", "")).startswith("audioprune.")
    given = "" if own else ", model=MyNet()"
    call = ["import audioprune", "", f'model = audioprune.load("path/to/this/folder"{given})']
    return "\n".join([*lines, "", "```python", *call, "```", ""])


def _text(facts: Mapping[str, Any]) -> str:
    name = str((facts["model"] or {}).get("_target_", "")).rpartition(".")[2] or "network"
    rate = facts["sample_rate"]
    heard = f" for audio at {rate} Hz" if rate else ""
    return f"A {name}{heard}, packed by audioprune; it decodes bit for bit."


def _table(what: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"| {what} | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)]
