"""The state of one experiment and its file: ``Run``.

A run holds the model as it is now and all that belongs to it; steps change it, ``save_state`` and
``load_state`` make it survive. It is built in experiment/build.py, its steps are run by
experiment/pipeline.py. A run trains nothing itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioprune import checkpoint, provenance
from audioprune.compress.masks import Mask
from audioprune.compress.quantize.contract import Quantized
from audioprune.compress.quantize.stored import as_tensors, from_tensors
from audioprune.compress.ties import join_views_
from audioprune.errors import CheckpointError
from audioprune.experiment.config_hash import known_before
from audioprune.experiment.model_io import build_stored, instantiate, restore_model
from audioprune.experiment.presets import shown_name
from audioprune.experiment.results import BranchResults, Results, clean
from audioprune.experiment.step_state import Findings, StepStates
from audioprune.files import append_line, read_lines
from audioprune.protocols import (
    Corpus,
    HasTeacher,
    HasWidth,
    KeepsState,
    ScoresBatches,
    Step,
    TellsReading,
)
from audioprune.training.devices import exact_products, placed_device
from audioprune.training.settings import Settings


@dataclass
class Run:
    """The state of one experiment.

    Attributes:
        config: The resolved configuration as plain values.
        folder: The run folder.
        model: The model as it is now.
        model_config: Target and arguments that rebuild the model's class.
        data: The corpus.
        task: What batches, losses and scores mean.
        task_config: Target and arguments that rebuild the task; those of the checkpoint where it
            names a task.
        settings: Training numbers.
        mask: Kept weights, or None before the first pruning.
        codebooks: Codebook or grid of every quantised tensor, with its codes, or None.
        findings: What steps tell later ones.
        states: What each step remembers for itself.
        results: Measured rows.
        from_checkpoint: Whether the model was loaded rather than initialised.
        scale_differs: In which keys the run is not what its preset declares; empty where it is.
        given_as: How the loaded model was compressed already, such as ``pruned and trimmed``;
            empty for a dense one.
        steps: The whole pipeline, for steps that depend on others.
        beside: Path of the step that branched this off another run, or None; a branch stores no
            state of its own.
        stamp: Short name and fingerprint of the corpus, for every row and file.
        parent: SHA-256 of the model file that the run began from, or None.
        few_tensors: How many tensors an analysis looks at; None for all, a number in rehearsals.
    """

    config: dict[str, Any]
    folder: Path
    model: nn.Module
    model_config: dict[str, Any]
    data: Corpus
    task: Any
    task_config: dict[str, Any]
    settings: Settings
    mask: Mask | None = None
    codebooks: dict[str, Quantized] | None = None
    findings: Findings = field(default_factory=Findings)
    states: StepStates = field(default_factory=StepStates)
    from_checkpoint: bool = False
    given_as: str = ""
    completed: set[str] = field(default_factory=set)
    scale_differs: list[str] = field(default_factory=list)
    steps: Mapping[str, Step] = field(default_factory=dict)
    beside: str | None = None
    stamp: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    few_tensors: int | None = None

    def __post_init__(self) -> None:
        self.place()
        self.results = Results(self.folder / "results.jsonl", self.stamp)
        if isinstance(self.task, ScoresBatches):
            self.task.score_batch = self.runtime.get("score_batch")
        if not self.findings.original_params:
            self.findings.original_params = sum(
                parameter.numel() for parameter in self.model.parameters()
            )

    @property
    def seed(self) -> int:
        """Seed of the experiment."""
        return int(self.config["seed"])

    @property
    def runtime(self) -> dict[str, Any]:
        """Settings that do not influence results."""
        return dict(self.config.get("runtime") or {})

    @property
    def device(self) -> torch.device:
        """Where the model computes, from the start of the run to its end."""
        return placed_device(str(self.runtime.get("device", "cpu")))

    def place(self) -> None:
        """Put the model and its mask on the run's device; what is stored names no device."""
        exact_products()
        if self.device.type != "cpu":
            join_views_(self.model)  # two views of one memory would part
        self.model.to(self.device)
        if self.mask is not None:
            self.mask = self.mask.to(self.device)

    @property
    def label(self) -> str:
        """Name of the model as tables print it."""
        return shown_name(self.model_config, type(self.model).__name__)

    @property
    def scale(self) -> str:
        """How large this experiment is, for every table and figure."""
        return self.scale_of(self.model)

    def scale_of(self, model: nn.Module) -> str:
        """How large this experiment is for a row about another model, whose width is its own."""
        declared = "" if self.scale_differs else self.config.get("scale")
        parts = [declared or "custom", self.data.scale()]
        if isinstance(model, HasWidth) and model.width is not None:
            parts.append(f"width {model.width}")
        return "; ".join(parts)

    def at_size_of(self, whole: Run) -> Run:
        """Return this run as it is now with the corpus and the numbers of another.

        It shares the model and what steps remember, and is only counted with, never run.
        """
        view = copy.copy(self)
        view.data, view.settings, view.few_tensors = whole.data, whole.settings, whole.few_tensors
        return view

    @contextmanager
    def branch(
        self,
        model: nn.Module,
        path: str,
        *,
        model_config: dict[str, Any] | None = None,
        mask: Mask | None = None,
        new_task: bool = False,
    ) -> Iterator[Run]:
        """Train or score another model beside this run, which stays as it is.

        This is the only way to do so.

        The branch has a task, step states, rows and a generator of its own. The generator begins
        with the run's seed, so that a killed and resumed branch ends in the same bits; when the
        branch ends, the run's generator goes on where it was. Rows join those of the run at the
        end, under ``path``; they are lost where the branch fails, and measured again when it is
        resumed.

        Args:
            model: The model of the branch; it shares nothing with the run's.
            path: Step that the branch belongs to.
            model_config: What rebuilds its class, where it is not that of the run.
            mask: Its kept weights.
            new_task: Whether the task begins anew, as for a training from scratch; otherwise it is
                a copy of the run's.
        """
        with checkpoint.seeded(self.seed):
            task = instantiate(self.task_config) if new_task else copy.deepcopy(self.task)
            if new_task and isinstance(self.task, HasTeacher) and self.task.teacher is not None:
                task.teach(self.task.teacher)
            side = replace(
                self,
                model=model,
                model_config=model_config or self.model_config,
                task=task,
                mask=mask,
                codebooks=None,
                findings=Findings(),
                states=StepStates(),
                completed=set(),
                beside=path,
            )
            if new_task:
                side.from_checkpoint, side.given_as = False, ""
            rows = side.results = BranchResults(self.results, path)
            yield side
        rows.merge()

    def made_with(self) -> dict[str, Any]:
        """Return what every written file says of its making, so that it can be judged alone."""
        data, scoring = self.config.get("data"), self.config.get("scoring") or {}
        reading = {"reading": self.data.reading()} if isinstance(self.data, TellsReading) else {}
        return {
            "task": self.task_config,
            "data": provenance.portable(data) if data else None,
            **reading,
            **self.stamp,
            "training": known_before("training", self.config.get("training")),
            "metrics": scoring.get("metrics"),
            "seed": self.config.get("seed"),
            "parent": self.parent if self.from_checkpoint else None,
        }

    def save_state(self) -> None:
        """Store the model and all that belongs to it in one verified file.

        That is its mask and codebooks, what the task trains beside it, what steps remember, and
        which steps are completed.
        """
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        if self.mask is not None:
            tensors |= {f"mask/{name}": value for name, value in self.mask.state_dict().items()}
        tensors |= as_tensors(self.codebooks)
        if isinstance(self.task, KeepsState):
            tensors |= {f"task/{name}": value for name, value in self.task.state_dict().items()}
        meta = {"findings": clean(self.findings.as_dict()), "states": clean(self.states.as_dict())}
        meta |= {
            "completed": sorted(self.completed),
            "model_config": self.model_config,
            **self.made_with(),
        }
        checkpoint.write_rotating(self.folder / "state.safetensors", tensors, meta)

    def load_state(self) -> None:
        """Restore the newest stored state of this folder, if there is one.

        Raises:
            CheckpointError: It is damaged, or of a version that stored what steps remember
                otherwise.
        """
        newest = checkpoint.read_newest(self.folder / "state.safetensors")
        done = {row["path"] for row in read_lines(self.folder / "progress.jsonl")}
        if newest is None:
            self.completed = done
            return
        tensors, meta = newest
        if not {"findings", "states"} <= set(meta):
            raise CheckpointError(
                f"{self.folder / 'state.safetensors'}: expected the states of single steps, got "
                f"one that all steps shared; it was written by an older version, run again with "
                f"runtime.force=true to start over"
            )
        self.model = restore_model(
            build_stored(meta["model_config"], self.model_config),
            checkpoint.under(tensors, "model/"),
        )
        self.model_config = meta["model_config"]
        masks = checkpoint.under(tensors, "mask/")
        self.mask = Mask.from_state_dict(masks) if masks else None
        self.codebooks = from_tensors(tensors) or None
        if isinstance(self.task, KeepsState):
            self.task.load_state_dict(checkpoint.under(tensors, "task/"))
        self.findings = Findings.from_dict(meta["findings"])
        self.states = StepStates(meta["states"])
        self.completed = set(meta["completed"]) | done
        self.place()

    def finish(self, path: str, changed: bool) -> None:
        """Record a completed step; the state is stored only when the step changed it."""
        self.completed.add(path)
        if self.beside is not None:
            return
        if changed:
            self.save_state()
        else:
            append_line(self.folder / "progress.jsonl", {"path": path})
