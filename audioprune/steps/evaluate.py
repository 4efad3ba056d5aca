"""How a pipeline scores: ``Evaluate`` writes the model, reads it back and scores the file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from torch import nn

from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.model_io import load_model_file
from audioprune.experiment.model_size import save_model, size_row
from audioprune.experiment.pipeline import walk
from audioprune.experiment.results import GIVEN, ScoredItems
from audioprune.experiment.rows import QualityRow
from audioprune.experiment.run import Run
from audioprune.experiment.run_folder import shared
from audioprune.experiment.step_state import repetition_of
from audioprune.interrupts import check_stop
from audioprune.metrics import check_metrics
from audioprune.metrics.scorer import Scorer
from audioprune.paths import cache_folder
from audioprune.protocols import Items, NotScored, Row, WritesFile, scores_audio
from audioprune.protocols.work import SCORED_ITEM, STORED, Work
from audioprune.training.processes import processes


@dataclass
class Evaluate:
    """Write the model to a file, read it back and score it.

    Scores and sizes that are recorded belong to the same bytes. The score of every item goes to
    ``items-<step>.csv``.

    Attributes:
        variant: What the tables call this state of the model: ``uncompressed``, ``pruned``,
            ``compressed``. Of a run that began from a compressed checkpoint nothing is
            ``uncompressed``: such a row says ``as given``, and its label how it was given.
        file: ``*.safetensors`` or ``*.apz`` within the run folder; in a repetition every pass has
            a file of its own, such as ``iteration-02.safetensors``. None scores the run's
            checkpoint as it is on disk.
        metrics: Metrics in place of ``scoring.metrics``.
        conditions: Patterns of test conditions such as ``*_-5dB``, or None for all.
        or_all: Score all test conditions where no pattern fits, instead of refusing.
        audio: Whether audio of the first items is kept.

    Raises:
        ConfigError: The file has another ending or is that of another step; a metric or condition
            is unknown; there is no checkpoint.
    """

    variant: str
    file: str | None = None
    metrics: list[str] | None = None
    conditions: list[str] | None = None
    or_all: bool = False
    audio: bool = True
    changes_state: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.file is not None and Path(self.file).suffix not in (".safetensors", ".apz"):
            raise ConfigError(
                f"file: expected a name that ends in .safetensors or .apz, got {self.file}; "
                f"change it"
            )

    def check(self, run: Run) -> None:
        """Refuse names that are unknown, and a file that another step writes."""
        if self.file is None and not run.config["checkpoint"]:
            _refuse_no_checkpoint()
        writers = [
            path
            for path, step in walk(run.steps)
            if self.file and isinstance(step, WritesFile) and step.file == self.file
        ]
        if len(writers) > 1:
            raise ConfigError(
                f"file: expected a file of its own for every step, got {self.file} of "
                f"{', '.join(writers)}; rename one"
            )
        self._conditions(run)
        if scores_audio(run.task):
            check_metrics(self.metrics or run.config["scoring"]["metrics"])

    def run(self, run: Run, path: str) -> None:
        """Score the written file on every test condition."""
        target = self._written(run, path)
        loaded = load_model_file(target, run.model_config, run.task_config)
        model = loaded.model.to(run.device).eval()
        scoring = run.config["scoring"]
        metrics = self.metrics or scoring["metrics"]
        with self._scorer(run, metrics) as scorer:
            sets, group = self._conditions(run), processes()
            names, items = list(sets), ScoredItems(run.folder, path)
            # of several processes each scores a condition at a time, all record every row
            for start in range(0, len(names), group.count):
                check_stop()
                some = names[start : start + group.count]
                keep = scoring["audio_items"] if self.audio else 0
                own = {
                    name: self._scored(run, model, name, sets[name], scorer, keep)
                    for name in group.part(some)
                }
                for name, found in group.merged(own, some).items():
                    self._record(run, path, model, name, found, items)
            items.write()
        loaded.model.cpu()  # costs are those of a CPU
        row = size_row(run, path, self._variant(run), loaded, target)
        if isinstance(run.task, NotScored):
            row = replace(row, more={**row.more, "remark": run.task.not_scored})
        run.results.put(replace(row, label=self._label(run)))

    def work(self, run: Run) -> list[Work]:
        """Count scored items and stored weights; the mixture is scored along with the first."""
        return scoring_work(run, self._conditions(run))

    def _variant(self, run: Run) -> str:
        return GIVEN if self.variant == "uncompressed" and run.given_as else self.variant

    def _label(self, run: Run) -> str:
        return run.label if self._variant(run) == self.variant else f"{run.label}, {run.given_as}"

    def _scorer(self, run: Run, metrics: list[str]) -> AbstractContextManager[Scorer | None]:
        """Return what scores audio, or nothing for a task that has its own metrics."""
        if not scores_audio(run.task):
            return nullcontext()
        return Scorer(
            metrics,
            run.task.sample_rate,
            run.runtime["metric_workers"],
            cache_folder(run.runtime["cache"]) / "metrics",
        )

    def _written(self, run: Run, path: str) -> Path:
        if self.file is None:
            return Path(run.config["checkpoint"] or _refuse_no_checkpoint())
        around = repetition_of(path)
        name = Path(self.file)
        if around is not None:
            name = Path(f"{name.stem}-{around[1] + 1:02d}{name.suffix}")
        save_model(run, run.folder / name)
        return run.folder / name

    def _conditions(self, run: Run) -> Mapping[str, Items]:
        """Return the chosen test sets by condition; none for a task that scores nothing."""
        if isinstance(run.task, NotScored):
            return {}
        found = run.data.tests()
        if self.conditions is None:
            return found
        chosen = {
            name: data
            for name, data in found.items()
            if any(fnmatch(name, wish) for wish in self.conditions)
        }
        if not chosen and self.or_all:
            return found
        if not chosen:
            raise ConfigError(unknown_name("test condition", ", ".join(self.conditions), found))
        return chosen

    def _scored(
        self,
        run: Run,
        model: nn.Module,
        condition: str,
        dataset: Items,
        scorer: Scorer | None,
        keep: int,
    ) -> dict[str, Row]:
        """Score one test condition; the rows of the model and of the mixture by variant."""
        audio = shared(run.folder) / "audio" / condition if keep else None
        stated = self._variant(run)
        found: dict[str, Row] = run.task.score(
            model, dataset, scorer, condition=condition, variant=stated, audio=audio, keep=keep
        )
        return found

    def _record(
        self,
        run: Run,
        path: str,
        model: nn.Module,
        condition: str,
        scored: Mapping[str, Row],
        items: ScoredItems,
    ) -> None:
        """Record the row of the model on a test condition, and that of the mixture."""
        for variant, row_of_all in scored.items():
            found = dict(row_of_all)
            above = "mixture" if variant == "mixture" else path
            items.add(f"{above}/{condition}", found.pop("items", None))
            known = run.results.rows.get(f"mixture/{condition}", {})
            if variant == "mixture" and set(found["metrics"]) <= set(known.get("metrics", {})):
                continue
            row = QualityRow(
                key=f"{above}/{condition}",
                label="Mixture" if variant == "mixture" else self._label(run),
                variant=variant,
                model=run.model_config.get("name"),
                scale=run.scale_of(model),
                seed=run.seed,
                split="test",
                condition=condition,
                more=found,
            )
            run.results.put(row)


def _refuse_no_checkpoint() -> str:
    raise ConfigError(
        "expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give the "
        "model to work on"
    )


def scoring_work(run: Run, sets: Mapping[str, Items]) -> list[Work]:
    """Count the scored items of some test conditions, and the weights that are stored."""
    stored = sum(each.numel() for each in run.model.parameters()) / 1e6
    return [Work(SCORED_ITEM, sum(len(data) for data in sets.values())), Work(STORED, stored)]
