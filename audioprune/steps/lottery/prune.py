"""How a ticket is drawn from a trained model: ``LotteryPrune``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from audioprune.compress import lottery
from audioprune.compress.criteria.data import CalibrationData
from audioprune.compress.criteria.importance import criterion
from audioprune.compress.lottery import WEIGHT_CRITERIA, Origin, Selection
from audioprune.compress.masks import complete
from audioprune.compress.units.declare import UnitSet
from audioprune.compress.units.trim import trim_
from audioprune.errors import ConfigError, unknown_name
from audioprune.experiment.run import Run
from audioprune.experiment.step_state import Draw
from audioprune.protocols import Batch, HasInformationTarget
from audioprune.protocols.work import DRAWN_ITEM, Work
from audioprune.ranges import OneOf, Range
from audioprune.steps.control import say_enough
from audioprune.steps.lottery.parts import batches_of, unit_sets
from audioprune.steps.needs import check_items, need_loss, whole
from audioprune.steps.prune import OF_WEIGHTS

MODES = ("trim", "mask")


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
        counted: What ``fraction`` counts, ``weights`` or ``units``.
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
    counted: Annotated[str, OneOf("weights", "units")] = "weights"
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
            self.criterion, self.scope, self.scaling, self.counted, self.fraction, self.min_units
        )

    @property
    def draw(self) -> Draw:
        """How this step draws tickets, as rows say it."""
        return Draw(
            mode=self.mode,
            scope=self.scope,
            criterion=self.criterion,
            scaling=self.scaling,
            counted=self.counted,
            fraction=self.fraction,
            min_units=self.min_units,
            noise_rel=self.noise_rel,
            evidence_items=self.evidence_items,
        )

    def check(self, run: Run) -> None:
        """Refuse a model without the units or layers that are to be removed."""
        need_loss(run, "a lottery", "take units out with pipeline=units")
        sets = self._sets(run)
        if self.mode == "mask" and self.criterion not in WEIGHT_CRITERIA:
            raise ConfigError(
                unknown_name("criterion of pipeline.mode=mask", self.criterion, WEIGHT_CRITERIA)
            )
        if self.criterion == "normalization":
            criterion("unit", self.criterion)(run.model, sets)

    def work(self, run: Run) -> list[Work]:
        """Count the items that the criterion looks at; some look at weights alone."""
        size = len(run.data.valid())
        if self.criterion in OF_WEIGHTS:
            return []
        return [Work(DRAWN_ITEM, min(self.evidence_items or size, size))]

    def _sets(self, run: Run, said_by: str | None = None) -> list[UnitSet]:
        return unit_sets(run.model, self.mode, said_by)

    def run(self, run: Run, path: str) -> None:
        """Prune one round."""
        started = time.monotonic()
        found = run.findings.lottery
        speaks = found.round == 0 and self.mode == "trim"
        sets = self._sets(run, path if speaks else None)
        if found.round == 0:
            found.params = lottery.parameters_of(run.model)
            found.units = {each.name: each.size for each in sets}
        evidence = self._evidence(run)
        draw = self._trim if self.mode == "trim" else self._mask
        changed = draw(run, sets, evidence)
        run.codebooks = None
        if not changed:
            say_enough(run, path, f"round {found.round + 1} can remove nothing more", at_once=True)
            return
        found.round, found.draw = found.round + 1, self.draw
        samples = evidence.facts.get("mi_samples")
        found.samples = None if samples is None else int(samples)
        found.seconds = round(time.monotonic() - started, 2)
        run.results.put(
            {
                "key": path,
                "kind": "ticket",
                "label": run.label,
                "round": found.round,
                "params": lottery.parameters_of(run.model),
                "samples": found.samples,
                "seconds": found.seconds,
                "units": {each.name: each.size for each in self._sets(run)},
            }
        )

    def _trim(self, run: Run, sets: list[UnitSet], evidence: CalibrationData) -> bool:
        """Cut the model down to the next ticket; False where nothing can go."""
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
        """Mask single weights; False where nothing can go."""
        names = lottery.maskable(run.model, sets)
        before = complete(run.mask, run.model, names)
        number = run.findings.lottery.round + 1
        chosen = lottery.choose_weights(run.model, names, self.selection, number, before, evidence)
        run.mask = chosen
        run.mask.apply_(run.model)
        return run.mask.kept() < before.kept()

    def _evidence(self, run: Run) -> CalibrationData:
        """Return the data that the criterion looks at."""
        data = run.data.valid()
        count = min(self.evidence_items or len(data), len(data))
        # Items from all over the set, which may be sorted by instrument.
        chosen = [place * len(data) // count for place in range(count)]
        target = None
        if isinstance(run.task, HasInformationTarget):
            target = partial(run.task.information_target, run.model)
        return CalibrationData(
            batches_of(run, data, chosen),
            run.task.loss,
            _examples,
            target,
            self.samples,
            self.noise_rel,
            run.seed,
        )


def _examples(batch: Batch) -> float:
    return float(len(next(iter(batch.values()))))
