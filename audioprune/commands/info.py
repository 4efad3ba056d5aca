"""``audioprune info``: parameters, sizes and costs of a model, without any training."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from audioprune.commands.messages import note
from audioprune.experiment import agreement, cost
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.foreign.explain import explained
from audioprune.experiment.foreign.trial import require_runs
from audioprune.experiment.model_io import (
    build_model,
    instantiate,
    is_package_model,
    load_model_file,
)
from audioprune.experiment.presets import shown_name
from audioprune.protocols import Synthesizes
from audioprune.report.network.page import write_network_page
from audioprune.report.network.table import layer_table
from audioprune.terminal.records import Field, csv_text, show_records

_FIELDS = (
    Field("name", "layer"),
    Field("type", "type"),
    Field("params", "parameters", right=True),
    Field("macs_per_second", "MACs/s", lambda value: f"{value:,.0f}", right=True),
)


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Print what a configured or a stored model costs, as a table, JSON or CSV.

    With ``explain=true`` the units of every layer are said too, and drawn on a page.
    """
    plain = plain_values(config)
    model, model_config = _model(plain)
    if not is_package_model(str(model_config.get("_target_", ""))):
        require_runs(model)
    facts = _facts(model, model_config.get("name"))
    if plain.get("explain"):
        _explain(plain, model, model_config, facts)
        return
    show_records(
        plain["format"], facts["layers"], _FIELDS, facts, _title(facts), notes=_notes(facts)
    )


def _explain(
    plain: dict[str, Any], model: nn.Module, config: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Print what is known of every layer, and write the page with the graph."""
    label = shown_name(config, type(model).__name__)
    known = explained(model, label)
    page = Path(plain["out"] or f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', label)}-units.html")
    write_network_page(page, known)
    if plain["format"] == "json":
        print(json.dumps({**facts, "explained": known, "page": str(page)}))
        return
    if plain["format"] == "csv":
        print(csv_text(known["layers"]), end="")
    else:
        print(layer_table(known))
    note(f"{page}: the same with a graph")


def _model(plain: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model and what it is built from."""
    wanted = _model_config(plain)
    if plain["checkpoint"]:
        loaded = load_model_file(plain["checkpoint"], wanted, plain.get("task"))
        return loaded.model.eval(), loaded.model_config
    return build_model(wanted, trusted=True).eval(), wanted


def _model_config(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a model that follows the task, but no corpus."""
    task = instantiate(agreement.complete_task(plain["task"])) if plain.get("task") else None
    return agreement.complete_model(plain["model"], task)


def _facts(model: nn.Module, name: str | None) -> dict[str, Any]:
    costed = cost.require_example(model)
    card = cost.cost(model, costed.example_input(), cost.example_seconds(costed))
    synthesis = model.synthesis_flops_per_second() if isinstance(model, Synthesizes) else None
    return {
        "model": name,
        "params": card.params,
        "nonzero": card.nonzero,
        "bytes_fp32": 4 * card.params,
        "mib_fp32": 4 * card.params / 2**20,
        "macs_per_second": card.macs_per_second,
        "uncounted": list(card.uncounted),
        "synthesis_flops_per_second": synthesis,
        "layers": [layer.as_dict() for layer in card.layers],
    }


def _title(facts: dict[str, Any]) -> str:
    """Return the line above the table: what the whole model takes."""
    return (
        f"{facts['model'] or 'model'}: {facts['params']:,} parameters, "
        f"{facts['nonzero']:,} of them not zero, {facts['mib_fp32']:.2f} MiB as fp32, "
        f"{facts['macs_per_second']:,.0f} MACs for one second of audio"
    )


def _notes(facts: dict[str, Any]) -> list[str]:
    """Return what the numbers leave out."""
    found = []
    if facts["synthesis_flops_per_second"]:
        found.append(
            f"the synthesizer takes about {facts['synthesis_flops_per_second']:,.0f} operations "
            f"a second beside these MACs"
        )
    if facts["uncounted"]:
        found.append(
            f"MACs leave out what the model computes with {', '.join(facts['uncounted'])} "
            f"outside its layers"
        )
    return found
