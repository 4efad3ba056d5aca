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

import torch

from audioprune.compress import kmeans, levels, select, sensitivity
from audioprune.compress.loss_oracle import LossOracle
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.penalties import L1Penalty, SparseGroupLasso
from audioprune.compress.schedule import Cubic
from audioprune.compress.trim import dead_units, trim_, trim_state
from audioprune.compress.weight_groups import GroupKinds, weight_groups
from audioprune.errors import ConfigError, unknown_name
from audioprune.files import append_line, read_lines
from audioprune.loading import instantiate, load_model_file
from audioprune.metrics.pool import Scorer
from audioprune.places import cache_folder
from audioprune.results import write_csv
from audioprune.run import Run, Step, execute
from audioprune.scoring import save_model, size_row
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
            penalty=self._penalty(run),
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

    def _penalty(self, run: Run) -> L1Penalty | SparseGroupLasso | None:
        if self.lambda_2:
            return SparseGroupLasso(run.model, self.lambda_1, self.lambda_2, weight_groups(run.model, group_kinds(self.groups)))
        return L1Penalty(run.model, self.lambda_1) if self.lambda_1 else None

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
        target = self.sparsity if self.rounds == 1 else Cubic(0, self.rounds + 1, 1, 0.0, self.sparsity).sparsity(now + 1)
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
        structured: Whether weight groups are removed (Algorithm 2) rather than single weights (Algorithm 1).
        groups: Kind of weight group per kind of layer, for structured pruning.

    Source: Tan & Wang, Algorithms 1 and 2. The stopping rule is not in the paper.
    """

    alpha_1: float | None = None
    alpha_1_relative: float = 0.01
    method: str = "first_violation"
    items: int | None = None
    min_removed: float = 0.01
    structured: bool = False
    groups: dict[str, str] | None = None

    def run(self, run: Run, path: str) -> None:
        """Analyse every tensor alone, then prune all of them together."""
        started = time.monotonic()
        mask = run.mask or Mask.ones(run.model, prunable(run.model))
        candidates = self._candidates(run, mask)
        oracle = self._oracle(run)
        alpha = self.alpha_1 if self.alpha_1 is not None else self.alpha_1_relative * oracle.base()
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = sensitivity.search(
            candidates,
            oracle,
            alpha,
            method=self.method,
            finished={row["tensor"]: sensitivity.TensorSensitivity.from_dict(row["found"]) for row in read_lines(log)},
            on_tensor=lambda name, found: _store_finding(log, name, found),
        )
        run.mask = mask.updated(sensitivity.keeps(candidates, result))
        run.mask.apply_(run.model)
        run.codebooks = None
        iteration = int(run.facts.get("iteration", 0)) + 1
        run.facts["iteration"] = iteration
        write_csv(
            run.folder / f"sensitivity-{iteration}.csv",
            ("iteration", "tensor", "beta", "loss_increase", "chosen"),
            [(iteration, row["tensor"], row["beta"], row["increase"], row["chosen"]) for row in result.rows()],
        )
        facts = {"loss_base": result.base, "loss_valid": self._oracle(run).base(), "alpha_1": alpha}
        facts["passes"] = sum(found.passes for found in result.tensors.values())
        removed = record_iteration(run, path, mask, {**facts, "seconds": round(time.monotonic() - started, 1)})
        if removed < self.min_removed:
            run.facts["stop"] = f"iteration {iteration} removed {removed:.2%} of the remaining weights, less than {self.min_removed:.2%}"
            run.facts["stop_now"] = removed == 0.0

    def _candidates(self, run: Run, mask: Mask) -> dict[str, sensitivity.Candidates]:
        if self.structured:
            return sensitivity.group_candidates(run.model, mask, weight_groups(run.model, group_kinds(self.groups)))
        return sensitivity.weight_candidates(run.model, mask)

    def _oracle(self, run: Run) -> LossOracle:
        return run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items)


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
class Trim:
    """Take units out of the model for real that nothing writes or nothing reads any more.

    Source: the structured pipeline of Tan & Wang stops at zeros; removal is what makes them pay.
    """

    def run(self, run: Run, path: str) -> None:
        """Trim the model and its mask, and record how far masked and trimmed outputs differ."""
        if not hasattr(run.model, "unit_sets"):
            raise ConfigError(
                f"{type(run.model).__name__}: expected a method unit_sets() that lists its units; write one or prune by masks only"
            )
        sets = run.model.unit_sets()
        example = run.model.example_input()
        with torch.no_grad():
            before = run.model.eval()(example)
        params = sum(parameter.numel() for parameter in run.model.parameters())
        keep = dead_units(run.model, sets, mask=run.mask)
        trimmed = trim_(run.model, sets, keep)
        if run.mask is not None:
            run.mask = Mask.from_state_dict(trim_state(run.mask.state_dict(), trimmed))
        with torch.no_grad():
            difference = float((run.model(example) - before).abs().max())
        run.results.put(
            {
                "key": path,
                "kind": "trim",
                "label": run.label,
                "params_before": params,
                "params_after": sum(parameter.numel() for parameter in run.model.parameters()),
                "units_before": {each.name: each.size for each in sets},
                "units_after": {each.name: int(keep[each.name].sum()) if each.name in keep else each.size for each in sets},
                "max_difference": difference,
            }
        )


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
        if self.levels is not None:
            chosen, rows = dict.fromkeys(names, self.levels), []
        else:
            chosen, rows = self._choose(run, path, names)
        run.codebooks = kmeans.quantize_(run.model, run.mask, chosen)
        if not rows:
            rows = [(name, book.levels, None, math.log2(max(1, book.levels)), True) for name, book in run.codebooks.items()]
        write_csv(run.folder / "quantization.csv", ("tensor", "levels", "loss_increase", "bits", "chosen"), rows)

    def _choose(self, run: Run, path: str, names: list[str]) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
        oracle = run.task.validation_loss(run.model, run.data.valid(), run.data.collate, self.items)
        alpha = self.alpha_2 if self.alpha_2 is not None else self.alpha_2_relative * oracle.base()
        weights = {name: weight for name, weight in run.model.named_parameters() if name in names}
        originals = {name: weight.detach().clone() for name, weight in weights.items()}
        keeps = {name: run.mask[name] if run.mask is not None else originals[name] != 0 for name in names}
        log = run.folder / "training" / f"{path.replace('/', '-')}.jsonl"
        result = levels.choose_levels(
            weights,
            lambda name, count: kmeans.cluster(originals[name], count, keeps[name]).restore(keeps[name]),
            oracle,
            alpha,
            finished={row["tensor"]: levels.TensorLevels.from_dict(row["found"]) for row in read_lines(log)},
            on_tensor=lambda name, found: _store_finding(log, name, found),
        )
        rows = [(row["tensor"], row["levels"], row["increase"], math.log2(row["levels"]), row["chosen"]) for row in result.rows()]
        return {name: found.levels for name, found in result.tensors.items()}, rows


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
        loaded = load_model_file(target, run.model_config)
        model = loaded.model.eval()
        scoring = run.config["scoring"]
        metrics = self.metrics or scoring["metrics"]
        cache = cache_folder(run.runtime["cache"]) / "metrics"
        with Scorer(metrics, run.task.sample_rate, run.runtime["metric_workers"], cache) as scorer:
            for condition, dataset in self._conditions(run).items():
                check_stop()
                keep = scoring["audio_items"] if self.audio else 0
                self._condition(run, path, model, condition, dataset, scorer, keep)
        run.results.put(size_row(run, path, self.variant, loaded, target))

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

    def _condition(self, run: Run, path: str, model: Any, condition: str, dataset: Any, scorer: Scorer, keep: int) -> None:
        audio = run.folder / "audio" / condition if keep else None
        scored = run.task.score(model, dataset, scorer, condition=condition, variant=self.variant, audio=audio, keep=keep)
        shared = {"model": run.model_config.get("name"), "scale": run.scale, "seed": run.seed, "split": "test", "condition": condition}
        for variant, row in scored.items():
            known = run.results.rows.get(f"mixture/{condition}", {})
            if variant == "mixture" and set(row["metrics"]) <= set(known.get("metrics", {})):
                continue
            key = f"mixture/{condition}" if variant == "mixture" else f"{path}/{condition}"
            label = "Mixture" if variant == "mixture" else run.label
            run.results.put({"key": key, "kind": "score", "label": label, "variant": variant, **shared, **row})


def record_iteration(run: Run, path: str, before: Mask, extra: dict[str, Any]) -> float:
    """Record one pruning iteration and return the fraction of the remaining weights that it removed."""
    after = run.mask or before
    kept_before, kept = before.kept(), after.kept()
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
        "density_per_tensor": after.per_tensor(),
    }
    run.results.put({**row, **extra})
    return removed


def group_kinds(kinds: dict[str, str] | None) -> GroupKinds:
    """Build the kinds of weight groups that a configuration names; None takes the defaults."""
    return GroupKinds(**(kinds or {}))


def _store_finding(log: Path, tensor: str, found: Any) -> None:
    append_line(log, {"tensor": tensor, "found": found.as_dict()})
    check_stop()


def _refuse_no_checkpoint() -> str:
    raise ConfigError("expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give the model to work on")
