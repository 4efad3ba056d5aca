"""How a pipeline draws lottery tickets: train and keep early weights, prune, go back to them, train again, measure.

Which units or weights stay is decided in audioprune.compress.lottery; repetition is that of
control.py.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from torch import Tensor, nn

from audioprune import checkpoint
from audioprune.compress import lottery
from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import criterion
from audioprune.compress.lottery import WEIGHT_CRITERIA, Origin, Selection
from audioprune.compress.masks import Mask, complete
from audioprune.compress.units.declare import Prunable, UnitSet
from audioprune.compress.units.trim import trim_
from audioprune.compress.weight_norm import fold_weight_norm_, is_normed
from audioprune.errors import ConfigError, DivergedError, unknown_name
from audioprune.experiment.model_io import build_model, load_model_file, restore_model
from audioprune.experiment.model_size import running_costs, save_model
from audioprune.experiment.pipeline import walk
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import Draw
from audioprune.interrupts import check_stop
from audioprune.ranges import OneOf, Range
from audioprune.steps.control import say_enough
from audioprune.steps.folding import fold_first
from audioprune.steps.needs import check_items, units_of, whole
from audioprune.steps.train import check_monitor, drop_checkpoints, open_fit, train_row
from audioprune.training.devices import chosen_device
from audioprune.training.settings import Settings

MODES = ("trim", "mask")
TRAINED = ("monitor", "epochs", "best_epoch", "kept_epoch", "steps", "seconds")
Wanted = TypeVar("Wanted")
RESETS = ("rewind", "reinit", "rescale")
REWIND_FILE = "rewind.safetensors"


@dataclass
class LotteryTrain:
    """Train to completion: the first time from the beginning, keeping the weights of an early moment, later for what is left after it.

    Optimiser, learning-rate rule and order of the batches begin anew every time.

    Attributes:
        rewind: The moment k: ``500it`` after 500 steps, ``7ep`` after 7 epochs, ``0ep`` before the
            first step.

    Raises:
        ConfigError: The moment cannot be read or lies at or behind the end of the training.

    Source: Esling et al., Sec. 2.2.2, steps 2 and 5.
    """

    rewind: str = "0ep"

    def __post_init__(self) -> None:
        self._moment = Moment.parse(self.rewind)

    def check(self, run: Run) -> None:
        """Refuse a moment that lies at or behind the end of the training."""
        check_monitor(run, self._rest(run))

    def run(self, run: Run, path: str) -> None:
        """Train to the end; the model gets the weights of the best validation."""
        first = run.findings.lottery.round == 0
        fold_first(run, path)  # the early weights must have the names of the pruned ones
        settings = run.settings if first else self._rest(run)
        snapshot = Snapshot(self._moment, run.folder / REWIND_FILE)
        outcome = open_fit(
            run, path, settings, mask=run.mask, hooks=(snapshot,) if first else ()
        ).run()
        if not (run.folder / REWIND_FILE).exists():
            raise ConfigError(
                f"training ended after {outcome.steps} steps, before "
                f"pipeline.rewind={self.rewind}; give an earlier moment"
            )
        run.model.cpu()
        run.codebooks = None
        found = run.findings.lottery
        found.rewind, found.trained = self.rewind, train_row(run, path, outcome, settings)
        run.results.put({**found.trained, "round": found.round})

    def _rest(self, run: Run) -> Settings:
        """Return the training numbers of what is left after the moment."""
        return self._moment.after(
            run.settings, math.ceil(len(run.data.train()) / run.settings.batch_size)
        )

    def cleanup(self, run: Run, path: str) -> None:
        """Drop the checkpoints; the result is in the run's state."""
        drop_checkpoints(run, path)


@dataclass
class LotteryPrune:
    """Choose the next ticket by the trained weights, and mask the model or cut it down to it.

    A round that can remove nothing, because every set of units is at its floor, ends the
    repetition.

    Attributes:
        mode: ``trim`` takes units out of the model, ``mask`` zeroes single weights of all layers
            but the last.
        criterion: ``magnitude``, ``gradient``, ``activation``, ``normalization`` or
            ``information``; for masks one of the first two.
        scope: ``local`` or ``global``.
        scaling: ``max``, ``dimension`` or ``none``.
        budget: ``weights`` or ``units``.
        fraction: Share that a round removes.
        min_units: Units that every set keeps; the authors' code keeps three. A layer normalisation
            of a single unit would let nothing pass.
        evidence_items: Validation items that a criterion looks at, or None for all.
        samples: Pairs of example and frame of the information criterion.
        noise_rel: Its noise, in deviations of a unit.

    Source: Esling et al., Sec. 3.
    """

    mode: Annotated[str, OneOf(*MODES)] = "trim"
    criterion: Annotated[
        str, OneOf("magnitude", "gradient", "activation", "normalization", "information")
    ] = "information"
    scope: Annotated[str, OneOf("local", "global")] = "global"
    scaling: Annotated[str, OneOf("max", "dimension", "none")] = "max"
    budget: Annotated[str, OneOf("weights", "units")] = "weights"
    fraction: Annotated[float, Range(above=0, below=1)] = 0.3
    min_units: Annotated[int, Range(1)] = 3
    evidence_items: Annotated[int | None, Range(1)] = None
    samples: Annotated[int, Range(20, 100_000)] = 2000
    noise_rel: Annotated[float, Range(0)] = 0.05

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(unknown_name("mode", self.mode, MODES))
        check_items("evidence_items", self.evidence_items)
        whole("samples", self.samples, 1)
        self.selection = Selection(
            self.criterion, self.scope, self.scaling, self.budget, self.fraction, self.min_units
        )

    @property
    def draw(self) -> Draw:
        """How this step draws tickets, as rows say it."""
        numbers = {
            "fraction": self.fraction,
            "min_units": self.min_units,
            "noise_rel": self.noise_rel,
        }
        names = {
            "mode": self.mode,
            "scope": self.scope,
            "criterion": self.criterion,
            "scaling": self.scaling,
            "budget": self.budget,
        }
        return Draw(**names, **numbers, evidence_items=self.evidence_items)

    def check(self, run: Run) -> None:
        """Refuse a model without the units or layers that are to be removed."""
        sets = _unit_sets(run.model, self.mode)
        if self.mode == "mask" and self.criterion not in WEIGHT_CRITERIA:
            raise ConfigError(
                unknown_name("criterion of pipeline.mode=mask", self.criterion, WEIGHT_CRITERIA)
            )
        if self.criterion == "normalization":
            criterion("unit", self.criterion)(run.model, sets)

    def run(self, run: Run, path: str) -> None:
        """Prune one round."""
        started = time.monotonic()
        sets = _unit_sets(run.model, self.mode)
        found = run.findings.lottery
        if found.round == 0:
            found.params, found.units = (
                lottery.parameters_of(run.model),
                {each.name: each.size for each in sets},
            )
        evidence = self._evidence(run)
        run.model.to(_device(run))
        changed = (
            self._trim(run, sets, evidence)
            if self.mode == "trim"
            else self._mask(run, sets, evidence)
        )
        run.model.cpu()
        run.codebooks = None
        if not changed:
            say_enough(run, path, f"round {found.round + 1} can remove nothing more", at_once=True)
            return
        found.round, found.draw = found.round + 1, self.draw
        found.samples, found.seconds = (
            evidence.facts.get("mi_samples"),
            round(time.monotonic() - started, 2),
        )
        row = {
            "key": path,
            "kind": "ticket",
            "label": run.label,
            "round": found.round,
            "params": lottery.parameters_of(run.model),
        }
        row |= {"samples": found.samples, "seconds": found.seconds}
        left = _unit_sets(run.model, self.mode)
        run.results.put({**row, "units": {each.name: each.size for each in left}})

    def _trim(self, run: Run, sets: list[UnitSet], evidence: CalibrationData) -> bool:
        found = run.findings.lottery
        origin = Origin(found.params, found.units)
        keep = lottery.choose_units(
            run.model, sets, self.selection, found.round + 1, origin, evidence
        )
        if all(bool(kept.all()) for kept in keep.values()):
            return False
        found.kept = lottery.narrowed(found.kept, keep, sets)
        trim_(run.model, sets, keep)
        return True

    def _mask(self, run: Run, sets: list[UnitSet], evidence: CalibrationData) -> bool:
        names = lottery.maskable(run.model, sets)
        before = complete(run.mask, run.model, names)
        run.mask = lottery.choose_weights(
            run.model, names, self.selection, run.findings.lottery.round + 1, before, evidence
        ).to("cpu")
        run.mask.apply_(run.model)
        return run.mask.kept() < before.kept()

    def _evidence(self, run: Run) -> CalibrationData:
        data = run.data.valid()
        count = min(self.evidence_items or len(data), len(data))
        chosen = [
            place * len(data) // count for place in range(count)
        ]  # a set may be sorted by instrument
        batches = _batches(run, data, chosen)
        target = (
            partial(run.task.information_target, run.model)
            if hasattr(run.task, "information_target")
            else None
        )
        return CalibrationData(
            batches, run.task.loss, _examples, target, self.samples, self.noise_rel, run.seed
        )


@dataclass
class Rewind:
    """Give the ticket the early weights back, or a fresh draw of all weights.

    The full-size snapshot is cut to the units that are left, so that every surviving weight has
    the bits it had then. A fresh draw is that of a full-size network too, cut likewise: survivors
    come from the distribution that the first network came from. ``rescale`` rewinds, and makes up
    for the inputs that every layer lost, see ``lottery.rescale_cut_``.

    Attributes:
        reset: ``rewind``, ``reinit`` or ``rescale``.

    Raises:
        ConfigError: A mask is to be rescaled, whose layers keep their inputs; or a fresh draw has
            other widths than the snapshot.

    Source: Esling et al., Sec. 2.2.2, step 4, and Figure 2, right; ``rescale`` is ours.
    """

    reset: Annotated[str, OneOf(*RESETS)] = "rewind"

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ConfigError(unknown_name("reset", self.reset, RESETS))

    def check(self, run: Run) -> None:
        """Refuse to rescale where masks leave every layer its inputs, and to draw other widths anew."""
        if self.reset == "rescale" and any(
            step.mode == "mask" for step in _steps_of(run, LotteryPrune)
        ):
            raise ConfigError(
                "pipeline.reset=rescale: expected pipeline.mode=trim, got mask, which takes no "
                "inputs away; use rewind"
            )
        if self.reset == "reinit" and not run.findings.lottery.round:
            self._refuse_other_widths(_drawn(run, 0), run.model.state_dict())

    def run(self, run: Run, path: str) -> None:
        """Replace all parameters and buffers."""
        found = run.findings.lottery
        state = checkpoint.under(checkpoint.read(run.folder / REWIND_FILE)[0], "model/")
        fresh = _drawn(run, found.round)
        if self.reset != "reinit":
            restore_model(fresh, state)
        else:
            self._refuse_other_widths(fresh, state)
        if found.kept:
            lottery.cut_to_(fresh, _unit_sets(fresh, "trim"), found.kept)
        if self.reset == "rescale":
            lottery.rescale_cut_(fresh, {name: value.shape for name, value in state.items()})
        run.model, found.reset = fresh, self.reset
        if run.mask is not None:
            run.mask.apply_(run.model)

    def _refuse_other_widths(self, fresh: nn.Module, state: dict[str, Tensor]) -> None:
        if {name: value.shape for name, value in fresh.state_dict().items()} != {
            name: value.shape for name, value in state.items()
        }:
            raise ConfigError(
                "pipeline.reset=reinit: expected a model of its configured widths, got a "
                "trimmed checkpoint; use rewind"
            )


@dataclass
class LotteryEvaluate:
    """Write the ticket, read it back, measure error and costs, and record all of it in one row.

    The error is that of the task, or the loss over the test set where the task has none; smaller
    is better. How the ticket was drawn and reset is what the steps before did; of the first
    network, what the steps behind it will do. Every round has its own file. The multiplier is the
    error over that of the first network. Beside it stands the error that needs no network, such as
    that of silence, where the task knows one.

    Attributes:
        audio_rounds: Rounds after which audio of the first test items is kept.

    Raises:
        DivergedError: The first network has no error above 0.

    Source: Esling et al., Sec. 5.1 (test error multiplier) and 6.1 (costs).
    """

    audio_rounds: Annotated[list[int], Range(0)] = field(default_factory=lambda: [0])

    def run(self, run: Run, path: str) -> None:
        """Measure the model as it is on disk."""
        found = run.findings.lottery
        now = found.round
        file = run.folder / f"round-{now:02d}.safetensors"
        save_model(run, file)
        loaded = load_model_file(file, run.model_config)
        model = loaded.model.eval()
        error = self._error(run, model, now)
        if now == 0 and not 0 < error < math.inf:
            raise DivergedError(
                f"the first network has the test error {error}, which no other can be compared "
                f"with; change the training"
            )
        if found.first_error is None:
            found.first_error, found.trivial = error, self._trivial(run, model)
        row = {
            "key": path,
            "kind": "lottery",
            "label": run.label,
            "model": run.model_config.get("name"),
            **_knobs(run),
        }
        row |= {
            "dataset": (run.config.get("data") or {}).get("name"),
            "iteration": now,
            "round": now,
        }
        row |= {"test": error, "multiplier": error / found.first_error, "trivial": found.trivial}
        row |= {"val": found.trained.get("kept")} | {
            key: found.trained.get(key) for key in TRAINED
        }
        row |= _counted(model, _unit_sets(model, row["mode"]), loaded.mask)
        row |= running_costs(model, run.config["scoring"]["latency_repeats"])
        row |= {"file": file.name, "bytes_file": file.stat().st_size, "mi_samples": found.samples}
        run.results.put(
            {**row, "seconds_scoring": found.seconds, "scale": run.scale, "seed": run.seed}
        )

    def _error(self, run: Run, model: nn.Module, now: int) -> float:
        variant = "uncompressed" if now == 0 else f"round-{now:02d}"
        wanted: dict[str, Any] = {
            "variant": variant,
            "keep": run.config["scoring"]["audio_items"] if now in self.audio_rounds else 0,
        }
        errors = []
        for condition, dataset in run.data.tests().items():
            check_stop()
            metrics: dict[str, Any] = {}
            if not getattr(run.task, "scores_audio", True):
                audio = run.folder / "audio" / condition if wanted["keep"] else None
                metrics = run.task.score(
                    model, dataset, None, condition=condition, audio=audio, **wanted
                )[variant]["metrics"]
            loss = metrics.get("error")
            errors.append(
                run.task.validation_loss(model, dataset, run.data.collate, None).base()
                if loss is None
                else float(loss)
            )
        return math.fsum(errors) / len(errors)

    def _trivial(self, run: Run, model: nn.Module) -> float | None:
        if not hasattr(run.task, "trivial_error"):
            return None
        errors = [
            run.task.trivial_error(model, _batches(run, data, list(range(len(data)))))
            for data in run.data.tests().values()
        ]
        return math.fsum(errors) / len(errors)


@dataclass(frozen=True)
class Moment:
    """A moment within a training: after so many steps, or after so many epochs."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read ``500it`` or ``7ep``.

        Raises:
            ConfigError: It is neither.
        """
        match = re.fullmatch(r"(\d+)(it|ep)", str(text))
        if match is None:
            raise ConfigError(
                f"pipeline.rewind: expected steps or epochs such as 500it, 7ep or 0ep, got "
                f"{text!r}; correct it"
            )
        return cls(int(match.group(1)), match.group(2))

    def after(self, settings: Settings, per_epoch: int) -> Settings:
        """Return the training numbers of what is left after this moment.

        Raises:
            ConfigError: Nothing is left.
        """
        planned = min(settings.epochs * per_epoch, settings.steps or settings.epochs * per_epoch)
        done = self.count if self.unit == "it" else self.count * per_epoch
        if done >= planned:
            raise ConfigError(
                f"pipeline.rewind: expected a moment before the last of {planned} steps, got "
                f"{done} steps; lower it"
            )
        left = planned - done
        whole = self.unit == "ep" and settings.steps is None
        return replace(settings, epochs=math.ceil(left / per_epoch), steps=None if whole else left)


class Snapshot:
    """A hook that stores the model once, at one moment of its training.

    Args:
        moment: When.
        file: Where to; written anew when a resumed training passes the moment again, with the same
            bits.
    """

    def __init__(self, moment: Moment, file: Path) -> None:
        self.moment, self.file, self.steps = moment, file, 0

    def on_epoch_begin(self, epoch: int, model: nn.Module) -> None:
        """Store after so many epochs."""
        if self.moment.unit == "ep" and epoch == self.moment.count:
            self._store(model)

    def on_step_begin(self, model: nn.Module) -> None:
        """Store after so many steps."""
        if self.moment.unit == "it" and self.steps == self.moment.count:
            self._store(model)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps begun."""
        return {"facts": {"steps": self.steps}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps = int(state["facts"]["steps"])

    def _store(self, model: nn.Module) -> None:
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
        checkpoint.write(self.file, tensors, {"moment": f"{self.moment.count}{self.moment.unit}"})


def _knobs(run: Run) -> dict[str, Any]:
    """Say how the ticket was drawn and reset, and which moment it goes back to."""
    found = run.findings.lottery
    draw, reset = found.draw, found.reset
    if draw is None:
        planned, resets = _steps_of(run, LotteryPrune), _steps_of(run, Rewind)
        draw, reset = planned[0].draw if planned else None, resets[0].reset if resets else None
    names = [each.name for each in fields(Draw)]
    return {
        **(asdict(draw) if draw else dict.fromkeys(names)),
        "rewind": found.rewind,
        "reset": reset,
    }


def _steps_of(run: Run, kind: type[Wanted]) -> list[Wanted]:
    return [step for _, step in walk(run.steps) if isinstance(step, kind)]


def _unit_sets(model: nn.Module, mode: str | None) -> list[UnitSet]:
    """List the units of a model; masks need none, so that only declared ones are listed then."""
    if mode == "trim" or isinstance(model, Prunable):
        return units_of(model, "units", "set pipeline.mode=mask")
    return []


def _drawn(run: Run, number: int) -> nn.Module:
    """Build a network of full size whose weights are a function of seed and round alone."""
    with torch.random.fork_rng():
        torch.manual_seed((run.seed * 1_000_003 + 7919 * number) % 2**63)
        model = build_model(run.model_config, trusted=True)
    if not is_normed(run.model):
        fold_weight_norm_(model)
    return model


def _batches(run: Run, data: Any, chosen: list[int]) -> Iterator[dict[str, Any]]:
    size = run.settings.batch_size
    for start in range(0, len(chosen), size):
        check_stop()
        batch = run.data.collate([data[index] for index in chosen[start : start + size]])
        yield {
            key: value.to(_device(run)) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }


def _device(run: Run) -> torch.device:
    """Return where the training runs, which is where a criterion's passes run too."""
    return chosen_device(run.runtime["device"])


def _examples(batch: dict[str, Any]) -> float:
    return float(len(next(iter(batch.values()))))


def _counted(model: nn.Module, sets: list[UnitSet], mask: Mask | None) -> dict[str, Any]:
    """Count parameters and units, masked and removable ones."""
    row: dict[str, Any] = {
        "params": lottery.parameters_of(model),
        "units": sum(each.size for each in sets),
    }
    row["params_nonzero"] = sum(int(parameter.count_nonzero()) for parameter in model.parameters())
    row["units_per_set"] = {each.name: each.size for each in sets}
    masked = (
        {name: int(gone.sum()) for name, gone in lottery.fully_masked(sets, mask).items()}
        if mask is not None
        else {}
    )
    row["units_masked"] = sum(masked.values())
    return row | {"mask_sparsity": mask.sparsity() if mask is not None else 0.0}
