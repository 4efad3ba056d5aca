"""The vocabulary of pipelines: what can be done to a model between its initialisation and its table.

Each step is a small value that a YAML names; it alone changes a run. The algorithms stand in audioprune.compress, the
training loop in training.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audioprune import checkpoint, cost, packing
from audioprune.compress import kmeans, select
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.penalties import build_penalty
from audioprune.compress.schedule import gradual_sparsity
from audioprune.compress.sensitivity import choose_levels, search
from audioprune.errors import ConfigError, unknown_name
from audioprune.files import append_line, read_lines
from audioprune.metrics.pool import Scorer
from audioprune.results import write_csv
from audioprune.run import Run, Step, execute, instantiate, load_model_file
from audioprune.signals import check_stop
from audioprune.training import Fit


@dataclass
class Train:
    """Train or fine-tune the model, with the run's mask re-applied after every optimiser step.

    Attributes:
        lambda_1: Strength of the l1 regulariser.
        lambda_2: Strength of the group regulariser.
        groups: Kind of weight group per kind of layer, for lambda_2.
        epochs: Epochs in place of the experiment's.
        learning_rate: Learning rate in place of the experiment's.
        only_from_scratch: Do nothing when the run began from a trained checkpoint.
    """

    lambda_1: float = 0.0
    lambda_2: float = 0.0
    groups: dict[str, str] | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    only_from_scratch: bool = False

    def run(self, run: Run, path: str) -> None:
        """Train to the end and record how it went."""
        if self.only_from_scratch and run.from_checkpoint:
            return
        settings = replace(
            run.settings,
            epochs=self.epochs or run.settings.epochs,
            learning_rate=self.learning_rate or run.settings.learning_rate,
        )
        fit = Fit(
            run.model,
            run.task,
            run.data,
            settings,
            folder=self._folder(run, path),
            seed=run.seed,
            mask=run.mask,
            penalty=build_penalty(run.model, self.lambda_1, self.lambda_2, self.groups),
            device=run.runtime["device"],
            workers=run.runtime["workers"],
            save_every_s=run.runtime["save_every_s"],
            title=path,
            tensorboard=run.folder / "tensorboard" / path.replace("/", "-") if run.runtime["tensorboard"] else None,
        )
        outcome = fit.run()
        run.model.cpu()
        run.codebooks = None
        run.results.put(
            {
                "key": path,
                "kind": "train",
                "label": run.label,
                "epochs": outcome.epochs,
                "steps": outcome.steps,
                "best_epoch": outcome.best_epoch,
                "best_loss": outcome.best,
                "seconds": round(outcome.seconds, 1),
                "lambda_1": self.lambda_1,
                "lambda_2": self.lambda_2,
            }
        )

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints of a fine-tuning inside a repetition; its result is in the run's state."""
        if "/" in path:
            for file in self._folder(run, path).glob("*.safetensors*"):
                file.unlink()

    def _folder(self, run: Run, path: str) -> Path:
        return run.folder / "training" / path.replace("/", "-")


@dataclass
class Prune:
    """Remove the weights of smallest magnitude up to a target sparsity of all prunable weights.

    Attributes:
        sparsity: Removed fraction after the last round, 0 to 1.
        scope: ``local`` prunes each tensor alike, ``global`` ranks all weights together.
        rounds: Rounds over which the sparsity rises by the cubic schedule; 1 prunes at once.
    """

    sparsity: float
    scope: str = "global"
    rounds: int = 1

    def run(self, run: Run, path: str) -> None:
        """Prune one round."""
        scopes = {"local": select.local, "global": select.globally}
        if self.scope not in scopes:
            raise ConfigError(unknown_name("scope", self.scope, scopes))
        now = int(run.facts.get("round", 0))
        target = gradual_sparsity(now, self.rounds, 0.0, self.sparsity)
        names = prunable(run.model)
        mask = run.mask or Mask.ones(run.model, names)
        weights = dict(run.model.named_parameters())
        scores = {name: weights[name].detach().abs() for name in names}
        run.mask = mask.updated(scopes[self.scope](scores, target, mask))
        run.mask.apply_(run.model)
        run.codebooks = None
        run.facts["round"] = now + 1
        record_iteration(run, path, mask, {"sparsity": target})


@dataclass
class SensitivityPrune:
    """Prune every tensor by the ratio that its sensitivity analysis allows.

    Attributes:
        alpha_1: Tolerated increase of the validation loss, absolute; None takes ``alpha_1_relative``.
        alpha_1_relative: Tolerated increase as a fraction of the current validation loss.
        method: ``first_violation`` (the paper's) or ``bisection``.
        items: Validation items that the analysis uses, or None for all.
        min_removed: Pruning stops when an iteration removes less than this fraction of the remaining weights.

    Source: Tan & Wang, Algorithm 1. The stopping rule is not in the paper.
    """

    alpha_1: float | None = None
    alpha_1_relative: float = 0.01
    method: str = "first_violation"
    items: int | None = None
    min_removed: float = 0.01

    def run(self, run: Run, path: str) -> None:
        """Analyse every tensor alone, then prune all of them together."""
        started = time.monotonic()
        names = prunable(run.model)
        mask = run.mask or Mask.ones(run.model, names)
        oracle = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items)
        base = oracle.base()
        alpha = self.alpha_1 if self.alpha_1 is not None else self.alpha_1_relative * base
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = search(
            run.model,
            mask,
            oracle,
            alpha,
            method=self.method,
            finished={row["tensor"]: row["result"] for row in read_lines(log)},
            on_tensor=lambda name, found: _store_piece(log, name, found),
        )
        run.mask = result.prune(mask)
        run.mask.apply_(run.model)
        run.codebooks = None
        iteration = int(run.facts.get("iteration", 0)) + 1
        run.facts["iteration"] = iteration
        write_csv(
            run.folder / f"sensitivity-{iteration}.csv",
            ("iteration", "tensor", "beta", "loss_increase", "chosen"),
            [(iteration, *row) for row in result.rows()],
        )
        after = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items).base()
        removed = record_iteration(
            run, path, mask, {"loss_base": base, "loss_valid": after, "alpha_1": alpha, "passes": result.passes, "seconds": time.monotonic() - started}
        )
        if removed < self.min_removed:
            run.facts["stop"] = f"iteration {iteration} removed {removed:.2%} of the remaining weights, less than {self.min_removed:.2%}"
            run.facts["stop_now"] = removed == 0.0


@dataclass
class Repeat:
    """Repeat steps until one of them says that it is enough, or ``most`` times.

    Attributes:
        steps: Steps of the body, by name.
        most: Largest number of repetitions.
    """

    steps: Mapping[str, Any]
    most: int = 10

    def __post_init__(self) -> None:
        if self.most < 1 or not self.steps:
            raise ConfigError(f"a repetition needs most >= 1 and steps, got most={self.most} and {len(self.steps)} steps")
        self.steps = {name: instantiate(step) if isinstance(step, dict) else step for name, step in self.steps.items()}

    def run(self, run: Run, path: str) -> None:
        """Carry out the body again and again, each pass under its own number."""
        for index in range(self.most):
            execute(run, _until_enough(self.steps), f"{path}/{index}/")
            if run.facts.get("stop"):
                break
        run.facts.setdefault("stops", {})[path] = run.facts.pop("stop", None) or f"{self.most} repetitions done"
        run.facts.pop("stop_now", None)


@dataclass
class _Unless:
    """A step of a repetition's body that is left out once the repetition was told to end at once."""

    step: Step

    @property
    def changes_state(self) -> bool:
        return getattr(self.step, "changes_state", True)

    def run(self, run: Run, path: str) -> None:
        if not run.facts.get("stop_now"):
            self.step.run(run, path)

    def cleanup(self, run: Run, path: str) -> None:
        if hasattr(self.step, "cleanup"):
            self.step.cleanup(run, path)


def _until_enough(steps: Mapping[str, Step]) -> dict[str, Step]:
    return {name: _Unless(step) for name, step in steps.items()}


@dataclass
class Quantize:
    """Replace each tensor's kept weights by the centroids of one-dimensional k-means.

    Attributes:
        levels: Clusters K of every tensor, or None for the smallest K within the tolerance.
        alpha_2: Tolerated increase of the validation loss, absolute; None takes ``alpha_2_relative``.
        alpha_2_relative: Tolerated increase as a fraction of the current validation loss.
        items: Validation items that the choice of K uses, or None for all.

    Source: Tan & Wang, clustering-based quantization. How K is chosen is not in the slides: the smallest power of two whose
    loss increase, one tensor at a time, stays within the tolerance.
    """

    levels: int | None = None
    alpha_2: float | None = None
    alpha_2_relative: float = 0.005
    items: int | None = None

    def run(self, run: Run, path: str) -> None:
        """Choose K per tensor, quantise, and write quantization.csv."""
        names = prunable(run.model)
        rows: list[tuple[Any, ...]] = []
        if self.levels is not None:
            chosen = dict.fromkeys(names, self.levels)
        else:
            chosen, rows = self._choose(run, path)
        run.codebooks = kmeans.quantize_(run.model, run.mask, chosen)
        if not rows:
            rows = [(name, book.values.size, None, math.log2(max(1, book.values.size)), True) for name, book in run.codebooks.items()]
        write_csv(run.folder / "quantization.csv", ("tensor", "levels", "loss_increase", "bits", "chosen"), rows)
        run.facts["levels"] = {name: int(book.values.size) for name, book in run.codebooks.items()}

    def _choose(self, run: Run, path: str) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        oracle = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items)
        alpha = self.alpha_2 if self.alpha_2 is not None else self.alpha_2_relative * oracle.base()
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = choose_levels(
            run.model,
            run.mask,
            oracle,
            alpha,
            finished={row["tensor"]: row["result"] for row in read_lines(log)},
            on_tensor=lambda name, found: _store_piece(log, name, found),
        )
        return result.levels, [(name, k, loss, math.log2(k), k == result.levels[name]) for name, k, loss in result.rows()]


@dataclass
class Evaluate:
    """Write the model to a file, read it back, score it, and record scores and sizes that belong to the same bytes.

    Attributes:
        variant: What the tables call this state of the model: ``uncompressed``, ``pruned``, ``compressed``.
        file: ``*.safetensors`` or ``*.apz`` within the run folder; None scores the run's checkpoint as it is on disk.
        metrics: Metrics in place of ``scoring.metrics``.
        conditions: Names or prefixes of test conditions, or None for all.
        audio: Whether audio of the first items is kept.
    """

    variant: str
    file: str | None = None
    metrics: list[str] | None = None
    conditions: list[str] | None = None
    audio: bool = True
    changes_state: bool = field(default=False, init=False)

    def run(self, run: Run, path: str) -> None:
        """Score the written file on every test condition."""
        target = self._written(run)
        model = load_model_file(target, run.model_config).model.eval()
        scoring = run.config["scoring"]
        metrics = self.metrics or scoring["metrics"]
        with Scorer(run.task.sample_rate, workers=run.runtime["metric_workers"], cache_dir=_metric_cache(run)) as scorer:
            for condition, dataset in self._conditions(run).items():
                check_stop()
                keep = scoring["audio_items"] if self.audio else 0
                self._condition(run, path, model, condition, dataset, scorer, metrics, keep)
        run.results.put(size_row(run, path, self.variant, model, target))

    def _written(self, run: Run) -> Path:
        if self.file is None:
            return Path(run.config["checkpoint"] or _refuse_no_checkpoint())
        target = run.folder / self.file
        save_model(run, target)
        return target

    def _conditions(self, run: Run) -> dict[str, Any]:
        found = run.data.tests()
        if self.conditions is None:
            return found
        chosen = {name: data for name, data in found.items() if any(name.startswith(wish) for wish in self.conditions)}
        if not chosen:
            raise ConfigError(unknown_name("test condition", ", ".join(self.conditions), found))
        return chosen

    def _condition(self, run: Run, path: str, model: Any, condition: str, dataset: Any, scorer: Scorer, metrics: list[str], keep: int) -> None:
        audio = run.folder / "audio" / condition if keep else None
        scored = run.task.score(model, dataset, scorer, metrics, condition=condition, variant=self.variant, audio=audio, keep=keep)
        shared = {"model": run.model_config.get("name"), "scale": run.scale, "seed": run.seed, "split": "test", "condition": condition}
        for variant, row in scored.items():
            key = f"mixture/{condition}" if variant == "mixture" else f"{path}/{condition}"
            label = "Mixture" if variant == "mixture" else run.label
            run.results.put({"key": key, "kind": "score", "label": label, "variant": variant, **shared, **row})


def save_model(run: Run, target: Path) -> None:
    """Write the run's model as a packed file (``.apz``) or a dense checkpoint (``.safetensors``)."""
    config = {"model": run.model_config, "task": run.config["task"], "sample_rate": run.task.sample_rate}
    if target.suffix == ".apz":
        meta = {"scale": run.scale, "seed": run.seed}
        packing.pack(target, run.model.state_dict(), mask=run.mask, codebooks=run.codebooks, config=config, meta=meta)
        return
    tensors = {f"model/{name}": value for name, value in run.model.state_dict().items()}
    if run.mask is not None:
        tensors |= {f"mask/{name}": value for name, value in run.mask.state_dict().items()}
    checkpoint.write(target, tensors, {**config, "scale": run.scale})


def size_row(run: Run, path: str, variant: str, model: Any, file: Path) -> dict[str, Any]:
    """Return the row of sizes and costs of a model that was read back from a file."""
    loaded = load_model_file(file, run.model_config)
    stored = packing.storage(model.state_dict(), loaded.mask, loaded.codebooks, parameters=[name for name, _ in model.named_parameters()])
    example = model.example_input()
    seconds = example.shape[model.time_dim] / model.frames_per_second
    card = cost.cost(model, example, seconds)
    repeats = run.config["scoring"]["latency_repeats"]
    names = prunable(model)
    weights = dict(model.named_parameters())
    kept = sum(int((weights[name] != 0).sum()) for name in names)
    total = sum(weights[name].numel() for name in names)
    return {
        "key": f"{path}/size",
        "kind": "size",
        "label": run.label,
        "variant": variant,
        "model": run.model_config.get("name"),
        "params": card.params,
        "nonzero": card.nonzero,
        "sparsity": 1 - kept / total,
        "bytes_fp32": stored.bytes_fp32,
        "bytes_paper": stored.bytes_paper,
        "bytes_ideal": stored.bytes_ideal,
        "bytes_file": file.stat().st_size,
        "macs_per_second": card.macs_per_second,
        "latency_ms_per_s": cost.latency(model, example, seconds, threads=1, repeats=repeats) if repeats else None,
        "scale": run.scale,
        "seed": run.seed,
        "file": file.name,
    }


def record_iteration(run: Run, path: str, before: Mask, extra: dict[str, Any]) -> float:
    """Record one pruning iteration and return the fraction of the remaining weights that it removed."""
    assert_mask = run.mask or before
    kept_before, kept = before.kept(), assert_mask.kept()
    original = run.facts.setdefault("original_params", sum(p.numel() for p in run.model.parameters()))
    unprunable = original - before.total()
    removed = (kept_before - kept) / max(1, kept_before)
    row = {
        "key": path,
        "kind": "iteration",
        "label": run.label,
        "iteration": run.facts.get("iteration", run.facts.get("round", 0)),
        "remaining_share": (kept + unprunable) / original,
        "nonzero": kept + unprunable,
        "removed_share": removed,
        "density_per_tensor": assert_mask.per_tensor(),
    }
    run.results.put({**row, **extra})
    return removed


def _store_piece(log: Path, tensor: str, result: Any) -> None:
    append_line(log, {"tensor": tensor, "result": result})
    check_stop()


def _metric_cache(run: Run) -> Path:
    from audioprune.places import cache_folder

    return cache_folder(run.runtime["cache"]) / "metrics"


def _refuse_no_checkpoint() -> str:
    raise ConfigError("expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give the model to work on")


