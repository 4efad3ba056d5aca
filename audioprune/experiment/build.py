"""From a configuration to a finished experiment: ``build`` makes its parts, ``run_job`` runs it.

Corpus, task and model are made in this order, since each follows the one before
(experiment/agreement.py); with a checkpoint the model is loaded instead. The same folder again
goes on where it was left.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from audioprune import checkpoint, provenance
from audioprune.compress.masks import prunable
from audioprune.errors import CheckpointError, DataError
from audioprune.experiment import agreement, presets
from audioprune.experiment.compatibility import require_fit
from audioprune.experiment.config_hash import config_hash, plain_values, result_config
from audioprune.experiment.cost import require_example
from audioprune.experiment.foreign.trial import require_runs
from audioprune.experiment.model_io import (
    LoadedModel,
    build_model,
    existing_file,
    instantiate,
    is_package_model,
    is_plain_state,
    load_model_file,
)
from audioprune.experiment.originals.teacher import give_teacher
from audioprune.experiment.pipeline import build_steps, check_steps, execute
from audioprune.experiment.results import clean
from audioprune.experiment.run import Run
from audioprune.experiment.run_folder import (
    beside,
    drop_processes,
    empty,
    environment,
    read_json,
    refuse_foreign,
    write_status,
)
from audioprune.experiment.state_dicts import read_state_dict
from audioprune.files import check_writable, drop_leftovers, lock, sha256_file
from audioprune.interrupts import graceful
from audioprune.launch import place
from audioprune.paths import model_file
from audioprune.progress import run_display
from audioprune.protocols import Corpus, NotScored
from audioprune.records import read_record, write_record
from audioprune.training.devices import chosen_device
from audioprune.training.loaders import chosen_workers
from audioprune.training.processes import Processes, processes
from audioprune.training.processes.group import joined
from audioprune.training.settings import Settings

DENSE_ZEROS = 0.01
"""Largest share of zero weights of a dense model: single zeros come about without pruning."""
_NEEDED_BYTES = 50_000_000
_LOG = logging.getLogger(__name__)
Config = dict[str, Any]


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
    plain = provenance.effective(plain_values(config), overrides)
    device = chosen_device(plain["runtime"]["device"])
    chosen_workers(plain["runtime"]["workers"], device.type)

    def work(own: Path) -> None:
        steps = build_steps(plain["pipeline"])
        run = build(plain, own, overrides, differs)
        check_steps(run, steps)
        title = f"{run.label}, {plain['pipeline'].get('name')} on {run.stamp['corpus']}"
        with run_display(title, list(steps), run.completed):
            execute(run, steps)

    with graceful(), joined(device) as group:
        about = {"verb": plain.get("verb"), "device": device.type, **result_config(plain)}
        group.require_same({**about, "environment": config_hash(plain)}, "configuration")
        if group.is_main:
            return _owned(work, plain, folder, group)
        return _beside(work, group)


def _owned(work: Callable[[Path], None], plain: Config, folder: Path, group: Processes) -> str:
    """Do the work in the run folder, which this process owns."""
    force = plain["runtime"]["force"]
    status = read_json(folder / "status.json")
    if not force or read_json(folder / "run.json"):  # force starts a damaged folder over
        refuse_foreign(folder, plain)
    if status.get("status") == "finished" and not force:
        group.broadcast("")
        return "cached"
    check_writable(folder, need_bytes=_NEEDED_BYTES)
    with lock(folder):
        drop_leftovers(folder)
        drop_processes(folder)
        if force:
            empty(folder)
        started = time.monotonic()
        try:
            group.broadcast(str(folder.resolve()))
            group.barrier()  # the others begin with what the folder holds now
            work(folder)
            group.barrier()
        except BaseException as error:
            write_status(folder, error)
            raise
        finally:
            drop_processes(folder)
        seconds = round(time.monotonic() - started, 1)
        write_record(folder / "status.json", {"status": "finished", "seconds": seconds})
    return "finished"


def _beside(work: Callable[[Path], None], group: Processes) -> str:
    """Do the same work in a folder that goes at the end."""
    folder = group.broadcast("")
    if not folder:
        return "cached"
    with beside(Path(folder), group.index) as own:
        group.barrier()
        work(own)
        group.barrier()
    return "finished"


def build(
    plain: Config,
    folder: Path,
    overrides: list[str],
    differs: Sequence[str] = (),
    data: Corpus | None = None,
) -> Run:
    """Build all parts of an experiment and restore its stored state.

    Corpus and task are those of the checkpoint where there is one and the user gave no others;
    ``data`` takes the place of the corpus in a rehearsal.
    """
    plain = provenance.effective(plain, overrides)
    cores = max(1, len(os.sched_getaffinity(0)) // place().local_count)
    torch.set_num_threads(plain["runtime"]["threads"] or cores)
    torch.manual_seed(plain["seed"])
    settings = _settings(plain["training"])
    loaded = _load(plain)
    _refuse_other_model(loaded, plain, overrides)
    provenance.check(plain, overrides)
    run = _assembled(plain, folder, settings, loaded, data)
    run.scale_differs = ["rehearsal"]  # whatever it writes is of no declared scale
    if data is None:
        found = presets.further(plain, run.model_config, run.data.describe)
        run.scale_differs = [*differs, *found]
    if loaded:
        run.mask, run.codebooks = loaded.mask, loaded.codebooks
        run.place()
        run.given_as = _compressed_as(loaded)
        run.parent = sha256_file(model_file(plain["checkpoint"]))
        for note in provenance.notes(plain, overrides, run.stamp["corpus_fingerprint"]):
            _LOG.warning(note)
    give_teacher(run)
    _describe(run)
    run.load_state()
    require_fit(run.model, run.task, run.data)
    return run


def _settings(training: Config) -> Settings:
    of_pipelines = ("finetune_", "ramp_")
    numbers = {key: value for key, value in training.items() if not key.startswith(of_pipelines)}
    return Settings(**{**numbers, "betas": tuple(numbers["betas"])})


def _load(plain: Config) -> LoadedModel | None:
    """Read the checkpoint, if there is one.

    A plain state dict needs a model to be built first, whose open arguments follow the corpus.
    """
    if not plain["checkpoint"]:
        return None
    model_config = agreement.complete_model(plain["model"])
    file = existing_file(plain["checkpoint"])  # before any corpus is made
    said = provenance.read_facts(file)
    if not said and is_plain_state(file) and plain["model"] != model_config:
        read_state_dict(file)  # before any corpus is made
        data = instantiate(plain["data"])
        with processes().main_first():
            data.prepare()
        task = instantiate(agreement.complete_task(plain["task"], data))
        model_config = agreement.complete_model(plain["model"], task, data)
    return load_model_file(plain["checkpoint"], model_config, plain["task"])


def _assembled(
    plain: Config,
    folder: Path,
    settings: Settings,
    loaded: LoadedModel | None,
    given: Corpus | None = None,
) -> Run:
    """Make corpus, task and model agree and put them into a run."""
    wanted = loaded.model_config if loaded else plain["model"]
    of_file = bool(loaded and loaded.task_config and plain["task"] == loaded.task_config)
    data: Corpus = instantiate(plain["data"]) if given is None else given
    agreement.check_rates(plain["task"], wanted, data, of_file)
    with processes().main_first():  # it may write what the others read
        data.prepare()
    task_config = agreement.complete_task(plain["task"], data, of_file)
    task = instantiate(task_config)
    model_config = agreement.complete_model(wanted, task, data, loaded is not None)
    model = loaded.model if loaded else build_model(model_config, trusted=True)
    agreement.complete_rate(model, model_config)
    require_example(model)
    if not is_package_model(str(model_config.get("_target_", ""))):
        require_runs(model)
    agreement.check_parts(model, task, data)
    if not isinstance(task, NotScored):
        agreement.check_metrics(plain, task.sample_rate)
    stamp = {
        "corpus": plain["data"].get("name") or type(data).__name__,
        "corpus_fingerprint": str(data.fingerprint()),
    }
    return Run(
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


def _refuse_other_model(
    loaded: LoadedModel | None, plain: Config, overrides: Sequence[str]
) -> None:
    """Refuse a model, or an argument of it, that is not the one of the checkpoint."""
    if loaded is None:
        return
    wish = provenance.model_wish(plain["model"], overrides)
    wrong = provenance.differing(wish, loaded.model_config)
    if not wrong:
        return
    keys = tuple(f"model.{key}=" for key in wrong)
    own = not is_package_model(str(loaded.model_config.get("_target_", "")))
    singly = [_typed(item, own) for item in overrides if item.lstrip("+").startswith(keys)]
    whole = [item for item in overrides if item.lstrip("+").startswith(("model=", "experiment="))]
    raise CheckpointError(
        f"checkpoint is for {_signature(loaded.model_config)}, the command line asks for "
        f"{_signature(plain['model'])} (differs in {', '.join(wrong)}); leave "
        f"{' '.join(singly or whole)} away or give another checkpoint"
    )


def _typed(word: str, own: bool) -> str:
    """Return a word of the command line as it was typed; own arguments lost their ``args``."""
    key = word.lstrip("+").removeprefix("model.")
    plain = key.startswith(("args.", *(f"{name}=" for name in provenance.READING)))
    return f"model.args.{key}" if own and word.startswith("++") and not plain else word.lstrip("+")


def _signature(config: Config) -> str:
    named = {key: value for key, value in config.items() if key not in ("name", "_target_")}
    arguments = ", ".join(f"{key}={value}" for key, value in named.items())
    return f"{str(config.get('_target_', '?')).rpartition('.')[2]}({arguments})"


def _compressed_as(loaded: LoadedModel) -> str:
    """Say how a loaded model was compressed, by what it holds; empty for a dense one."""
    weights = dict(loaded.model.named_parameters())
    names = prunable(loaded.model)
    zero = sum(int((weights[name] == 0).sum()) for name in names)
    total = sum(weights[name].numel() for name in names)
    with checkpoint.seeded(0):
        full = dict(build_model(loaded.model_config, trusted=True).named_parameters())
    smaller = [
        name for name in weights if name in full and full[name].shape != weights[name].shape
    ]
    found = ["pruned"] if zero > DENSE_ZEROS * total else []
    found += ["trimmed"] if smaller else []
    found += ["quantized"] if loaded.codebooks else []
    return " and ".join(found)


def _describe(run: Run) -> None:
    """Write run.json and env.json.

    Raises:
        DataError: The data changed since the run began.
    """
    fingerprint = run.stamp["corpus_fingerprint"]
    known = read_record(run.folder / "run.json")
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
    write_record(run.folder / "run.json", facts)
    write_record(run.folder / "env.json", environment())
