"""The checkpoint of a training: ``save`` and ``resume``, so that it goes on to the same bits.

``last.safetensors`` holds the exact position: weights, optimisers, learning-rate rules, hooks and
random generators. ``best.safetensors`` holds the weights that the training would end with now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from audioprune import checkpoint
from audioprune.compress.masks import Mask
from audioprune.errors import CheckpointError
from audioprune.files import append_line
from audioprune.protocols import HasNetworks, optional
from audioprune.training.hooks import Hooks
from audioprune.training.settings import Settings

MODEL = "model"
"""Name of the model among the trained networks."""


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
    waiting: list[float] = field(default_factory=list)
    """Share of the time of each epoch's steps that the loader was waited for; in the log alone."""

    def logged(self) -> list[dict[str, float]]:
        """Return the rows of the log: the history, and what differs between equal trainings."""
        unknown = len(self.history) - len(self.waiting)  # of a training that began without it
        before, after = self.history[:unknown], self.history[unknown:]
        timed = zip(after, self.waiting, strict=True)
        return before + [{**row, "waiting": share} for row, share in timed]


@dataclass
class Kept:
    """The weights that a training would end with now.

    Attributes:
        weights: Parameters and buffers of the model.
        mask: The mask that they obey; a later mask may be sparser.
    """

    weights: dict[str, Tensor]
    mask: Mask | None

    @classmethod
    def of(cls, model: nn.Module, mask: Mask | None) -> Kept:
        """Copy the weights of a model as it is now."""
        tensors = model.state_dict().items()
        return cls({name: tensor.detach().clone() for name, tensor in tensors}, mask)


@dataclass
class State:
    """All that a training changes.

    Attributes:
        networks: The model, and what the task trains beside it, by name.
        optimizers: Their optimisers.
        schedules: Their learning-rate rules; None where the rate stays or a hook moves it.
        hooks: What acts on the model.
        kept: The weights that the training would end with.
        position: Where it stands.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    schedules: dict[str, LRScheduler | None]
    hooks: Hooks
    kept: Kept
    position: Position = field(default_factory=Position)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.networks[MODEL]


def networks_of(task: object) -> HasNetworks | None:
    """Return a task as one with networks of its own, or None.

    Raises:
        ConfigError: It has optimisers and lacks what else they need.
    """
    name, remedy = f"task {type(task).__name__}", "write them, or train the model alone"
    return optional(task, HasNetworks, "optimizers", name, remedy)


def save(state: State, settings: Settings, folder: Path) -> None:
    """Store a training.

    The kept weights are written first, so that a newer position never meets older ones.
    """
    tensors, parts = _packed(state)
    kept = {f"best/{name}": value for name, value in state.kept.weights.items()}
    if state.kept.mask is not None:
        kept |= {f"mask/{name}": keep for name, keep in state.kept.mask.items()}
    position = state.position
    about_kept = {"epoch": position.best_epoch, "best": position.best}
    checkpoint.write(folder / "best.safetensors", kept, about_kept)
    facts = {
        "optimizers": parts["optimizers"],
        "schedules": parts["schedules"],
        "settings": asdict(settings),
        "hooks": parts["hooks"],
        "position": asdict(position),
    }
    checkpoint.write_rotating(folder / "last.safetensors", tensors, facts)


def _packed(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of everything but the position."""
    tensors = _prefixed("model", state.model)
    optimizers: dict[str, Any] = {}
    schedules: dict[str, Any] = {}
    for name, optimizer in state.optimizers.items():
        own, optimizers[name] = checkpoint.split_optimizer(optimizer)
        tensors |= {f"optimizer.{name}/{key}": value for key, value in own.items()}
        schedule = state.schedules[name]
        if schedule is not None:
            schedules[name] = checkpoint.plain_part(schedule.state_dict())
    for name, network in state.networks.items():
        if name != MODEL:
            tensors |= _prefixed(f"module.{name}", network)
    hooks, of_hooks = state.hooks.state()
    tensors |= of_hooks
    tensors |= {f"rng/{key}": value for key, value in checkpoint.rng_state().items()}
    return tensors, {"optimizers": optimizers, "schedules": schedules, "hooks": hooks}


def _prefixed(name: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{name}/{key}": value for key, value in network.state_dict().items()}


def resume(state: State, settings: Settings, folder: Path, device: torch.device) -> None:
    """Restore the newest position of a folder, if there is one, and the log up to it.

    Raises:
        CheckpointError: The folder belongs to a training with other numbers, or is damaged.
    """
    stored = checkpoint.read_newest(folder / "last.safetensors")
    log = folder / "log.jsonl"
    if stored is None:
        log.unlink(missing_ok=True)
        return
    tensors, facts = stored
    # numbers that a checkpoint of before does not know had the value that is their default
    known = {**_as_json(asdict(Settings())), **facts["settings"]}
    if known != _as_json(asdict(settings)):
        raise CheckpointError(
            f"{folder}: the checkpoint was made with other training numbers; remove the folder "
            f"or restore them"
        )
    _unpack(state, tensors, facts)
    best, _ = checkpoint.read(folder / "best.safetensors")
    weights = checkpoint.under(best, "best/")
    masks = checkpoint.under(best, "mask/")
    state.kept = Kept(
        {key: value.to(device) for key, value in weights.items()},
        Mask.from_state_dict(masks).to(device) if masks else None,
    )
    # Epochs that the checkpoint does not hold are about to be run, and logged, again.
    log.unlink(missing_ok=True)
    for row in state.position.logged():
        append_line(log, row)


def _unpack(state: State, tensors: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
    state.position = Position(**facts["position"])
    state.model.load_state_dict(checkpoint.under(tensors, "model/"))
    for name, optimizer in state.optimizers.items():
        own = checkpoint.under(tensors, f"optimizer.{name}/")
        checkpoint.join_optimizer(optimizer, own, facts["optimizers"][name])
        schedule = state.schedules[name]
        if schedule is not None and name in facts["schedules"]:
            schedule.load_state_dict(facts["schedules"][name])
    for name, network in state.networks.items():
        if name != MODEL:
            network.load_state_dict(checkpoint.under(tensors, f"module.{name}/"))
    state.hooks.restore(facts["hooks"], tensors)
    checkpoint.restore_rng_state(checkpoint.under(tensors, "rng/"))


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}
