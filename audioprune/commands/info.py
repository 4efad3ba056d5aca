"""``audioprune info``: parameters, sizes and costs of a model, without any training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torch import nn

from audioprune.experiment import agreement, cost
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.model_io import (
    build_model,
    instantiate,
    load_model_file,
)
from audioprune.protocols import Synthesizes


def run(config: Any, overrides: Sequence[str] = ()) -> None:
    """Print what a configured or a stored model costs, as a table or as JSON."""
    plain = plain_values(config)
    facts = _facts(*_model(plain))
    print(json.dumps(facts) if plain["format"] == "json" else _table(facts))


def _model(plain: dict[str, Any]) -> tuple[nn.Module, str | None]:
    """Return the model and its name."""
    wanted = _model_config(plain)
    if plain["checkpoint"]:
        loaded = load_model_file(plain["checkpoint"], wanted)
        return loaded.model.eval(), loaded.model_config.get("name")
    return build_model(wanted, trusted=True).eval(), plain["model"].get("name")


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


def _table(facts: dict[str, Any]) -> str:
    lines = [f"{'layer':32} {'type':14} {'parameters':>12} {'MACs/s':>16}"]
    lines += [
        f"{row['name']:32} {row['type']:14} {row['params']:12,} {row['macs_per_second']:16,.0f}"
        for row in facts["layers"]
    ]
    lines.append(f"{'total':47} {facts['params']:12,} {facts['macs_per_second']:16,.0f}")
    lines.append(
        f"{facts['mib_fp32']:.2f} MiB as fp32, {facts['nonzero']:,} parameters are not zero"
    )
    if facts["synthesis_flops_per_second"]:
        lines.append(
            f"the synthesizer takes about {facts['synthesis_flops_per_second']:,.0f} operations "
            f"a second beside these MACs"
        )
    if facts["uncounted"]:
        lines.append(
            f"MACs leave out what the model computes with {', '.join(facts['uncounted'])} "
            f"outside its layers"
        )
    return "\n".join(lines)
