"""The task of imitating the original: what a batch, a loss and a score mean without labels.

``Imitate`` takes batches of audio (B, T) of any corpus and compares a network's outputs with those
of its original, which the builder of a run gives to it (``teach``). Losses are in comparisons.py,
inputs in front_ends.py, scores by labels in labels.py; the original is found in
experiment/originals/teacher.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from audioprune.compress.placement import device_of
from audioprune.compress.search.perturbed_loss import BatchLoss, LossBatch
from audioprune.errors import ConfigError, unknown_name
from audioprune.progress import progress
from audioprune.protocols import (
    Batch,
    Collate,
    Costed,
    HasLoss,
    HasMonitors,
    Items,
    Number,
    Row,
    Shares,
    SignalScorer,
    require,
    scores_audio,
)
from audioprune.ranges import FOLLOWS, OneOf, Range
from audioprune.tasks.batches import first_batches, items_of, weighted_mean
from audioprune.tasks.foreign.comparisons import (
    LOSSES,
    Agreement,
    chosen_losses,
    distance,
    named_outputs,
    similarity_distance,
)
from audioprune.tasks.foreign.front_ends import INPUTS, SIGNALS, FrontEnd
from audioprune.tasks.foreign.labelled import LABELLED, labelled_task
from audioprune.tasks.foreign.labels import JUDGES, judge_of

_BATCH = 8


@dataclass
class Seen:
    """What one forward pass of a network was given, returned and had within.

    Attributes:
        given: Positional arguments.
        outputs: Tensors that it returned, by name.
        layers: Outputs of the layers that were watched.
    """

    given: tuple[Any, ...] = ()
    outputs: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[str, Tensor] = field(default_factory=dict)


class Imitate:
    """Train a network to give its original's outputs, on any audio and without labels.

    The original is the checkpoint that a run begins from, as it was before anything was pruned. It
    is evaluated on the same inputs. A network that keeps a state begins every item with an empty
    one.

    Args:
        loss: Of every output: ``mse`` and ``l1``, relative to the original's output; ``kl`` of
            logits of classes on the last axis; ``binary_kl`` of probabilities 0..1; ``cosine`` of
            vectors on the last axis; ``stft`` of waveforms (..., T).
        losses: Losses of single outputs by their names, such as ``{0: mse, 1: cosine}``; outputs
            that are not named are then left out. A single output is called ``output``.
        layers: Inner activations that are to be alike as well: weight of each by the name of its
            layer. Where trimming left another width, what is compared is how the items of a batch
            resemble one another.
        input: What the network is fed; see `front_ends.FrontEnd`.
        signal: Which audio of the corpus is used; null for ``audio``, else ``noisy``.
        sample_rate: In Hz.
        frame_length: Samples of a frame, for inputs of frames and spectra.
        hop_length: Samples from one frame to the next.
        mels: Bands of ``mel``.
        labels: Scores by labels of the corpus, beside those of agreement: ``pitch``, ``speech``,
            ``speaker``, or null.
        labelled: A task with labels that is mixed in, see `labelled.LABELLED`; it says what the
            network is fed.
        labelled_options: Its arguments.
        weight: Share of its loss in the whole, above 0 and below 1.
        teacher: Model file of the original; null for the checkpoint of the run.
        teacher_sha256: What the file must be; set when a run begins.

    Raises:
        ConfigError: A name is unknown or a number outside its range.
    """

    score_batch: float | None = None

    def __init__(
        self,
        *,
        loss: Annotated[str, OneOf(*LOSSES)] = "mse",
        losses: Mapping[str, str] | None = None,
        layers: Mapping[str, float] | None = None,
        input: Annotated[str, OneOf(*INPUTS)] = "model",
        signal: Annotated[str | None, OneOf(*SIGNALS)] = None,
        sample_rate: Annotated[int, Range(1000), FOLLOWS] = 16000,
        frame_length: Annotated[int, Range(2)] = 320,
        hop_length: Annotated[int, Range(1)] = 160,
        mels: Annotated[int, Range(1)] = 64,
        labels: Annotated[str | None, OneOf(*JUDGES)] = None,
        labelled: Annotated[str | None, OneOf(*LABELLED)] = None,
        labelled_options: Mapping[str, Any] | None = None,
        weight: Annotated[float, Range(above=0, below=1)] = 0.5,
        teacher: str | None = None,
        teacher_sha256: str | None = None,
    ) -> None:
        self.losses = {str(name): kind for name, kind in (losses or {}).items()}
        chosen_losses(loss, self.losses)
        if not 0 < weight < 1:
            raise ConfigError(
                f"task.weight: expected a share above 0 and below 1, got {weight}; use 0.5"
            )
        self.loss_name = loss
        self.layers = dict(layers or {})
        self.labels = labels
        self.weight = weight
        self.labelled = labelled_task(labelled, labelled_options or {}, sample_rate)
        self.sample_rate = sample_rate if self.labelled is None else self.labelled.sample_rate
        self.front = FrontEnd(input, signal, sample_rate, frame_length, hop_length, mels)
        self.scores_audio = self.labelled is not None and scores_audio(self.labelled)
        self.monitors = self._monitors()
        self.teacher: nn.Module | None = None
        judge_of(labels, sample_rate)

    def __deepcopy__(self, memo: dict[int, Any]) -> Imitate:
        """Copy the task; the original, which never changes, stays one."""
        other = copy.copy(self)
        memo[id(self)] = other
        other.labelled = copy.deepcopy(self.labelled, memo)
        return other

    def _monitors(self) -> Sequence[str]:
        return self.labelled.monitors if isinstance(self.labelled, HasMonitors) else ("loss",)

    def shared(self) -> dict[str, Any]:
        """Return what a model must agree with, by the name of its argument or attribute."""
        if isinstance(self.labelled, Shares):
            return self.labelled.shared()
        return {"sample_rate": self.sample_rate}

    def settings_for(self, shape: tuple[int, ...]) -> Sequence[str]:
        """Return the choices of settings that feed such a shape, as they are typed."""
        return self.front.settings_for(shape) if self.labelled is None else ()

    def teach(self, original: nn.Module) -> None:
        """Take the original; it is evaluated only, without gradients."""
        self.teacher = original.eval().requires_grad_(False)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return how far a network's outputs are from the original's, a scalar.

        Raises:
            ConfigError: There is no original, or the outputs have other shapes.
        """
        with watched(model, self.layers) as seen:
            if self.labelled is None:
                model(self.front.inputs(self._original(model), batch))
                return self._distance(model, seen)
            own = require(self.labelled, HasLoss, "task.labelled", "choose another")
            labelled = own.loss(model, batch)
        return (1 - self.weight) * self._distance(model, seen) + self.weight * labelled

    def _distance(self, model: nn.Module, seen: Sequence[Seen]) -> Tensor:
        """Return the mean distance of the passes of a network from the same ones of the original.

        Raises:
            ConfigError: A layer or an output is unknown, or the network was not called.
        """
        if not seen:
            raise ConfigError(
                f"expected {type(model).__name__} to be called by the task, got no call; choose "
                f"another task.labelled"
            )
        return torch.stack([self._pass_distance(model, each) for each in seen]).mean()

    def _pass_distance(self, model: nn.Module, own: Seen) -> Tensor:
        theirs = self._of_original(model, own.given)
        parts = [
            distance(loss, own.outputs[name], theirs.outputs[name], name)
            for name, loss in self._compared(own, theirs).items()
        ]
        for name, weight in self.layers.items():
            found, wanted = own.layers[name], theirs.layers[name]
            alike = found.shape == wanted.shape
            measure = LOSSES["mse"] if alike else similarity_distance
            parts.append(weight * measure(found.float(), wanted.float()))
        return torch.stack(parts).sum()

    def _of_original(self, model: nn.Module, given: tuple[Any, ...]) -> Seen:
        """Pass the same inputs through the original."""
        original = self._original(model)
        with torch.no_grad(), watched(original, self.layers) as seen:
            original(*given)
        return seen[0]

    def _original(self, model: nn.Module) -> nn.Module:
        """Return the original, on the device of a network."""
        if self.teacher is None:
            raise ConfigError(
                "task=imitate: expected an original to imitate, got none; give checkpoint=... or "
                "task.teacher=..."
            )
        device = device_of(model)
        if device_of(self.teacher) != device:
            self.teacher.to(device)
        return self.teacher

    def _compared(self, own: Seen, theirs: Seen) -> dict[str, str]:
        """Return the loss of every output that is compared.

        Raises:
            ConfigError: An output is unknown, or there is none.
        """
        chosen = self.losses or dict.fromkeys(theirs.outputs, self.loss_name)
        for name in chosen:
            if name not in theirs.outputs or name not in own.outputs:
                known = set(theirs.outputs) & set(own.outputs)
                raise ConfigError(unknown_name("output in task.losses", name, known))
        if not chosen:
            raise ConfigError(
                "expected a network that returns floating-point tensors, got none; choose one "
                "with model.output=..."
            )
        return chosen

    def batch_weight(self, batch: Batch) -> float:
        """Return the items of a batch."""
        return float(_count(batch))

    def step(
        self, model: nn.Module, batch: Batch, update: Callable[..., Tensor]
    ) -> Mapping[str, Number]:
        """Take one training step."""
        return {"loss": update(self.loss(model, batch), weight=lambda: _count(batch))}

    def validate(
        self, model: nn.Module, batches: Iterator[Batch], monitor: str
    ) -> dict[str, float]:
        """Return the mean loss as ``loss``, and what a task with labels monitors.

        Raises:
            ConfigError: The monitored value is unknown.
        """
        if monitor not in self.monitors:
            raise ConfigError(unknown_name("monitor", monitor, self.monitors))
        known = list(batches)
        losses = [self.loss(model, batch) for batch in known]
        weights = [torch.tensor(float(_count(batch))) for batch in known]
        found = {"loss": weighted_mean(losses, weights)}
        if monitor == "loss" or self.labelled is None:
            return found
        return {**self.labelled.validate(model, iter(known), monitor), **found}

    def better(self, monitor: str, new: float, best: float) -> bool:
        """Tell whether a monitored value improved; a smaller loss did."""
        if self.labelled is None or monitor == "loss":
            return new < best
        return self.labelled.better(monitor, new, best)

    def validation_loss(
        self, model: nn.Module, dataset: Items, collate: Collate, items: int | None
    ) -> BatchLoss:
        """Return the distance of outputs over the first ``items``; see ``protocols.Task``.

        Inner activations and labels are no part of it.
        """
        batches: list[LossBatch] = []
        for batch in first_batches(dataset, collate, items, _BATCH, device_of(model)):
            given = self._inputs_of(model, batch)
            inputs = given[0] if len(given) == 1 else given
            loss = self._loss_of(self._of_original(model, given))
            batches.append((inputs, loss, float(_count(batch))))
        return BatchLoss(model, batches, nonnegative=False)

    def _inputs_of(self, model: nn.Module, batch: Batch) -> tuple[Any, ...]:
        """Return what a network is given for a batch."""
        original = self._original(model)
        if self.labelled is None:
            return (self.front.inputs(original, batch),)
        own = require(self.labelled, HasLoss, "task.labelled", "choose another")
        with torch.no_grad(), watched(original, ()) as seen:
            own.loss(original, batch)
        return seen[0].given

    def _loss_of(self, theirs: Seen) -> Callable[[Any], Tensor]:
        def loss(output: Any) -> Tensor:
            own = Seen(outputs=named_outputs(output))
            parts = [
                distance(kind, own.outputs[name], theirs.outputs[name], name)
                for name, kind in self._compared(own, theirs).items()
            ]
            return torch.stack(parts).sum()

        return loss

    @torch.no_grad()
    def score(
        self,
        model: nn.Module,
        dataset: Items,
        scorer: SignalScorer | None = None,
        *,
        condition: str,
        variant: str,
        audio: Path | None = None,
        keep: int = 0,
    ) -> dict[str, Row]:
        """Score how alike a network and its original are; see ``protocols.Task``.

        Returns:
            For ``variant``: ``relative_error`` and ``correlation`` of the outputs, and what their
            loss stands for, see `comparisons.Agreement`; of several outputs with the name of each
            in front. Then the scores by labels, and those of a task with labels.
        """
        found: dict[str, Agreement] = {}
        if self.labelled is not None:
            with watched(model, ()) as seen:
                rows = self.labelled.score(
                    model,
                    dataset,
                    scorer,
                    condition=condition,
                    variant=variant,
                    audio=audio,
                    keep=keep,
                )
            for each in seen:
                self._add(found, each, self._of_original(model, each.given))
            own = rows[variant]
            return {**rows, variant: {**own, "metrics": {**own["metrics"], **_told(found)}}}
        judge = judge_of(self.labels, self.sample_rate)
        original = self._original(model)
        device, rate = device_of(model), _frame_rate(original)
        with progress(f"{variant} on {condition}", len(dataset)) as display:
            for item in items_of(dataset):
                batch = {k: v[None].to(device) for k, v in item.items() if isinstance(v, Tensor)}
                with watched(model, ()) as seen:
                    model(self.front.inputs(original, batch))
                self._add(found, seen[0], self._of_original(model, seen[0].given))
                if judge is not None and rate is not None:
                    judge.add(item, next(iter(seen[0].outputs.values())), rate)
                display.advance()
        metrics = {**_told(found), **(judge.result() if judge is not None else {})}
        return {variant: _row(dataset, metrics)}

    def _add(self, found: dict[str, Agreement], own: Seen, theirs: Seen) -> None:
        for name, loss in self._compared(own, theirs).items():
            distance(loss, own.outputs[name], theirs.outputs[name], name)  # refuses other shapes
            agreement = found.setdefault(name, Agreement(loss))
            agreement.add(own.outputs[name], theirs.outputs[name])


@contextmanager
def watched(model: nn.Module, layers: Mapping[str, float] | Sequence[str]) -> Iterator[list[Seen]]:
    """Remember every forward pass of a network within a block, and the outputs of some layers.

    Raises:
        ConfigError: A layer is unknown.
    """
    passes: list[Seen] = []
    inner: dict[str, Tensor] = {}
    known = dict(model.named_modules())

    def after(_: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        passes.append(Seen(given, named_outputs(output), dict(inner)))
        inner.clear()

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, given: Any, output: Any) -> None:
            found = list(named_outputs(output).values())
            if found:
                inner[name] = found[0]

        return keep

    with ExitStack() as hooks:
        for name in layers:
            if name not in known:
                raise ConfigError(unknown_name("layer in task.layers", name, known))
            hooks.callback(known[name].register_forward_hook(note(name)).remove)
        hooks.callback(model.register_forward_hook(after).remove)
        yield passes


def _count(batch: Batch) -> int:
    """Return the number of items of a batch."""
    return next(len(value) for value in batch.values())


def _frame_rate(model: nn.Module) -> float | None:
    return float(model.frames_per_second) if isinstance(model, Costed) else None


def _told(found: Mapping[str, Agreement]) -> dict[str, float | None]:
    """Return all measures; those of several outputs have the name of the output in front."""
    told: dict[str, float | None] = {}
    for name, agreement in found.items():
        front = f"{name}_" if len(found) > 1 else ""
        told |= {f"{front}{key}": value for key, value in agreement.result().items()}
    return told


def _row(dataset: Items, metrics: Mapping[str, float | None]) -> Row:
    first = dataset[0]
    valid = {name: 0 if value is None else len(dataset) for name, value in metrics.items()}
    failures = [f"{name}: no finite value" for name, value in metrics.items() if value is None]
    return {
        "noise": first.get("noise"),
        "snr_db": first.get("snr_db"),
        "metrics": dict(metrics),
        "std": {},
        "n": len(dataset),
        "n_valid": valid,
        "failures": failures,
    }
