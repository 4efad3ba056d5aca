"""How a model is trained: the only training loop, with exact resume, validation, early stopping and hooks.

It knows neither audio nor compression: what a batch means is the task's business, masks and
regularisers arrive as arguments, and what happens before and after training is written in
audioprune.steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from audioprune import checkpoint
from audioprune.compress.masks import Mask
from audioprune.compress.ties import join_views_
from audioprune.compress.weight_norm import refuse_normed
from audioprune.errors import CheckpointError, ConfigError, DataError, DivergedError
from audioprune.files import append_line
from audioprune.interrupts import check_stop, stop_requested
from audioprune.progress import progress
from audioprune.protocols import Trainable
from audioprune.training.devices import open_accelerator, own_variables
from audioprune.training.divergence import bad_gradient, bad_input, bad_output, bad_weight
from audioprune.training.hooks import Hook, Hooks
from audioprune.training.settings import (
    Settings,
    build_optimizer,
    build_schedule,
    epoch_order,
    step_schedules,
)


@dataclass
class Position:
    """Where a training stands; everything here is stored in its checkpoint."""

    epoch: int = 0
    step_in_epoch: int = 0
    steps: int = 0
    best: float | None = None
    best_epoch: int = 0
    kept_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a finished training reports.

    Attributes:
        epochs: Epochs carried out.
        steps: Optimiser steps carried out.
        best_epoch: Epoch of the best validation, counted from 1.
        best: The monitored value of that validation.
        seconds: Duration.
        history: Logged values of every epoch.
        kept_epoch: Epoch whose weights the model ends with, counted from 1.
        mask: Mask that those weights obey, of the training and its hooks together; None when there
            is none.
    """

    epochs: int
    steps: int
    best_epoch: int
    best: float
    seconds: float
    history: list[dict[str, float]]
    kept_epoch: int
    mask: Mask | None


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
        workers: Loader processes.
        save_every_s: Seconds between two checkpoints within an epoch.
        title: What the progress display says.
        tensorboard: Folder for TensorBoard, or None.
    """

    model: nn.Module
    task: Trainable
    data: Any
    settings: Settings
    folder: Path
    seed: int = 0
    mask: Mask | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    hooks: Sequence[Hook] = ()
    make_optimizer: Callable[[nn.Module, Settings], Optimizer] | None = None
    device: str = "auto"
    workers: int = 0
    save_every_s: float = 30.0
    title: str = "train"
    tensorboard: Path | None = None

    def run(self) -> Outcome:
        """Train to the end, resuming from this folder's checkpoint when there is one.

        Raises:
            ConfigError: There is no such device, or parameters share memory without being one.
            DivergedError: A loss was not finite; the message names what stopped being finite, the
                model holds the last finite weights.
            InterruptedRun: The user stopped; the checkpoint holds the exact position.
        """
        with own_variables():
            self._prepare()
            self._resume()
            self._epochs()
            return self._finish()

    def _epochs(self) -> None:
        end = self.settings.epochs
        with progress(self.title, self._total_steps()) as display:
            display.skip(min(self.position.steps, self._total_steps()))
            while self.position.epoch < end and not self.position.finished:
                self._epoch(display)

    def _prepare(self) -> None:
        join_views_(self.model)
        refuse_normed(self.model, self.mask or ())
        self.accelerator = open_accelerator(self.device, self.settings.precision)
        torch.manual_seed(self.seed)
        self.train_set, self.valid_set = self.data.train(), self.data.valid()
        if len(self.train_set) == 0 or len(self.valid_set) == 0:
            raise DataError(
                f"expected a training and a validation set, got {len(self.train_set)} and "
                f"{len(self.valid_set)} items; check the splits"
            )
        self.model.to(self.accelerator.device)
        if hasattr(self.task, "to"):
            self.task.to(self.accelerator.device)
        build = self.make_optimizer or build_optimizer
        optimizers = {"model": build(self.model, self.settings)}
        extra = getattr(self.task, "optimizers", None)
        optimizers |= extra(self.settings) if extra else {}
        self.modules = {
            "model": self.model,
            **(self.task.modules() if hasattr(self.task, "modules") else {}),
        }
        self.optimizers: dict[str, Optimizer] = {
            name: self.accelerator.prepare(each) for name, each in optimizers.items()
        }
        # One process keeps the plain module: preparing it would leave autocast in its forward
        # after training.
        self.wrapped = (
            self.model
            if self.accelerator.num_processes == 1
            else self.accelerator.prepare_model(self.model)
        )
        self.raw = optimizers
        self.moments = Hooks(self.hooks)
        ruled = self.moments.set_learning_rate()
        self.schedules = {
            name: None if ruled else build_schedule(each, self.settings)
            for name, each in optimizers.items()
        }
        self.position = Position()
        self.started = self.saved = time.monotonic()
        if self.mask:
            self.mask = self.mask.to(self.accelerator.device)
            self.mask.apply_(self.model)
        self.moments.call("on_training_begin", self.model, self.raw)
        self._keep_weights()
        self.writer = open_tensorboard(self.tensorboard) if self.tensorboard else None

    def _total_steps(self) -> int:
        planned = self.settings.epochs * self._steps_per_epoch()
        return min(planned, self.settings.steps or planned)

    def _steps_per_epoch(self) -> int:
        return max(
            1,
            math.ceil(
                len(self.train_set) / (self.settings.batch_size * self.accelerator.num_processes)
            ),
        )

    def _epoch(self, display: Any) -> None:
        position = self.position
        if hasattr(self.train_set, "set_epoch"):
            self.train_set.set_epoch(position.epoch)
        if hasattr(self.task, "set_epoch"):
            self.task.set_epoch(position.epoch)
        if position.step_in_epoch == 0:
            position.sums = {}
            self.moments.call("on_epoch_begin", position.epoch, self.model)
        self.wrapped.train()
        for batch in self._batches():
            self.moments.call("on_step_begin", self.model)
            self.batch = self._move(batch)
            with self.accelerator.autocast():
                logged = self.task.step(self.wrapped, self.batch, self._update)
            position.steps += 1
            position.step_in_epoch += 1
            position.sums = {
                key: position.sums.get(key, 0.0) + value for key, value in logged.items()
            }
            display.advance(
                1,
                f"epoch {position.epoch + 1}, loss "
                f"{position.sums['loss'] / position.step_in_epoch:.4g}",
            )
            self._between_steps()
            if self.settings.steps and position.steps >= self.settings.steps:
                position.finished = True
                break
        self._end_epoch()

    def _between_steps(self) -> None:
        due = time.monotonic() - self.saved > self.save_every_s
        if due or stop_requested():
            self._save()
        check_stop()

    def _update(self, loss: Tensor, which: str = "model") -> float:
        """Take one optimiser step down a loss; the regulariser joins the model's loss."""
        value = float(loss.detach())
        if not math.isfinite(value):
            self._diverged(f"the loss became {value}", bad_input(self.batch), self._step_again)
        optimizer = self.optimizers[which]
        with torch.autocast(self.accelerator.device.type, enabled=False):
            total = loss.float() + self._penalties() if which == "model" else loss.float()
            optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(total)
            if which == "model":
                self.moments.call("before_update", self.model)
            self._clip(which)
        optimizer.step()
        # a second update of the same step must not see the weights of the first
        torch.clear_autocast_cache()
        if which == "model":
            if self.mask:
                self.mask.apply_(self.model)
            self.moments.call("on_step_end", self.model)
        return value

    def _penalties(self) -> Tensor | float:
        return (self.penalty(self.model) if self.penalty else 0.0) + self.moments.penalty(
            self.model
        )

    def _clip(self, which: str) -> None:
        if not self.settings.clip_norm:
            return
        parameters = [each for each in self.modules[which].parameters() if each.grad is not None]
        norm = nn.utils.get_total_norm([each.grad for each in parameters])
        if not torch.isfinite(norm):  # a clip by NaN would spread it over all gradients
            self._diverged(
                f"the gradient's norm became {float(norm)}", bad_gradient(self.modules[which])
            )
        nn.utils.clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)

    def _step_again(self) -> None:
        with torch.no_grad(), self.accelerator.autocast():
            self.task.step(self.model, self.batch, lambda loss, which="model": float(loss))

    def _diverged(
        self, what: str, known: str | None, again: Callable[[], object] = lambda: None
    ) -> None:
        """Stop with the name of what is not finite: a weight, what is known already, or the first output of the pass done again."""
        step = self.position.steps + 1
        weight = bad_weight(self.modules)
        culprit = (
            f"{weight} since the step before"
            if weight
            else known or bad_output(self.modules, again)
        )
        told = (
            f"; the first that is not finite is {culprit}"
            if culprit
            else "; weights and outputs of all modules are finite"
        )
        if self.position.best is not None or weight:
            self.model.load_state_dict(self.best_state)
        raise DivergedError(
            f"{self.title}: {what} at step {step} (epoch {self.position.epoch + 1}){told}; the "
            f"last finite weights are kept; "
            f"look there, or lower training.learning_rate (now {self.settings.learning_rate})"
        )

    def _end_epoch(self) -> None:
        position, settings = self.position, self.settings
        row: dict[str, Any] = {
            "epoch": position.epoch + 1,
            "steps": position.steps,
            **{
                key: total / max(1, position.step_in_epoch) for key, total in position.sums.items()
            },
            "learning_rate": self.raw["model"].param_groups[0]["lr"],
        }
        self.moments.call("after_steps", position.epoch, self.model)
        last = position.finished or position.epoch + 1 == settings.epochs
        if last or (position.epoch + 1) % settings.validate_every == 0:
            row |= {f"valid_{key}": value for key, value in self._validate(last).items()}
        step_schedules(self.schedules, row.get("valid_loss"))
        self.moments.call("on_epoch_end", position.epoch, self.model, self.raw, row)
        position.epoch += 1
        position.step_in_epoch = 0
        position.history.append(row)
        if settings.early_stop and position.stale >= settings.early_stop:
            position.finished = True
        self._log(row)
        if last or position.finished or time.monotonic() - self.saved > self.save_every_s:
            self._save()

    def _validate(self, last: bool) -> dict[str, float]:
        self.wrapped.eval()
        values = self._validated()
        value = values[self.settings.monitor]
        if not math.isfinite(value):
            self._diverged(
                f"the validated {self.settings.monitor} became {value}", None, self._validated
            )
        self.wrapped.train()
        if last or self.position.epoch >= self.settings.keep_from_epoch:
            self._judge(value)
        return values

    def _validated(self) -> dict[str, float]:
        loader = DataLoader(
            self.valid_set,
            batch_size=self.settings.batch_size,
            collate_fn=getattr(self.data, "collate", None),
        )
        with torch.no_grad():
            return self.task.validate(
                self.model, (self._move(batch) for batch in loader), self.settings.monitor
            )

    def _judge(self, value: float) -> None:
        """Keep the weights of this validation where it is the best one, or always where the last ones are wanted."""
        position = self.position
        better = position.best is None or self.task.better(
            self.settings.monitor, value, position.best
        )
        if better:
            position.best, position.best_epoch, position.stale = value, position.epoch + 1, 0
        else:
            position.stale += 1
        if better or self.settings.keep == "last":
            position.kept_epoch = position.epoch + 1
            self._keep_weights()

    def _batches(self) -> Iterator[dict[str, Any]]:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.settings.batch_size
        order = epoch_order(len(self.train_set), self.seed, self.position.epoch)
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        mine = batches[rank::world][: self._steps_per_epoch()] or batches[:1]
        while len(mine) < self._steps_per_epoch():
            mine.append(mine[-1])
        yield from DataLoader(
            self.train_set,
            batch_sampler=mine[self.position.step_in_epoch :],
            collate_fn=getattr(self.data, "collate", None),
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(self.seed + self.position.epoch),
        )

    def _move(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value.to(self.accelerator.device) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }

    def _keep_weights(self) -> None:
        """Remember the weights together with the mask that they obey now; a later mask may be sparser."""
        self.best_state = {
            name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()
        }
        self.best_mask = self.moments.mask(self.mask)

    def _log(self, row: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            append_line(self.folder / "log.jsonl", row)
        if self.writer:
            for key, value in row.items():
                self.writer.add_scalar(key, value, row["steps"])

    def _save(self) -> None:
        """Store the exact position: best weights first, so that a newer position never meets older best weights."""
        self.saved = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        facts: dict[str, Any] = {
            "optimizers": {},
            "schedules": {},
            "settings": asdict(self.settings),
        }
        for name, optimizer in self.raw.items():
            state, facts["optimizers"][name] = checkpoint.split_optimizer(optimizer)
            tensors |= {f"optimizer.{name}/{key}": value for key, value in state.items()}
            if self.schedules[name] is not None:
                facts["schedules"][name] = checkpoint.plain_part(self.schedules[name].state_dict())
        for name, module in self.modules.items():
            if name != "model":
                tensors |= {
                    f"module.{name}/{key}": value for key, value in module.state_dict().items()
                }
        facts["hooks"], of_hooks = self.moments.state()
        tensors |= of_hooks
        tensors |= {f"rng/{key}": value for key, value in checkpoint.rng_state().items()}
        now = time.monotonic()
        self.position.seconds += now - self.started
        self.started = now
        facts["position"] = asdict(self.position)
        best = {f"best/{name}": value for name, value in self.best_state.items()}
        best |= {
            f"mask/{name}": keep
            for name, keep in (self.best_mask.items() if self.best_mask is not None else ())
        }
        checkpoint.write(
            self.folder / "best.safetensors",
            best,
            {"epoch": self.position.best_epoch, "best": self.position.best},
        )
        checkpoint.write_rotating(self.folder / "last.safetensors", tensors, facts)

    def _resume(self) -> None:
        stored = checkpoint.read_newest(self.folder / "last.safetensors")
        if stored is None:
            (self.folder / "log.jsonl").unlink(missing_ok=True)
            return
        tensors, facts = stored
        if facts["settings"] != _as_json(asdict(self.settings)):
            raise CheckpointError(
                f"{self.folder}: the checkpoint was made with other training numbers; remove "
                f"the folder or restore them"
            )
        self.position = Position(**facts["position"])
        self.model.load_state_dict(checkpoint.under(tensors, "model/"))
        for name, optimizer in self.raw.items():
            checkpoint.join_optimizer(
                optimizer,
                checkpoint.under(tensors, f"optimizer.{name}/"),
                facts["optimizers"][name],
            )
            if name in facts["schedules"]:
                self.schedules[name].load_state_dict(facts["schedules"][name])
        for name, module in self.modules.items():
            if name != "model":
                module.load_state_dict(checkpoint.under(tensors, f"module.{name}/"))
        self.moments.restore(facts["hooks"], tensors)
        checkpoint.restore_rng_state(checkpoint.under(tensors, "rng/"))
        best, _ = checkpoint.read(self.folder / "best.safetensors")
        self.best_state = {
            key: value.to(self.accelerator.device)
            for key, value in checkpoint.under(best, "best/").items()
        }
        masks = checkpoint.under(best, "mask/")
        self.best_mask = Mask.from_state_dict(masks).to(self.accelerator.device) if masks else None
        self._trim_log()

    def _trim_log(self) -> None:
        """Drop log lines of epochs that the checkpoint does not hold; they are about to be run again."""
        path = self.folder / "log.jsonl"
        path.unlink(missing_ok=True)
        for row in self.position.history:
            append_line(path, row)

    def _finish(self) -> Outcome:
        self.accelerator.wait_for_everyone()
        if self.position.best is None:
            raise ConfigError(
                "expected at least one epoch with a validation; set training.epochs >= 1"
            )
        self.model.load_state_dict(self.best_state)
        if self.best_mask is not None:
            self.best_mask.apply_(self.model)
        self.model.eval()
        if self.writer:
            self.writer.close()
        here, mask = (
            self.position,
            self.best_mask.to("cpu") if self.best_mask is not None else None,
        )
        return Outcome(
            here.epoch,
            here.steps,
            here.best_epoch,
            here.best,
            here.seconds,
            here.history,
            here.kept_epoch,
            mask,
        )


def open_tensorboard(folder: Path) -> Any:
    """Open a TensorBoard writer.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "runtime.tensorboard=true needs TensorBoard; run: pip install 'audioprune[log]'"
        ) from error
    return SummaryWriter(str(folder))


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}
