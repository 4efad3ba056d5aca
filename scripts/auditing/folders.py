"""What run folders hold: their rows, and facts of their model files counted anew."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from audioprune.experiment.model_io import LoadedModel, load_model_file

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_LAYERS = (
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.modules.conv._ConvNd,
)


@dataclass(frozen=True, eq=False)
class Folder:
    """One run folder: ``run.json`` and the rows of ``results.jsonl``."""

    path: Path
    run: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind, in their order."""
        return [row for row in self.rows if row.get("kind") == kind]

    def file_of(self, prefix: str) -> Path | None:
        """Return the model file that the size row of a step names."""
        named = [row.get("file") for row in self.rows if row.get("key") == f"{prefix}/size"]
        return self.path / named[0] if named and named[0] else None

    @property
    def label(self) -> str:
        """Name of the model as its own rows print it."""
        return next(
            (
                str(row["label"])
                for row in self.rows
                if row.get("variant") != "mixture" and row.get("label")
            ),
            "",
        )


def folders_under(root: Path) -> list[Folder]:
    """Read every run folder below a folder, in the order of their paths."""
    found = []
    for file in sorted(root.rglob("run.json")):
        rows = file.parent / "results.jsonl"
        if rows.exists():
            lines = tuple(
                json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines() if line
            )
            found.append(Folder(file.parent, json.loads(file.read_text(encoding="utf-8")), lines))
    return found


@functools.lru_cache(maxsize=64)
def opened(path: Path) -> LoadedModel | None:
    """Read a model file, or return None where it is gone or of a class of the user's own."""
    from audioprune.errors import AudiopruneError

    try:
        return load_model_file(path) if path.exists() else None
    except AudiopruneError:
        return None


def trained_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights that pruning may touch: trained, two axes or more, no bias or norm."""
    found = {}
    for path, module in model.named_modules():
        for leaf, value in module.named_parameters(recurse=False):
            wide = sum(length > 1 for length in value.shape) > 1
            layer = isinstance(module, _LAYERS) and not leaf.endswith("_g")
            skipped = isinstance(module, _NORMS) or leaf.startswith("bias") or value.dim() < 2
            if value.requires_grad and not skipped and (layer or wide):
                found[f"{path}.{leaf}" if path else leaf] = value.detach().numpy()
    return found


def entropy_bits(counts: np.ndarray) -> float:
    """Return the bits of a sequence with these symbol counts under its own frequencies."""
    used = np.asarray(counts, dtype=np.float64)
    used = used[used > 0]
    return float(np.sum(used * np.log2(used.sum() / used))) if used.size else 0.0


class ModelFacts:
    """Counts of one model file.

    Args:
        path: A model file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.loaded = path, opened(path)

    def number(self, name: str) -> float | None:
        """Return a fact by the name that size rows give it, or None."""
        if name == "bytes_file":
            return float(self.path.stat().st_size) if self.path.exists() else None
        if self.loaded is None or not hasattr(self, f"_{name}"):
            return None
        return getattr(self, f"_{name}")()

    def _parameters(self) -> list[np.ndarray]:
        return [value.detach().numpy() for value in self.loaded.model.parameters()]

    def _params(self) -> float:
        return float(sum(value.size for value in self._parameters()))

    def _nonzero(self) -> float:
        return float(sum(np.count_nonzero(value) for value in self._parameters()))

    def _sparsity(self) -> float:
        weights = list(trained_weights(self.loaded.model).values())
        total = sum(value.size for value in weights)
        return 1 - sum(np.count_nonzero(value) for value in weights) / total if total else 0.0

    def _bytes_fp32(self) -> float:
        return 4 * self._params()

    def _grid_bits(self) -> tuple[float, float]:
        """Return the bits of all uniform grids, at a fixed length and at the codes' entropy."""
        paper = ideal = 0.0
        mask = self.loaded.mask.state_dict() if self.loaded.mask is not None else {}
        state = self.loaded.model.state_dict()
        for name, form in (self.loaded.codebooks or {}).items():
            if not form.has_zero:
                continue
            values, keep = state[name].numpy(), np.ones(tuple(state[name].shape), dtype=bool)
            keep = mask[name].numpy() if name in mask else keep
            width = math.ceil(math.log2(form.levels))
            scales, zeros = form.scales.numpy(), form.zeros.numpy()
            side = scales.size * (32 + (width if form.levels % 2 == 0 else 0))
            apart = np.split(np.moveaxis(values, form.axis, 0), scales.size)
            kept = np.split(np.moveaxis(keep, form.axis, 0), scales.size)
            codes = [
                np.rint(part[where] / scale) + int(zero)
                for part, where, scale, zero in zip(apart, kept, scales, zeros, strict=True)
            ]
            _, counts = np.unique(np.concatenate(codes), return_counts=True)
            paper += int(keep.sum()) * width + side
            ideal += entropy_bits(counts) + side
            ideal += entropy_bits(np.array([keep.sum(), keep.size - keep.sum()]))
        return paper, ideal

    def _storage_rows(self) -> Iterator[tuple[np.ndarray, np.ndarray, bool, bool]]:
        """Yield (values, kept positions, quantised, parameter) of what lies on no grid."""
        mask = self.loaded.mask.state_dict() if self.loaded.mask is not None else {}
        parameters = {name for name, _ in self.loaded.model.named_parameters()}
        for name, tensor in self.loaded.model.state_dict().items():
            keep = np.ones(tuple(tensor.shape), dtype=bool)
            quantised = name in (self.loaded.codebooks or {})
            if quantised and self.loaded.codebooks[name].has_zero:
                continue  # see _grid_bits
            if name in mask:
                keep = mask[name].numpy()
            elif name in parameters and (quantised or tensor.dim() > 1):
                keep = (
                    tensor.numpy() != 0
                )  # zeros of a weight count as removed, however they came about
            yield tensor.numpy(), keep, quantised, name in parameters

    def _bytes_paper(self) -> float:
        bits = self._grid_bits()[0]
        for values, keep, quantised, parameter in self._storage_rows():
            if parameter:
                levels = len(np.unique(values[keep])) if quantised else 0
                kept = int(keep.sum())
                codes = kept * math.log2(levels) + 32 * levels if levels else 0.0
                bits += codes if quantised else 32.0 * kept
        return bits / 8

    def _bytes_ideal(self) -> float:
        bits = self._grid_bits()[1]
        for values, keep, quantised, _ in self._storage_rows():
            kept = int(keep.sum())
            bits += entropy_bits(np.array([kept, keep.size - kept]))
            if quantised:
                _, counts = np.unique(values[keep], return_counts=True)
                bits += entropy_bits(counts) + 32 * len(counts)
            else:
                bits += 8.0 * values.itemsize * kept
        return bits / 8

    def _macs_per_second(self) -> float | None:
        model = self.loaded.model.eval()
        example = model.example_input()
        first = example if isinstance(example, torch.Tensor) else example[0]
        seconds = first.shape[model.time_dim] / model.frames_per_second
        if hasattr(model, "example_seconds"):
            seconds = model.example_seconds()
        return self._macs(model, example, layers_only=True) / seconds

    def _flops_s(self) -> float | None:
        """Return operations of generating a second of audio; a synthesizer counts its own."""
        model = self.loaded.model.eval()
        if not hasattr(model, "step"):
            return None
        inputs, example = model.step_input(), model.example_input()
        first, whole = (
            value if isinstance(value, torch.Tensor) else value[0] for value in (inputs, example)
        )
        seconds = 1 / model.frames_per_second
        if first.shape == whole.shape:
            seconds = first.shape[model.time_dim] / model.frames_per_second
            seconds = model.example_seconds() if hasattr(model, "example_seconds") else seconds
        told = (
            model.synthesis_flops_per_second()
            if hasattr(model, "synthesis_flops_per_second")
            else 0.0
        )
        return 2 * self._macs(model.step, inputs) / seconds + told

    @staticmethod
    def _macs(run: Any, inputs: Any, layers_only: bool = False) -> float:
        """Count multiplications by torch's counter, with recurrent layers taken apart.

        ``layers_only`` leaves out products outside layers with weights, such as those of a
        synthesizer.
        """
        arguments = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), counter:
            run(*arguments)
        if not layers_only:
            return counter.get_total_flops() / 2
        owners = {
            path
            for path, module in run.named_modules()
            if any(True for _ in module.parameters(recurse=False))
        }
        counts = counter.get_flop_counts()
        names = {f"{type(run).__name__}.{path}" for path in owners}
        return sum(sum(found.values()) for name, found in counts.items() if name in names) / 2


@functools.lru_cache(maxsize=256)
def facts(path: Path) -> ModelFacts:
    """Return the facts of a model file, read once."""
    return ModelFacts(path)
