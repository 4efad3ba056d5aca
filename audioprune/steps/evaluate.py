"""How a pipeline scores: write the model, read it back, score the file and record its sizes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, unknown_name
from audioprune.loading import load_model_file
from audioprune.metrics.pool import Scorer
from audioprune.places import cache_folder
from audioprune.run import Run
from audioprune.scoring import save_model, size_row
from audioprune.signals import check_stop


@dataclass
class Evaluate:
    """Write the model to a file, read it back, score it, and record scores and sizes that belong to the same bytes.

    Attributes:
        variant: What the tables call this state of the model: ``uncompressed``, ``pruned``, ``compressed``.
        file: ``*.safetensors`` or ``*.apz`` within the run folder; None scores the run's checkpoint as it is on disk.
        metrics: Metrics in place of ``scoring.metrics``.
        conditions: Patterns of test conditions such as ``*_-5dB``, or None for all.
        or_all: Score all test conditions where no pattern fits, instead of refusing.
        audio: Whether audio of the first items is kept.
    """

    variant: str
    file: str | None = None
    metrics: list[str] | None = None
    conditions: list[str] | None = None
    or_all: bool = False
    audio: bool = True
    changes_state: bool = field(default=False, init=False)

    def run(self, run: Run, path: str) -> None:
        """Score the written file on every test condition."""
        target = self._written(run)
        loaded = load_model_file(target, run.model_config)
        model = loaded.model.eval()
        scoring = run.config["scoring"]
        metrics = self.metrics or scoring["metrics"]
        with self._scorer(run, metrics) as scorer:
            for condition, dataset in self._conditions(run).items():
                check_stop()
                keep = scoring["audio_items"] if self.audio else 0
                self._condition(run, path, model, condition, dataset, scorer, keep)
        run.results.put(size_row(run, path, self.variant, loaded, target))

    def _scorer(self, run: Run, metrics: list[str]) -> AbstractContextManager[Scorer | None]:
        """Return what scores audio, or nothing for a task that has its own metrics."""
        if not getattr(run.task, "scores_audio", True):
            return nullcontext()
        return Scorer(metrics, run.task.sample_rate, run.runtime["metric_workers"], cache_folder(run.runtime["cache"]) / "metrics")

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
        chosen = {name: data for name, data in found.items() if any(fnmatch(name, wish) for wish in self.conditions)}
        if not chosen and self.or_all:
            return found
        if not chosen:
            raise ConfigError(unknown_name("test condition", ", ".join(self.conditions), found))
        return chosen

    def _condition(self, run: Run, path: str, model: Any, condition: str, dataset: Any, scorer: Scorer | None, keep: int) -> None:
        audio = run.folder / "audio" / condition if keep else None
        scored = run.task.score(model, dataset, scorer, condition=condition, variant=self.variant, audio=audio, keep=keep)
        shared = {"model": run.model_config.get("name"), "scale": run.scale_of(model)}
        shared |= {"seed": run.seed, "split": "test", "condition": condition}
        for variant, row in scored.items():
            known = run.results.rows.get(f"mixture/{condition}", {})
            if variant == "mixture" and set(row["metrics"]) <= set(known.get("metrics", {})):
                continue
            key = f"mixture/{condition}" if variant == "mixture" else f"{path}/{condition}"
            label = "Mixture" if variant == "mixture" else run.label
            run.results.put({"key": key, "kind": "score", "label": label, "variant": variant, **shared, **row})


def _refuse_no_checkpoint() -> str:
    raise ConfigError("expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give the model to work on")
