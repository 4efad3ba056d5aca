"""What one experiment is: its parts, its state on disk, and how steps are carried out once and resumed.

Which steps exist is written in steps/; how a user starts a run in cli.py.
"""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from audioprune import checkpoint, provenance
from audioprune.compress.masks import Mask, prunable
from audioprune.compress.quantize.kmeans import Codebook
from audioprune.errors import CheckpointError, ConfigError, DataError
from audioprune.experiment import agreement, presets
from audioprune.experiment.compatibility import require_fit
from audioprune.experiment.config_hash import config_hash, result_config
from audioprune.experiment.model_io import (
    LoadedModel,
    build_model,
    build_stored,
    instantiate,
    load_model_file,
    require_example,
    restore_model,
)
from audioprune.experiment.model_names import shown_name
from audioprune.experiment.results import BranchResults, Results, clean
from audioprune.experiment.run_folder import (
    empty,
    environment,
    read_json,
    refuse_foreign,
    write_status,
)
from audioprune.experiment.step_state import Findings, StepStates
from audioprune.files import (
    append_line,
    check_writable,
    drop_leftovers,
    lock,
    read_lines,
    sha256_file,
    write_json,
)
from audioprune.interrupts import check_stop, graceful
from audioprune.paths import model_file
from audioprune.protocols import Checks, CleansUp, KeepsState, Nests, Step, changes_state
from audioprune.training.devices import chosen_device
from audioprune.training.settings import Settings

DENSE_ZEROS = 0.01
"""Share of zero weights up to which a loaded model counts as dense: single zeros come about without pruning."""

_LOG = logging.getLogger(__name__)


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
        codebooks: Codebook and codes of every quantised tensor, or None.
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
    """

    config: dict[str, Any]
    folder: Path
    model: nn.Module
    model_config: dict[str, Any]
    data: Any
    task: Any
    task_config: dict[str, Any]
    settings: Settings
    mask: Mask | None = None
    codebooks: dict[str, Codebook] | None = None
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

    def __post_init__(self) -> None:
        self.results = Results(self.folder / "results.jsonl", self.stamp)
        if not self.findings.original_params:
            self.findings.original_params = sum(
                parameter.numel() for parameter in self.model.parameters()
            )

    @property
    def seed(self) -> int:
        """Seed of the experiment."""
        return self.config["seed"]

    @property
    def runtime(self) -> dict[str, Any]:
        """Settings that do not influence results."""
        return self.config["runtime"]

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
        width = getattr(model, "width", None)
        declared = "" if self.scale_differs else self.config.get("scale")
        parts = [declared or "custom", self.data.scale()]
        return "; ".join(parts + ([f"width {width}"] if width is not None else []))

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
        """Train or score another model beside this run, which stays as it is: the only way to do so.

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
            own = {
                "findings": Findings(),
                "states": StepStates(),
                "completed": set(),
                "codebooks": None,
            }
            side = replace(
                self,
                model=model,
                model_config=model_config or self.model_config,
                task=task,
                mask=mask,
                beside=path,
                **own,
            )
            if new_task:
                side.from_checkpoint, side.given_as = False, ""
            rows = side.results = BranchResults(self.results, path)
            yield side
        rows.merge()

    def made_with(self) -> dict[str, Any]:
        """Return what every written file says of its making, so that it can be judged alone."""
        data, scoring = self.config.get("data"), self.config.get("scoring") or {}
        return {
            "task": self.task_config,
            "data": provenance.portable(data) if data else None,
            **self.stamp,
            "training": self.config.get("training"),
            "metrics": scoring.get("metrics"),
            "seed": self.config.get("seed"),
            "parent": self.parent if self.from_checkpoint else None,
        }

    def save_state(self) -> None:
        """Store model, mask, codebooks, what steps remember and the completed steps in one verified file."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        if self.mask is not None:
            tensors |= {f"mask/{name}": value for name, value in self.mask.state_dict().items()}
        for name, book in (self.codebooks or {}).items():
            tensors |= {f"centroids/{name}": book.centroids, f"codes/{name}": book.codes}
        # what a task trains besides the model, such as a discriminator
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
                f"one that all steps shared; "
                "it was written by an older version, run again with runtime.force=true to start "
                "over"
            )
        self.model = restore_model(
            build_stored(meta["model_config"], self.model_config),
            checkpoint.under(tensors, "model/"),
        )
        self.model_config = meta["model_config"]
        masks = checkpoint.under(tensors, "mask/")
        self.mask = Mask.from_state_dict(masks) if masks else None
        centroids, codes = (
            checkpoint.under(tensors, "centroids/"),
            checkpoint.under(tensors, "codes/"),
        )
        self.codebooks = {
            name: Codebook(centroids[name], codes[name]) for name in centroids
        } or None
        if isinstance(self.task, KeepsState):
            self.task.load_state_dict(checkpoint.under(tensors, "task/"))
        self.findings, self.states = (
            Findings.from_dict(meta["findings"]),
            StepStates(meta["states"]),
        )
        self.completed = set(meta["completed"]) | done

    def finish(self, path: str, changed: bool) -> None:
        """Record a completed step; the state is stored only when the step changed it."""
        self.completed.add(path)
        if self.beside is not None:
            return
        if changed:
            self.save_state()
        else:
            append_line(self.folder / "progress.jsonl", {"path": path})


def execute(run: Run, steps: Mapping[str, Step], prefix: str = "") -> None:
    """Carry out the steps in order, each once: what is already completed is skipped."""
    for name, step in steps.items():
        path = f"{prefix}{name}"
        if path in run.completed:
            continue
        check_stop()
        step.run(run, path)
        run.finish(path, changes_state(step))
        if isinstance(step, CleansUp):
            step.cleanup(run, path)


def run_job(
    config: DictConfig, folder: Path, overrides: list[str], differs: Sequence[str] = ()
) -> str:
    """Run one composed experiment in its folder.

    Args:
        config: The composed configuration.
        folder: The run folder.
        overrides: The command line.
        differs: Keys in which the configuration is not the preset that it names.

    Returns:
        ``"finished"``, or ``"cached"`` when the folder already held the finished run.
    """
    plain = provenance.effective(OmegaConf.to_container(config, resolve=True), overrides)
    chosen_device(plain["runtime"]["device"])
    status = read_json(folder / "status.json")
    refuse_foreign(folder, plain)
    if status.get("status") == "finished" and not plain["runtime"]["force"]:
        return "cached"
    check_writable(folder, need_bytes=50_000_000)
    with lock(folder), graceful():
        drop_leftovers(folder)
        if plain["runtime"]["force"]:
            empty(folder)
        started = time.monotonic()
        try:
            steps = build_steps(plain["pipeline"])
            run = build(plain, folder, overrides, differs)
            check_steps(run, steps)
            execute(run, steps)
        except BaseException as error:
            write_status(folder, error)
            raise
        write_json(
            folder / "status.json",
            {"status": "finished", "seconds": round(time.monotonic() - started, 1)},
        )
    return "finished"


def build(
    plain: dict[str, Any], folder: Path, overrides: list[str], differs: Sequence[str] = ()
) -> Run:
    """Build all parts of an experiment and restore its stored state.

    Corpus and task are those of the checkpoint where there is one and the user gave no others.
    """
    plain = provenance.effective(plain, overrides)
    runtime = plain["runtime"]
    torch.set_num_threads(runtime["threads"] or len(os.sched_getaffinity(0)))
    torch.manual_seed(plain["seed"])
    numbers = {
        key: value for key, value in plain["training"].items() if not key.startswith("finetune_")
    }
    settings = Settings(**{**numbers, "betas": tuple(numbers["betas"])})
    loaded = _load(plain)
    _refuse_other_model(loaded, plain, overrides)
    provenance.check(plain, overrides)
    data = instantiate(plain["data"])
    of_file = (
        loaded is not None and bool(loaded.task_config) and plain["task"] == loaded.task_config
    )
    agreement.check_rates(
        plain["task"], loaded.model_config if loaded else plain["model"], data, of_file
    )
    data.prepare()
    stamp = {
        "corpus": plain["data"].get("name") or type(data).__name__,
        "corpus_fingerprint": str(data.fingerprint()),
    }
    task_config = agreement.complete_task(plain["task"], data, of_file)
    task = instantiate(task_config)
    model_config = agreement.complete_model(
        loaded.model_config if loaded else plain["model"], task, data, loaded is not None
    )
    model = loaded.model if loaded else build_model(model_config, trusted=True)
    agreement.complete_rate(model, model_config)
    require_example(model)
    agreement.check_parts(model, task, data)
    agreement.check_metrics(plain, task.sample_rate)
    run = Run(
        plain,
        folder,
        model,
        model_config,
        data,
        task,
        task_config,
        settings,
        stamp=stamp,
        from_checkpoint=loaded is not None,
    )
    run.scale_differs = [*differs, *presets.further(plain, model_config, data.describe)]
    if loaded:
        run.mask, run.codebooks = loaded.mask, loaded.codebooks
        run.given_as = _compressed_as(loaded)
        run.parent = sha256_file(model_file(plain["checkpoint"]))
        for note in provenance.notes(plain, overrides, stamp["corpus_fingerprint"]):
            _LOG.warning(note)
    _describe(run)
    run.load_state()
    require_fit(run.model, task, data)
    return run


def _load(plain: dict[str, Any]) -> LoadedModel | None:
    """Read the checkpoint, if there is one; a plain state dict needs a model whose open arguments follow the corpus."""
    if not plain["checkpoint"]:
        return None
    model_config = agreement.complete_model(plain["model"])
    if not provenance.read_facts(plain["checkpoint"]) and plain["model"] != model_config:
        data = instantiate(plain["data"])
        data.prepare()
        task = instantiate(agreement.complete_task(plain["task"], data))
        model_config = agreement.complete_model(plain["model"], task, data)
    return load_model_file(plain["checkpoint"], model_config)


def check_steps(run: Run, steps: Mapping[str, Step]) -> None:
    """Let every step that is not done yet refuse what it could not carry out, before the first one begins; nested ones too."""
    run.steps = steps
    left = {path: step for path, step in steps.items() if path not in run.completed}
    for path, step in walk(left):
        if path not in run.completed and isinstance(step, Checks):
            step.check(run)


def walk(steps: Mapping[str, Step]) -> Iterator[tuple[str, Step]]:
    """Yield every step of a pipeline with its path, a step before those that it holds."""
    for path, step in steps.items():
        yield path, step
        if isinstance(step, Nests):
            yield from walk(step.nested(path))


def build_steps(pipeline: dict[str, Any]) -> dict[str, Step]:
    """Instantiate a pipeline's steps in their order.

    Raises:
        ConfigError: The pipeline has no steps.
    """
    steps = pipeline.get("steps") or {}
    if not steps:
        raise ConfigError(
            f"pipeline '{pipeline.get('name')}': expected a mapping 'steps' of name -> step, "
            f"got none; choose another pipeline"
        )
    return {name: instantiate(step) for name, step in steps.items()}


def _refuse_other_model(
    loaded: LoadedModel | None, plain: dict[str, Any], overrides: list[str]
) -> None:
    """A model, or an argument of it, that is asked for beside a checkpoint must be the checkpoint's."""
    if loaded is None:
        return
    wish = provenance.model_wish(plain["model"], overrides)
    wrong = provenance.differing(wish, loaded.model_config)
    if not wrong:
        return
    singly = [
        item
        for item in overrides
        if any(item.lstrip("+").startswith(f"model.{key}=") for key in wrong)
    ]
    whole = [item for item in overrides if item.lstrip("+").startswith(("model=", "experiment="))]
    raise CheckpointError(
        f"checkpoint is for {_signature(loaded.model_config)}, the command line asks for "
        f"{_signature(plain['model'])} "
        f"(differs in {', '.join(wrong)}); leave {' '.join(singly or whole)} away or give "
        f"another checkpoint"
    )


def _compressed_as(loaded: LoadedModel) -> str:
    """Say how a loaded model was compressed, by what it holds rather than by what its file is called; empty for a dense one."""
    weights = dict(loaded.model.named_parameters())
    names = prunable(loaded.model)
    zero = sum(int((weights[name] == 0).sum()) for name in names)
    found = ["pruned"] if zero > DENSE_ZEROS * sum(weights[name].numel() for name in names) else []
    with checkpoint.seeded(0):
        full = dict(build_model(loaded.model_config, trusted=True).named_parameters())
    if any(full[name].shape != weight.shape for name, weight in weights.items() if name in full):
        found.append("trimmed")
    return " and ".join(found + (["quantized"] if loaded.codebooks else []))


def _signature(config: dict[str, Any]) -> str:
    arguments = ", ".join(
        f"{key}={value}" for key, value in config.items() if key not in ("name", "_target_")
    )
    return f"{str(config.get('_target_', '?')).rpartition('.')[2]}({arguments})"


def _describe(run: Run) -> None:
    """Write run.json and env.json, refusing to continue on data that changed."""
    fingerprint = run.stamp["corpus_fingerprint"]
    known = read_json(run.folder / "run.json")
    if known and known.get("data_fingerprint") != fingerprint:
        raise DataError(
            f"{run.folder}: the data changed since this run began; run again with "
            f"runtime.force=true to start over"
        )
    facts = {
        "name": run.folder.name,
        "verb": run.config.get("verb", ""),
        "hash": config_hash(run.config),
        "model": run.model_config.get("name"),
        "pipeline": run.config["pipeline"].get("name"),
        "seed": run.seed,
        "scale": run.scale,
        "scale_differs": run.scale_differs,
        "data": clean(run.data.describe()),
        "data_fingerprint": fingerprint,
        "parent": run.parent,
        "config": result_config(run.config),
    }
    write_json(run.folder / "run.json", facts)
    write_json(run.folder / "env.json", environment())
