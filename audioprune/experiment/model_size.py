"""The file of a model, and what is measured of it: ``save_model``, ``size_row``.

Sizes and costs are those of the model that was read back, so that every number belongs to the same
bytes. Scores on audio are computed by the task; steps decide when anything is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from audioprune import checkpoint, packing
from audioprune.compress.masks import prunable
from audioprune.compress.quantize.contract import Quantized
from audioprune.compress.quantize.uniform import Grid
from audioprune.experiment import cost
from audioprune.experiment.model_io import LoadedModel
from audioprune.experiment.rows import Costs, SizeRow
from audioprune.experiment.run import Run
from audioprune.paths import model_file
from audioprune.protocols import GeneratesSamples, HasStateBytes, ReadsFeatures, Synthesizes

_GENERATED = 1600  # samples of a timed generation


def save_model(run: Run, target: Path) -> None:
    """Write the run's model: packed (``.apz``) or as a dense checkpoint (``.safetensors``)."""
    config = _sorted(
        {"model": run.model_config, **run.made_with(), "sample_rate": run.task.sample_rate}
    )
    if target.suffix == ".apz":
        meta = {"scale": run.scale, "seed": run.seed}
        packing.pack(
            target,
            run.model.state_dict(),
            mask=run.mask,
            codebooks=run.codebooks,
            config=config,
            meta=meta,
        )
        return
    tensors = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    if run.mask is not None:
        tensors |= {f"mask/{name}": value for name, value in run.mask.state_dict().items()}
    checkpoint.write(target, tensors, {**config, "scale": run.scale})


def _sorted(value: Any) -> Any:
    """Put the keys of nested mappings in order, so that a resumed run writes the same bytes."""
    if not isinstance(value, dict):
        return value
    return {key: _sorted(value[key]) for key in sorted(value)}


def size_row(run: Run, path: str, variant: str, loaded: LoadedModel, file: Path) -> SizeRow:
    """Return the row of sizes and costs of a model that was read back from a file."""
    model, file = loaded.model, model_file(file)
    stored = packing.storage_of(model, loaded.mask, loaded.codebooks)
    costed = cost.require_example(model)
    example, seconds = costed.example_input(), cost.example_seconds(costed)
    card = cost.cost(model, example, seconds)
    repeats = run.config["scoring"]["latency_repeats"]
    names = prunable(model)
    weights = dict(model.named_parameters())
    kept = sum(int((weights[name] != 0).sum()) for name in names)
    total = sum(weights[name].numel() for name in names)
    timed = cost.latency(model, example, seconds, threads=1, repeats=repeats) if repeats else None
    return SizeRow(
        key=f"{path}/size",
        label=run.label,
        variant=variant,
        model=run.model_config.get("name"),
        params=card.params,
        nonzero=card.nonzero,
        sparsity=1 - kept / total if total else 0.0,
        bytes_fp32=stored.bytes_fp32,
        bytes_paper=stored.bytes_paper,
        bytes_ideal=stored.bytes_ideal,
        bytes_file=file.stat().st_size,
        macs_per_second=card.macs_per_second,
        latency_ms_per_s=timed,
        scale=run.scale_of(model),
        seed=run.seed,
        file=file.name,
        more=quantization_facts(model, loaded.codebooks),
    )


def quantization_facts(model: nn.Module, forms: Mapping[str, Quantized] | None) -> dict[str, Any]:
    """Return what a row says of quantised weights: ``quantizer`` and ``bits``.

    ``quantizer`` names each kind of form once, ``bits`` is the mean length of a code, log2 K where
    values are shared. Nothing is said where nothing is quantised.
    """
    if not forms:
        return {}
    told = dict.fromkeys(_told(model.get_parameter(name), form) for name, form in forms.items())
    weights = sum(form.codes.numel() for form in forms.values())
    bits = sum(form.bits - form.side_bits for form in forms.values())
    return {"quantizer": "; ".join(told), "bits": round(bits / max(1, weights), 4)}


def _told(weight: nn.Parameter, form: Quantized) -> str:
    if not isinstance(form, Grid):
        return "k-means"
    scales, length = form.scales.numel(), weight.shape[form.axis] if weight.dim() else 1
    per = "tensor" if scales == 1 else "channel" if scales == length else "gate"
    return f"{form.told}, per {per}"


def running_costs(model: nn.Module, repeats: int) -> Costs:
    """Return what one generation step of a model costs, and how fast this machine makes audio.

    Operations are two per multiplication by a weight, per second of audio, with those of a
    synthesizer. Memory traffic is that of one step; the peak includes what the model remembers
    between steps. The real-time factor is seconds of one thread per second of audio, drawn sample
    by sample where the model generates so, else made by a forward pass over its example; below 1
    is faster than real time.

    Args:
        model: The model; see `audioprune.experiment.cost.generation_step`.
        repeats: Timed runs, or 0 to measure no time.

    Source: Esling et al., Sec. 6.1.
    """
    step = cost.generation_step(model)
    card = cost.cost(model, step.inputs, step.seconds, step.forward)
    synthesis = model.synthesis_flops_per_second() if isinstance(model, Synthesizes) else 0.0
    state_bytes = model.state_bytes() if isinstance(model, HasStateBytes) else 0
    return Costs(
        flops_s=card.flops_per_second + synthesis,
        disk=card.disk_bytes,
        rw_r=card.read_bytes,
        rw_w=card.written_bytes,
        peak_bytes=card.peak_bytes + state_bytes,
        rtf=_real_time_factor(model, repeats) if repeats else None,
    )


def _real_time_factor(model: nn.Module, repeats: int) -> float:
    """Return the seconds that a second of audio takes."""
    costed = cost.require_example(model)
    if not isinstance(model, GeneratesSamples):
        seconds = cost.example_seconds(costed)
        return cost.latency(model, costed.example_input(), seconds, repeats=repeats) / 1000
    channels = model.conditioning if isinstance(model, ReadsFeatures) else 0
    features = next(model.parameters()).new_zeros(1, channels, _GENERATED) if channels else None
    rate = cost.costed_by_frames(model).frames_per_second
    example, seconds = (_GENERATED, features), _GENERATED / rate
    milliseconds = cost.latency(model, example, seconds, repeats=repeats, forward=model.generate)
    return milliseconds / 1000
