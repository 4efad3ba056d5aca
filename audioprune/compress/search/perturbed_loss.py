"""The validation loss of a model, again and again, while one tensor at a time is changed in place.

``BatchLoss`` evaluates it over fixed batches and does no more work than a decision needs. The
searches of this folder ask for it; the caller says what a batch and a loss are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf, isfinite, isnan, nextafter
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.ties import tie_key
from audioprune.errors import ConfigError, DivergedError, unknown_name
from audioprune.progress import progress

Value = Tensor | tuple[Tensor, ...]
Prefix = str | tuple[str, ...]
Stage = tuple[Prefix, Callable[[Any], Any]]
LossBatch = tuple[Value, Callable[[Any], Tensor], float]
Found = TypeVar("Found")


@runtime_checkable
class Staged(Protocol):
    """A model that is a chain of stages, so that a search repeats only those after a change."""

    def stages(self) -> list[Stage]:
        """Return (prefix of parameter names, function of the output before) for each stage.

        The functions one after another are the forward pass. A stage of several modules has a
        tuple of prefixes, one without parameters the prefix "".
        """
        ...


class TensorLoss(Protocol):
    """The mean validation loss of a model, of which one tensor at a time is changed."""

    def base(self) -> float:
        """Evaluate the loss of the model as it is, and forget what earlier weights gave."""
        ...

    def with_tensor(self, name: str, limit: float) -> float:
        """Evaluate the loss while one tensor is modified in place.

        Above ``limit``, any lower bound above it will do.
        """
        ...


class BatchLoss:
    """The weighted mean loss over fixed batches, evaluated no further than a decision needs.

    An evaluation stops as soon as the sum of non-negative losses proves that the limit is
    exceeded. If the model is ``Staged``, the inputs of the stage under test are remembered and
    only the stages from there on run. Both savings leave every decision as it is. Evaluations run
    in eval mode without gradients; the training mode comes back afterwards.

    Args:
        model: The model. Between two calls of ``base()`` only the tensor under test may change.
        batches: (inputs, loss of the output, weight) triples: a tensor or tuple of tensors for the
            model, a function from the model's output to the scalar mean loss, and the batch's
            share in the mean, such as its number of frames.
        cache_bytes: Largest memory for remembered inputs; batches beyond it are computed from the
            nearest remembered stage.
        nonnegative: Whether no batch loss is below 0; without that evaluations do not stop early.

    Raises:
        ConfigError: There are no batches, a weight is not positive, or the prefix of a stage
            matches no parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[LossBatch],
        *,
        cache_bytes: int = 1 << 30,
        nonnegative: bool = True,
    ) -> None:
        if not batches or not all(weight > 0 for _, _, weight in batches):
            raise ConfigError(
                "validation loss: expected batches of positive weight, got none or a weight <= "
                "0; check the data"
            )
        self._model, self._batches = model, list(batches)
        self._total_weight = sum(weight for _, _, weight in batches)
        self._nonnegative, self._cache_bytes = nonnegative, cache_bytes
        self._stages = list(model.stages()) if isinstance(model, Staged) else []
        self._stage_of = _stage_of(model, [prefix for prefix, _ in self._stages])
        self._cache: dict[int, tuple[int, Value]] = {}
        self._checked = not self._stages

    def base(self) -> float:
        """Evaluate the loss of the model as it is and forget all remembered inputs.

        Raises:
            ConfigError: The stages do not compose to the model's forward pass, or a loss is
                negative.
        """
        self._cache.clear()
        if not self._checked:
            self._check_stages()
            self._checked = True
        return self._mean(0, inf)

    def with_tensor(self, name: str, limit: float) -> float:
        """Evaluate the loss while one tensor is modified in place.

        Args:
            name: Parameter name of the modified tensor.
            limit: A partial result above this value is returned at once.

        Raises:
            ConfigError: A loss is negative.
        """
        return self._mean(self._stage_of.get(name, 0), limit)

    def _mean(self, stage: int, limit: float) -> float:
        total = 0.0
        with torch.no_grad(), evaluating(self._model):
            for index, (inputs, loss_of, weight) in enumerate(self._batches):
                value = float(loss_of(self._output(index, inputs, stage)))
                if self._nonnegative and value < 0:
                    raise ConfigError(
                        f"validation loss: expected losses >= 0, got {value}; set "
                        f"nonnegative=False for this loss"
                    )
                total += weight * value
                if self._nonnegative and not total / self._total_weight <= limit:  # NaN stops too
                    break
        return total / self._total_weight

    def _output(self, index: int, inputs: Value, stage: int) -> Any:
        if not self._stages:
            return _forward(self._model, inputs)
        start, value = self._cache.get(index, (0, inputs))
        if start > stage:
            start, value = 0, inputs
        # the stages before the tensor under test are unmodified, so their output is remembered
        for _, run in self._stages[start:stage]:
            value = run(value)
        self._remember(index, stage, value)
        for _, run in self._stages[stage:]:
            value = run(value)
        return value

    def _remember(self, index: int, stage: int, value: Value) -> None:
        if stage == 0:
            return
        others = sum(_bytes(kept) for other, (_, kept) in self._cache.items() if other != index)
        if others + _bytes(value) <= self._cache_bytes:
            self._cache[index] = (stage, value)

    def _check_stages(self) -> None:
        inputs = self._batches[0][0]
        with torch.no_grad(), evaluating(self._model):
            expected = _forward(self._model, inputs)
            value = inputs
            for prefix, run in self._stages:
                before = [tensor._version for tensor in _tensors(value)]
                following = run(value)
                if before != [tensor._version for tensor in _tensors(value)]:
                    raise ConfigError(
                        f"stage '{prefix}': expected its input to stay as it is, got an "
                        f"in-place change; drop inplace=True"
                    )
                value = following
        if not _same(_tensors(value), _tensors(expected)):
            name = type(self._model).__name__
            raise ConfigError(
                f"{name}.stages(): expected stages that compose to forward(), got another "
                f"output; correct or remove stages()"
            )


@contextmanager
def restored(tensor: Tensor) -> Iterator[Tensor]:
    """Allow writing to a tensor in a with-block and give it its former bits back afterwards.

    Yields a copy of the tensor as it was.
    """
    before = tensor.detach().clone()
    with torch.no_grad():
        try:
            yield before
        finally:
            tensor.copy_(before)


def base_of(loss: TensorLoss) -> float:
    """Evaluate the loss of the untouched model.

    Raises:
        DivergedError: The loss is not finite.
    """
    base = loss.base()
    if not isfinite(base):
        raise DivergedError(
            f"sensitivity: expected a finite base loss, got {base}; the model has diverged, "
            f"lower the learning rate"
        )
    return base


def increase_of(loss: TensorLoss, name: str, base: float, alpha: float) -> float:
    """Evaluate the loss increase with one tensor modified.

    It is exact up to alpha, a lower bound above it, and infinite for a loss that is NaN.
    """
    increase = loss.with_tensor(name, limit_of(base, alpha)) - base
    return inf if isnan(increase) else increase


def limit_of(base: float, alpha: float) -> float:
    """Return the smallest loss whose increase, as rounded, exceeds alpha.

    Stopping there changes no decision.
    """
    limit = base + alpha
    while limit - base <= alpha and limit < inf:
        limit = nextafter(limit, inf)
    return limit


def check_alpha(alpha: float) -> None:
    """Refuse a tolerance that is negative or not a number.

    Raises:
        ConfigError: The tolerance is negative or not a number.
    """
    if not alpha >= 0:
        raise ConfigError(
            f"tolerance alpha: expected a number >= 0, got {alpha}; the loss increase is "
            f"compared with it"
        )


def resumable(
    title: str,
    tensors: Mapping[str, Any],
    find: Callable[[str], Found],
    finished: Mapping[str, Found] | None,
    on_tensor: Callable[[str, Found], None] | None,
) -> dict[str, Found]:
    """Find something for every tensor in order.

    Args:
        title: Title of the progress display.
        tensors: Tensor name -> anything.
        find: Name -> what is wanted of that tensor.
        finished: What an interrupted call had found; it is taken over.
        on_tensor: Called after each tensor, so that the finding can be stored.
    """
    found: dict[str, Found] = {}
    with progress(title, len(tensors)) as display:
        for name in tensors:
            if finished and name in finished:
                found[name] = finished[name]
                display.skip(1)
                continue
            found[name] = find(name)
            if on_tensor:
                on_tensor(name, found[name])
            display.advance(1, name)
    return found


def _stage_of(model: nn.Module, prefixes: Sequence[Prefix]) -> dict[str, int]:
    """Map parameter names to their stage.

    A tied weight belongs to the first of its stages, a weight that no prefix covers to stage 0.
    """
    stages: list[tuple[str, int]] = []
    for stage, several in enumerate(prefixes):
        stages += [(prefix, stage) for prefix in _each(several)]
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for prefix, _ in stages:
        if not any(_within(name, prefix) for name in parameters):
            place = f"prefix in {type(model).__name__}.stages()"
            raise ConfigError(unknown_name(place, prefix, list(parameters)))
    first: dict[Hashable, int] = {}
    for name, parameter in parameters.items():
        claims = [(len(prefix), stage) for prefix, stage in stages if _within(name, prefix)]
        stage = max(claims)[1] if claims else 0  # the longest prefix decides
        key = tie_key(parameter)
        first[key] = min(stage, first.get(key, stage))
    return {name: first[tie_key(parameter)] for name, parameter in parameters.items()}


def _each(prefixes: Prefix) -> list[str]:
    several = (prefixes,) if isinstance(prefixes, str) else prefixes
    return [prefix.rstrip(".") for prefix in several if prefix]


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _forward(model: nn.Module, inputs: Value) -> Any:
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _same(got: list[Tensor], expected: list[Tensor]) -> bool:
    if [tensor.shape for tensor in got] != [tensor.shape for tensor in expected]:
        return False
    pairs = zip(got, expected, strict=True)
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    for item in value:
        found += _tensors(item)
    return found


def _bytes(value: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))
