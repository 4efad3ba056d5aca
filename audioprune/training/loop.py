"""The only training loop: ``Fit(...).run()`` trains one model, with validation and early stopping.

It is stopped and resumed to the same bits (training/resuming.py). It knows neither audio nor
compression: what a batch means is the task's business; masks, penalties and hooks are arguments.
What happens before and after a training is in audioprune.steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from audioprune.compress.masks import Mask
from audioprune.compress.ties import join_views_
from audioprune.compress.weight_norm import refuse_normed
from audioprune.errors import ConfigError, DataError, DivergedError
from audioprune.files import append_line
from audioprune.interrupts import check_stop, stop_requested
from audioprune.progress import Progress, progress
from audioprune.protocols import (
    Batch,
    ChecksBatches,
    Corpus,
    EpochItems,
    HasEpochs,
    Judge,
    Number,
    Trainable,
)
from audioprune.training.batch_norm import planned_sizes
from audioprune.training.devices import (
    compiled,
    laid_out,
    open_accelerator,
    own_variables,
    precise,
)
from audioprune.training.divergence import bad_gradient, bad_input, first_bad
from audioprune.training.hooks import Hooks
from audioprune.training.input_statistics import measure_inputs
from audioprune.training.loaders import (
    TrainingLoader,
    dead_workers_named,
    moved,
)
from audioprune.training.memory import WHOLE, Part, Parts
from audioprune.training.outcome import Outcome
from audioprune.training.processes import Weight, processes
from audioprune.training.readings import NotFiniteError, Readings, widened
from audioprune.training.resuming import MODEL, Kept, State, networks_of, resume, save
from audioprune.training.settings import Settings, build_optimizer, build_schedule, step_schedules
from audioprune.training.tensorboard import open_tensorboard


@dataclass
class Fit:
    """One training of one model.

    Args:
        model: Trained in place; ends with the weights of the best validation, or those that
            ``settings.keep`` names.
        task: What a batch and a loss mean.
        data: Training and validation sets.
        settings: Numbers.
        folder: Where checkpoints and the log of this training live.
        seed: Order of the batches and state of torch's generators.
        mask: Kept weights; re-applied after every optimiser step.
        penalty: Regulariser, called with the model, added to every loss of the model.
        hooks: Called around epochs and steps; see audioprune.training.hooks.
        make_optimizer: Builds an optimiser for (model, settings) in place of the named ones.
        device: See ``audioprune.training.devices.chosen_device``.
        workers: Loader processes, or ``auto``; see audioprune.training.loaders.
        save_every_s: Seconds between two checkpoints within an epoch.
        sync_every: Steps after which losses and checks are read from the device; None takes 1 on
            the CPU and 50 elsewhere.
        title: What the progress display says.
        tensorboard: Folder for TensorBoard, or None.
        judge: Validates and chooses weights in place of the task.
    """

    model: nn.Module
    task: Trainable
    data: Corpus
    settings: Settings
    folder: Path
    seed: int = 0
    mask: Mask | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    hooks: Sequence[object] = ()
    make_optimizer: Callable[[nn.Module, Settings], Optimizer] | None = None
    device: str = "auto"
    workers: str | int = 0
    save_every_s: float = 30.0
    sync_every: int | None = None
    title: str = "train"
    tensorboard: Path | None = None
    judge: Judge | None = None

    def run(self) -> Outcome:
        """Train to the end, resuming from this folder's checkpoint when there is one.

        Raises:
            ConfigError: There is no such device, or parameters share memory without being one.
            DivergedError: A loss was not finite; the message names what stopped being finite, the
                model holds the last finite weights.
            InterruptedRun: The user stopped; the checkpoint holds the exact position.
        """
        with own_variables(), dead_workers_named(), precise(self.settings.precision):
            self._prepare()
            resume(self.state, self.settings, self.folder, self.accelerator.device)
            self.processes.require_equal(self.model, f"{self.title}, at its start")
            self._epochs()
            return self._finish()

    def _prepare(self) -> None:
        join_views_(self.model)
        refuse_normed(self.model, self.mask or ())
        self.processes = processes()
        if self.settings.compile and self.processes.count > 1:
            raise ConfigError(
                f"training.compile: expected one process, got {self.processes.count}, whose draws "
                f"and moments compiled code would not share; set it to false"
            )
        self.accelerator = open_accelerator(self.device, self.settings.precision)
        self.readings = Readings(self.sync_every, self.accelerator.device)
        self.parts = Parts(self.title, self.task, shared=self.processes.count > 1)
        torch.manual_seed(self.seed)
        self.train_set, self.valid_set = self.data.train(), self.data.valid()
        if len(self.train_set) == 0 or len(self.valid_set) == 0:
            raise DataError(
                f"expected a training and a validation set, got {len(self.train_set)} and "
                f"{len(self.valid_set)} items; check the splits"
            )
        measure_inputs(self.model, self.task, self.data, self.train_set)
        batch_size = self.settings.batch_size
        self.sizes = planned_sizes(self.model, len(self.train_set), batch_size)
        self.loader = TrainingLoader(
            self.data,
            self.train_set,
            self.valid_set,
            self.sizes,
            batch_size,
            self.seed,
            self.workers,
            self.accelerator.device,
        )
        self.model.to(self.accelerator.device)
        if self.settings.channels_last:
            laid_out(self.model, torch.channels_last)
        self.state = self._initial_state()
        self.wrapped = compiled(self.model) if self.settings.compile else self.model
        self.started = self.saved = time.monotonic()
        if self.mask:
            self.mask = self.mask.to(self.accelerator.device)
            self.mask.apply_(self.model)
        self.state.hooks.on_training_begin(self.model, self.state.optimizers)
        self._keep_weights()
        self.writer = open_tensorboard(self.tensorboard if self.processes.is_main else None)

    def _initial_state(self) -> State:
        """Build optimisers and learning-rate rules of the model and of the task's networks."""
        networks: dict[str, nn.Module] = {MODEL: self.model}
        beside = networks_of(self.task)
        if beside is not None:
            beside.to(self.accelerator.device)
        build = self.make_optimizer or build_optimizer
        optimizers = {MODEL: build(self.model, self.settings)}
        if beside is not None:
            optimizers |= beside.optimizers(self.settings)
            networks |= beside.modules()
        self.prepared: dict[str, Optimizer] = {
            name: self.accelerator.prepare(each) for name, each in optimizers.items()
        }
        hooks = Hooks(self.hooks)
        ruled = hooks.set_learning_rate()
        schedules = {
            name: None if ruled else build_schedule(each, self.settings)
            for name, each in optimizers.items()
        }
        return State(networks, optimizers, schedules, hooks, Kept({}, None))

    def _epochs(self) -> None:
        position = self.state.position
        planned = self.settings.epochs * len(self.sizes)
        total = min(planned, self.settings.steps or planned)
        with progress(self.title, total) as display:
            display.skip(min(position.steps, total))
            while position.epoch < self.settings.epochs and not position.finished:
                self._epoch(display)

    def _epoch(self, display: Progress) -> None:
        position, hooks = self.state.position, self.state.hooks
        if isinstance(self.train_set, EpochItems):
            self.train_set.set_epoch(position.epoch)
        if isinstance(self.task, HasEpochs):
            self.task.set_epoch(position.epoch)
        if position.step_in_epoch == 0:
            position.sums = {}
            hooks.on_epoch_begin(position.epoch, self.model)
        self.processes.same_generators(self.accelerator.device)
        self.model.train()
        for batch in self._batches():
            self._step(batch)
            display.advance(1, self._read() if self.readings.due else "")
            self._between_steps()
            if self.settings.steps and position.steps >= self.settings.steps:
                position.finished = True
                break
        self._read()
        self._end_epoch()

    def _batches(self) -> Iterator[Batch]:
        position = self.state.position
        process = (self.processes.index, self.processes.count)
        return self.loader.train(position.epoch, position.step_in_epoch, process)

    def _step(self, batch: Batch) -> None:
        """Take one training step and remember what it logs."""
        position = self.state.position
        self.state.hooks.on_step_begin(self.model)
        self.optimizer_steps = 0
        with self.processes.step(self.sizes[position.step_in_epoch]):
            logged = self.parts.run(batch, self._take, lambda: self.optimizer_steps == 0)
        position.steps += 1
        position.step_in_epoch += 1
        self.readings.add(position.steps, logged)

    def _take(self, batch: Batch, part: Part) -> Mapping[str, Number]:
        """Add the gradients of a part of a batch, and step after the last one."""
        self.batch, self.part, self.part_updates = self._on_device(batch), part, 0
        with self.accelerator.autocast():
            logged = self.task.step(self.wrapped, self.batch, self._update)
        return self.processes.mean(dict(logged))

    def _on_device(self, batch: Batch) -> Batch:
        if isinstance(self.task, ChecksBatches):
            self.task.check_batch(self.model, batch)
        return moved(batch, self.accelerator.device)

    def _read(self) -> str:
        """Add what the steps since the last reading logged to the sums; return what to show."""
        position = self.state.position
        try:
            rows = self.readings.read()
        except NotFiniteError as error:
            self._diverged(error.what, None, step=error.step)
        for row in rows:
            position.sums = {key: position.sums.get(key, 0.0) + row[key] for key in row}
        mean = position.sums.get("loss", 0.0) / max(1, position.step_in_epoch)
        return f"epoch {position.epoch + 1}, loss {mean:.4g}"

    def _between_steps(self) -> None:
        stop = self.processes.any(stop_requested())
        if stop or self._save_is_due():
            self._save()
        if stop:
            self.processes.barrier()  # all stay until the main one has saved
        check_stop(stop)

    def _save_is_due(self) -> bool:
        return time.monotonic() - self.saved > self.save_every_s

    def _update(self, loss: Tensor, which: str = MODEL, weight: Weight | None = None) -> Tensor:
        """Take one optimiser step down a loss and its regulariser; see ``Processes.divided``."""
        optimizer, hooks, part = self.prepared[which], self.state.hooks, self.part
        self.part_updates += 1
        with torch.autocast(self.accelerator.device.type, enabled=False):
            loss = loss.float()
            penalty = self._penalties() if which == MODEL and part.first else 0.0
            own = part.weighted(loss, which == MODEL and self.part_updates == 1)
            total, whole = self.processes.divided(own, penalty, weight)
        value = widened(whole if part is WHOLE else loss)
        try:
            self.readings.watch("the loss", value)
        except NotFiniteError as error:
            self._diverged(error.what, bad_input(self.batch), self._step_again)
        with torch.autocast(self.accelerator.device.type, enabled=False):
            if part.first:
                optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(total)
            if not part.last:
                return value
            self.processes.sum_gradients_(self.state.networks[which].parameters())
            if which == MODEL:
                hooks.before_update(self.model)
            self._clip(which)
        optimizer.step()
        self.optimizer_steps += 1
        # a second update of the same step must not see the weights of the first
        torch.clear_autocast_cache()
        if which == MODEL:
            if self.mask:
                self.mask.apply_(self.model)
            hooks.on_step_end(self.model)
        return value

    def _penalties(self) -> Tensor | float:
        own = self.penalty(self.model) if self.penalty else 0.0
        return own + self.state.hooks.penalty(self.model)

    def _clip(self, which: str) -> None:
        if not self.settings.clip_norm:
            return
        network = self.state.networks[which]
        parameters = [each for each in network.parameters() if each.grad is not None]
        gradients = [each.grad for each in parameters if each.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        try:  # a clip by NaN would spread it over all gradients
            self.readings.watch("the gradient's norm", norm)
        except NotFiniteError as error:
            self._diverged(error.what, bad_gradient(network))
        nn.utils.clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)

    def _step_again(self) -> None:
        self.part = WHOLE
        with torch.no_grad(), self.accelerator.autocast():
            self.task.step(self.model, self.batch, lambda loss, *_, **__: widened(loss))

    def _diverged(
        self,
        what: str,
        known: str | None,
        again: Callable[[], object] = lambda: None,
        step: int | None = None,
    ) -> NoReturn:
        """Stop, naming what is not finite, and give the model the last finite weights.

        A step that was read later than it was taken is given by its number.
        """
        position = self.state.position
        read_at = None if step is None else position.steps
        weight, found = first_bad(self.state.networks, known, again, read_at)
        if position.best is not None or weight:
            self.model.load_state_dict(self.state.kept.weights)
        raise DivergedError(
            f"{self.title}: {what} at step {step or position.steps + 1} (epoch "
            f"{position.epoch + 1}); {found}; the last finite weights are kept; look there, or "
            f"lower training.learning_rate (now {self.settings.learning_rate})"
        )

    def _end_epoch(self) -> None:
        """Validate where it is due, move the learning rates, log, and save."""
        state, settings = self.state, self.settings
        position = state.position
        steps = max(1, position.step_in_epoch)
        means = {key: total / steps for key, total in position.sums.items()}
        row: dict[str, Any] = {"epoch": position.epoch + 1, "steps": position.steps, **means}
        row["learning_rate"] = state.optimizers[MODEL].param_groups[0]["lr"]
        state.hooks.after_steps(position.epoch, self.model)
        last = position.finished or position.epoch + 1 == settings.epochs
        if last or (position.epoch + 1) % settings.validate_every == 0:
            row |= {f"valid_{key}": value for key, value in self._validate(last).items()}
        step_schedules(state.schedules, row.get("valid_loss"))
        state.hooks.on_epoch_end(position.epoch, self.model, state.optimizers, row)
        position.epoch += 1
        position.step_in_epoch = 0
        position.history.append(row)
        if settings.early_stop and position.stale >= settings.early_stop:
            position.finished = True
        position.waiting.append(round(self.loader.waiting(), 4))
        self._log({**row, "waiting": position.waiting[-1]})
        if last or position.finished or self._save_is_due():
            self._save()

    def _validate(self, last: bool) -> dict[str, float]:
        """Validate, and keep these weights where they are the best ones."""
        self.processes.require_equal(self.model, f"{self.title}, step {self.state.position.steps}")
        self.model.eval()
        values = self.processes.by_main(self._validated)
        value = values[self.settings.monitor]
        if not math.isfinite(value):
            what = f"the validated {self.settings.monitor} became {value}"
            self._diverged(what, None, self._validated)
        self.model.train()
        if last or self.state.position.epoch >= self.settings.keep_from_epoch:
            self._compare(value)
        return values

    def _validated(self) -> dict[str, float]:
        batches = self.loader.valid()
        on_device = (self._on_device(batch) for batch in batches)
        judge = self.judge or self.task
        with torch.no_grad():
            return judge.validate(self.model, on_device, self.settings.monitor)

    def _compare(self, value: float) -> None:
        """Keep the weights of this validation if they are the best, or if the last are wanted."""
        position, judge = self.state.position, self.judge or self.task
        best = position.best
        better = best is None or judge.better(self.settings.monitor, value, best)
        if better:
            position.best, position.best_epoch, position.stale = value, position.epoch + 1, 0
        else:
            position.stale += 1
        if better or self.settings.keep == "last":
            position.kept_epoch = position.epoch + 1
            self._keep_weights()

    def _keep_weights(self) -> None:
        self.state.kept = Kept.of(self.model, self.state.hooks.mask(self.mask))

    def _log(self, row: dict[str, Any]) -> None:
        if self.processes.is_main:
            append_line(self.folder / "log.jsonl", row)
        if self.writer:
            for key, value in row.items():
                self.writer.add_scalar(key, value, row["steps"])

    def _save(self) -> None:
        """Store the exact position; one process of several does so."""
        self.saved = time.monotonic()
        self._read()
        if not self.processes.is_main:
            return
        now = time.monotonic()
        self.state.position.seconds += now - self.started
        self.started = now
        save(self.state, self.settings, self.folder)

    def _finish(self) -> Outcome:
        """Give the model the kept weights and report."""
        position, kept = self.state.position, self.state.kept
        if position.best is None:
            raise ConfigError(
                "expected at least one epoch with a validation; set training.epochs >= 1"
            )
        self.model.load_state_dict(kept.weights)
        if kept.mask is not None:
            kept.mask.apply_(self.model)
        self.model.eval()
        if self.settings.channels_last:
            laid_out(self.model, torch.contiguous_format)
        if self.writer:
            self.writer.close()
        return Outcome(
            epochs=position.epoch,
            steps=position.steps,
            best_epoch=position.best_epoch,
            best=position.best,
            seconds=position.seconds,
            history=position.history,
            kept_epoch=position.kept_epoch,
            mask=kept.mask,
        )
