"""The rehearsal of an experiment: ``rehearse`` runs its real steps, each with few units.

The model, the task, the optimiser and the length of every item have their true size; the numbers
of items, steps, tensors and repetitions are lowered. Everything is written to the folder given,
which is no run folder: no row of a rehearsal is a result.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from audioprune.errors import AudiopruneError, ConfigError, InterruptedRun
from audioprune.experiment.build import build
from audioprune.experiment.pipeline import build_steps, execute, walk
from audioprune.experiment.rehearsal.few_items import Counts, few_of
from audioprune.experiment.rehearsal.forecast import Forecast, StepForecast, filled, unit_costs
from audioprune.experiment.rehearsal.peaks import (
    begin_peaks,
    device_bytes,
    folder_bytes,
    free_disk,
    host_bytes,
    peaks,
)
from audioprune.experiment.rehearsal.stopwatch import Stopwatch, now
from audioprune.experiment.run import Run
from audioprune.metrics import measure
from audioprune.protocols import (
    Checks,
    CleansUp,
    Corpus,
    HasNetworks,
    Repeats,
    SaysWork,
    Step,
    changes_state,
    scores_audio,
)
from audioprune.protocols.work import TRAINING_STEP, ChoosesConditions, Work, with_few_units
from audioprune.training.devices import chosen_device
from audioprune.training.loaders import moved

STEPS = 2
"""Training steps of every training: the first warms up."""
TENSORS = 3
"""Tensors that an analysis looks at: the first, the middle and the last."""
_LONGEST_STEP_S = 2.0
"""A batch is cut to the items whose step takes about this long; its time and memory are scaled."""
_WARM_S = 1.0
_SPARE = 0.95  # of a memory, which the system shares

Told = Callable[[str], None]


@dataclass
class _Leaf:
    """One step of the pipeline without steps of its own: as configured, and as rehearsed."""

    path: str
    passes: int
    step: Step
    few: Step


@dataclass
class _Batch:
    """The items of a rehearsed batch, and what one more of them takes.

    Attributes:
        items: Items of a rehearsed batch.
        whole: Items of a batch of the experiment.
        bytes_per_item: Memory that one more item takes in a training step.
    """

    items: int
    whole: int
    bytes_per_item: float = 0.0

    @property
    def factor(self) -> float:
        return self.whole / self.items

    @property
    def missing_bytes(self) -> int:
        return round((self.whole - self.items) * self.bytes_per_item)


@dataclass
class _Measured:
    """A leaf within the pipeline: runs the rehearsed step and keeps what it took."""

    leaf: _Leaf
    meter: _Meter

    @property
    def changes_state(self) -> bool:
        return changes_state(self.leaf.few)

    def run(self, run: Run, path: str) -> None:
        self.meter.measure(run, path, self.leaf)

    def cleanup(self, run: Run, path: str) -> None:
        if isinstance(self.leaf.few, CleansUp):
            self.leaf.few.cleanup(run, path)


@dataclass
class _Meter:
    """Measures step after step.

    Attributes:
        whole: Corpus and settings of the experiment.
        batch: What a rehearsed batch is.
        watch: Times the task.
        tell: Says which step begins.
    """

    whole: Run
    batch: _Batch
    watch: Stopwatch
    tell: Told
    found: dict[str, StepForecast] = field(default_factory=dict)

    def measure(self, run: Run, path: str, leaf: _Leaf) -> None:
        """Run one rehearsed step; a failure is kept and the next step goes on."""
        self.tell(leaf.path)
        whole = self._work(leaf.step, run.at_size_of(self.whole))
        few = self._work(leaf.few, run)
        before = folder_bytes(run.folder)
        gc.collect()
        begin_peaks()
        self.watch.reset()
        started, failure = now(), ""
        try:
            with self.watch.forwards(run.model):
                leaf.few.run(run, path)
            run.save_state()
        except InterruptedRun:
            raise
        except Exception as error:  # what fails now would fail after a day
            failure = _one_line(error)
        seconds, peak = now() - started, peaks()
        missing = self.batch.missing_bytes if self.watch.spent.get(TRAINING_STEP) else 0
        on_device = peak.device > 0
        self.found[leaf.path] = StepForecast(
            leaf.path,
            leaf.passes,
            unit_costs(whole, few, self._per_unit(few), self._rest(few, seconds)),
            peak.host + (0 if on_device else missing),
            peak.device + (missing if on_device else 0),
            max(0, folder_bytes(run.folder) - before),
            failure,
        )

    def _per_unit(self, few: list[Work]) -> dict[str, float]:
        """Return the seconds of the step's units that were timed, of a whole batch each."""
        timed = {each.unit: self.watch.per_unit(each.unit) for each in few}
        found = {unit: seconds for unit, seconds in timed.items() if seconds is not None}
        if TRAINING_STEP in found:
            found[TRAINING_STEP] *= self.batch.factor
        return found

    def _rest(self, few: list[Work], seconds: float) -> float:
        timed = [each.unit for each in few if self.watch.per_unit(each.unit) is not None]
        return max(0.0, seconds - sum(self.watch.seconds(unit) for unit in timed))

    def _work(self, step: Step, run: Run) -> list[Work]:
        """Count the work of a step; one that cannot be counted says so when it is run."""
        try:
            return step.work(run) if isinstance(step, SaysWork) else []
        except AudiopruneError:
            return []

    def unmeasured(self, leaf: _Leaf) -> StepForecast:
        """Return a step that an earlier one left out."""
        whole = self._work(leaf.step, self.whole)
        units = unit_costs(whole, [], {}, 0.0)
        return StepForecast(leaf.path, leaf.passes, units, measured=False)


def rehearse(
    plain: dict[str, Any],
    overrides: list[str],
    data: Corpus,
    folder: Path,
    *,
    place: Path,
    tell: Told = lambda path: None,
) -> Forecast:
    """Run an experiment with few units, and say what the whole of it will take.

    Args:
        plain: The composed configuration as plain values.
        overrides: The command line.
        data: The corpus of the experiment, prepared, or one that claims its counts.
        folder: An empty folder for what the steps write.
        place: Where the experiment's own folder will be; its disk must have room.
        tell: Called with the path of every step before it is run.

    Raises:
        ConfigError: The experiment cannot be built.
        InterruptedRun: The user stopped.
    """
    lowered = _lowered(plain, folder)
    steps = build_steps(plain["pipeline"])
    run = build(lowered, folder, overrides, data=data)
    whole, facts = run.at_size_of(run), _facts(run)
    problems = [*_refusals(run, steps), *_missing_packages(run)]
    batch = _fitting_batch(run)
    patterns = [pattern for _, step in walk(steps) for pattern in _conditions_of(step)]
    counts = Counts(STEPS * batch.items)
    run.data, reading_s = few_of(data, counts, patterns)
    run.settings = replace(run.settings, batch_size=batch.items, steps=STEPS, early_stop=None)
    run.few_tensors = TENSORS
    run.steps = with_few_units(steps)
    meter = _Meter(whole, batch, Stopwatch(), tell)
    leaves: list[_Leaf] = []
    measured = _wrapped(steps, with_few_units(steps), "", 1, meter, leaves)
    with meter.watch.watching(run.task):
        execute(run, measured)
    found = [meter.found.get(leaf.path) or meter.unmeasured(leaf) for leaf in leaves]
    facts |= {"batch": [batch.items, batch.whole], "reading_s": reading_s}
    forecast = Forecast(filled(found), (), facts)
    return replace(forecast, problems=(*problems, *_shortages(forecast, place)))


def _lowered(plain: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the configuration with few measurements, no audio, and nothing made before."""
    scoring = dict(plain["scoring"])
    scoring |= {"audio_items": 0, "latency_repeats": min(1, scoring["latency_repeats"])}
    runtime = dict(plain["runtime"])
    runtime |= {"tensorboard": False, "metric_workers": 0, "share": False}
    runtime["cache"] = str(folder / "cache")
    return {**plain, "scoring": scoring, "runtime": runtime}


def _wrapped(
    steps: Mapping[str, Step],
    few: Mapping[str, Step],
    prefix: str,
    passes: int,
    meter: _Meter,
    leaves: list[_Leaf],
) -> dict[str, Step]:
    """Put a measuring step around every leaf of a rehearsed pipeline, and list the leaves."""
    found: dict[str, Step] = {}
    for name, step in steps.items():
        path, small = f"{prefix}{name}", few[name]
        if isinstance(step, Repeats) and isinstance(small, Repeats):
            times = passes * step.most
            small.steps = _wrapped(step.steps, small.steps, f"{path}/", times, meter, leaves)
            found[name] = small
            continue
        leaves.append(_Leaf(path, passes, step, small))
        found[name] = _Measured(leaves[-1], meter)
    return found


def _refusals(run: Run, steps: Mapping[str, Step]) -> Iterator[str]:
    """Yield what steps refuse before any work begins."""
    run.steps = steps
    for path, step in walk(steps):
        if isinstance(step, Checks):
            try:
                step.check(run)
            except Exception as error:  # a defect of a step is a problem of the run, too
                yield f"{path}: {_one_line(error)}"


def _missing_packages(run: Run) -> Iterator[str]:
    """Yield which metrics cannot be measured here; afterwards all of them are warm."""
    if not scores_audio(run.task):
        return
    rate = run.task.sample_rate
    time = np.arange(round(_WARM_S * rate)) / rate
    signal = (0.1 * np.sin(2 * np.pi * 200 * time) * np.sin(2 * np.pi * 3 * time)).astype("f4")
    noisy = signal + 0.01 * np.random.default_rng(0).standard_normal(len(signal)).astype("f4")
    for metric in run.config["scoring"]["metrics"]:
        reason = measure(metric, signal, noisy, rate).reason
        if reason.endswith("is not installed"):
            yield f"{metric}: {reason}"


def _fitting_batch(run: Run) -> _Batch:
    """Return how many items a rehearsed batch may have, so that a step takes seconds at most."""
    device = chosen_device(run.runtime["device"])
    run.model.to(device)
    beside = run.task if isinstance(run.task, HasNetworks) else None
    if beside is not None:
        beside.to(device)
    whole = run.settings.batch_size
    _pass(run, 1, device)
    one_s, one_peak = _pass(run, 1, device)
    items = max(1, min(whole, math.floor(_LONGEST_STEP_S / max(one_s, 1e-9))))
    if items == whole:
        return _Batch(items, whole)
    more = max(2, min(items, whole))
    _, peak = _pass(run, more, device)
    return _Batch(items, whole, max(0.0, (peak - one_peak) / (more - 1)))


def _pass(run: Run, items: int, device: torch.device) -> tuple[float, int]:
    """Run losses and gradients of one batch; return its seconds and the peak of the memory."""
    train = run.data.train()
    count = min(items, len(train))
    batch = moved(run.data.collate([train[index] for index in range(count)]), device)
    gc.collect()
    begin_peaks()
    started = now()
    with torch.random.fork_rng(devices=[]):
        run.model.train()
        run.task.step(run.model, batch, _backward)
        run.model.eval()
    seconds, peak = now() - started, peaks()
    for network in _networks(run):
        network.zero_grad(set_to_none=True)
    return seconds, peak.device or peak.host


def _networks(run: Run) -> list[nn.Module]:
    beside = run.task.modules().values() if isinstance(run.task, HasNetworks) else ()
    return [run.model, *beside]


def _backward(loss: torch.Tensor, which: str = "model", **_: Any) -> torch.Tensor:
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    return loss.detach()


def _conditions_of(step: Step) -> list[str]:
    return list(step.conditions or ()) if isinstance(step, ChoosesConditions) else []


def _facts(run: Run) -> dict[str, Any]:
    device = chosen_device(run.runtime["device"])
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    train, valid = len(run.data.train()), len(run.data.valid())
    tests = [len(items) for items in run.data.tests().values()]
    return {
        "model": run.label,
        "params": sum(each.numel() for each in run.model.parameters()),
        "pipeline": run.config["pipeline"].get("name"),
        "device": name,
        "threads": torch.get_num_threads(),
        "corpus": run.data.scale(),
        "items": [train, valid, sum(tests)],
        "conditions": len(tests),
    }


def _shortages(forecast: Forecast, place: Path) -> Iterator[str]:
    """Yield where memory or disk will not do."""
    host, device, free = host_bytes(), device_bytes(), free_disk(place)
    for step in forecast.steps:
        if step.failure:
            yield f"{step.path}: {step.failure}"
        if step.host_bytes > _SPARE * host:
            yield _short(step.path, "memory", step.host_bytes, host, _SMALLER)
        if device and step.device_bytes > _SPARE * device:
            yield _short(step.path, "memory on the device", step.device_bytes, device, _SMALLER)
    if forecast.disk_bytes > free:
        remedy = "give runtime.folder=... on another disk"
        yield _short(str(place), "free disk", forecast.disk_bytes, free, remedy)


_SMALLER = "lower training.batch_size or choose a larger machine"


def _short(where: str, what: str, needed: float, there: float, remedy: str) -> str:
    return f"{where}: expected {needed / 1e9:.1f} GB of {what}, got {there / 1e9:.1f} GB; {remedy}"


def _one_line(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return text if isinstance(error, ConfigError) else f"{type(error).__name__}: {text}"
