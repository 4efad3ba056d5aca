"""How a forward pass on a part of a batch equals that on the whole batch: ``WholeBatch``.

Within it, batch normalisation in training takes the moments of all processes, and random draws
whose first axis is that of the batch (dropout, noise) are made for the whole batch, of which the
own rows are taken. Models know nothing of it. Not covered: the dropout between layers of
``nn.LSTM`` and ``nn.GRU``, alpha dropout, and draws from a generator that a model holds itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Arguments = Sequence[Any]
Options = Mapping[str, Any]


class Sums(Protocol):
    """What adds and collects tensors over processes."""

    def sum_(self, values: Tensor) -> Tensor:
        """Replace values by their sum over the processes, and return them."""
        ...

    def all(self, values: Tensor) -> list[Tensor]:
        """Return the values of every process, in their order."""
        ...


@dataclass(frozen=True)
class Rows:
    """Which rows of the whole batch a process holds.

    Attributes:
        own: How many; 0 where a stand-in without weight is passed.
        start: The first of them.
        total: Rows of the whole batch.
    """

    own: int
    start: int
    total: int


class WholeBatch(TorchFunctionMode):
    """Let passes in a with-block see the whole batch.

    Args:
        sums: Adds over the processes.
        items: The items of the batch that this process holds.

    Attributes:
        rows: What is known of the whole batch, by the number of rows that this process passes.
        empty: Whether this process holds no item, and passes a stand-in.
    """

    def __init__(self, sums: Sums, items: Rows) -> None:
        super().__init__()
        self.sums, self.items, self.empty = sums, items, items.own == 0
        self.rows = {max(1, items.own): items}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Arguments = (), kwargs: Any = None
    ) -> Any:
        """Replace the calls that depend on the whole batch."""
        options = kwargs or {}
        replaced = _REPLACED.get(func)
        if replaced is None:
            return func(*args, **options)
        return replaced(self, func, args, options)

    def _own(self, shape: Sequence[int], draw: Callable[[Sequence[int]], Tensor]) -> Tensor | None:
        """Draw for the whole batch and return the own rows; None where no axis is the batch."""
        rows = self.rows.get(shape[0]) if len(shape) else None
        if rows is None:
            return None
        start = min(rows.start, rows.total - shape[0])  # a stand-in takes rows of others
        return draw((rows.total, *shape[1:]))[start : start + shape[0]]

    def _factory(self, func: Callable[..., Any], args: Arguments, options: Options) -> Any:
        """Replace ``torch.rand`` and ``torch.randn``."""
        if options.get("generator") is not None:
            return func(*args, **options)
        given = options.get("size", args)
        shape = given[0] if len(given) == 1 and not isinstance(given[0], int) else given
        rest = {key: value for key, value in options.items() if key != "size"}
        found = self._own(tuple(shape), lambda whole: func(whole, **rest))
        return func(*args, **options) if found is None else found

    def _randint(self, func: Callable[..., Any], args: Arguments, options: Options) -> Any:
        named = "size" in options
        shape = tuple(options["size"] if named else args[-1])
        bounds = args if named else args[:-1]
        rest = {key: value for key, value in options.items() if key != "size"}
        if options.get("generator") is not None:
            return func(*args, **options)
        found = self._own(shape, lambda whole: func(*bounds, whole, **rest))
        return func(*args, **options) if found is None else found

    def _like(self, func: Callable[..., Any], args: Arguments, options: Options) -> Any:
        """Replace ``torch.rand_like`` and ``torch.randn_like``."""
        like, *rest = args
        found = self._own(like.shape, lambda whole: func(_like(like, whole), *rest, **options))
        return func(*args, **options) if found is None else found

    def _in_place(self, func: Callable[..., Any], args: Arguments, options: Options) -> Any:
        """Replace methods such as ``Tensor.bernoulli_``."""
        target, *rest = args
        if options.get("generator") is not None or any(isinstance(each, Tensor) for each in rest):
            return func(*args, **options)
        found = self._own(
            target.shape, lambda whole: func(target.new_empty(whole), *rest, **options)
        )
        return func(*args, **options) if found is None else target.copy_(found)

    def _dropout(self, func: Callable[..., Any], args: Arguments, options: Options) -> Any:
        names = ("input", "p", "training", "inplace")
        given = {**dict(zip(names, args, strict=False)), **options}
        share, active = given.get("p", 0.5), given.get("training", True)
        values = given["input"]
        if not active or not 0 < share < 1:
            return func(*args, **options)
        per_channel = func in _CHANNEL_DROPOUTS
        shape = values.shape
        if per_channel:
            shape = (*values.shape[:2], *[1] * (values.dim() - 2))

        def draw(whole: Sequence[int]) -> Tensor:
            empty = values.new_empty(whole) if per_channel else _like(values, whole)
            return empty.bernoulli_(1 - share).div_(1 - share)

        kept = self._own(shape, draw)
        return func(*args, **options) if kept is None else values * kept.to(values)

    def _batch_norm(self, func: Callable[..., Any], args: Arguments, options: Options) -> Any:
        given = {**dict(zip(_NORM_NAMES, args, strict=False)), **options}
        if not given.get("training", False):
            return func(*args, **options)
        values = given["input"]
        mean, variance = given.get("running_mean"), given.get("running_var")
        normal, moments = _Normalise.apply(
            values, given.get("eps", 1e-5), self.sums, 0 if self.empty else len(values)
        )
        if mean is not None and variance is not None:
            _follow_(mean, variance, moments, given.get("momentum", 0.1))
        shape = (1, -1, *[1] * (values.dim() - 2))
        weight, bias = given.get("weight"), given.get("bias")
        if weight is not None:
            normal = normal * weight.view(shape)
        if bias is not None:
            normal = normal + bias.view(shape)
        return normal.to(values.dtype)


def _like(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an empty tensor whose axes lie in memory in the order of those of another.

    Draws fill memory in its order.
    """
    order = sorted(range(tensor.dim()), key=tensor.stride().__getitem__, reverse=True)
    back = sorted(range(tensor.dim()), key=order.__getitem__)
    return tensor.new_empty([shape[axis] for axis in order]).permute(back)


class _Normalise(torch.autograd.Function):
    """Normalise each channel of values (B, C, ...) by mean and variance over all processes."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, eps: float, sums: Sums, rows: int
    ) -> tuple[Tensor, Tensor]:
        """Return the normal values in single precision, and count, mean and variance (3, C)."""
        wide = values.float()
        axes = [axis for axis in range(values.dim()) if axis != 1]
        count = rows * wide[0, 0].numel()
        variance, mean = torch.var_mean(wide, axes, correction=0)
        own = torch.stack((torch.full_like(mean, count), mean, variance)).double()  # (3, C)
        counts, means, variances = torch.stack(sums.all(own), 1)  # (processes, C) each
        total = counts.sum(0)
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        shape = (1, -1, *[1] * (values.dim() - 2))
        inverse = (variance + eps).rsqrt()
        normal = (wide - mean.float().view(shape)) * inverse.float().view(shape)
        moments = torch.stack((total, mean, variance))
        ctx.save_for_backward(normal, inverse.float().view(shape), total)
        ctx.sums, ctx.axes, ctx.dtype = sums, axes, values.dtype
        ctx.held = rows > 0
        ctx.mark_non_differentiable(moments)
        return normal, moments

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the values, which depend on those of the other processes."""
        gradient = gradients[0].float()
        normal, inverse, total = ctx.saved_tensors
        axes = ctx.axes
        own = torch.stack((gradient.sum(axes), (gradient * normal).sum(axes))).double()
        straight, turned = (ctx.sums.sum_(own) / total).float().view(2, *inverse.shape)
        # a stand-in is not in the moments
        found = (gradient - straight - normal * turned) * inverse * ctx.held
        return found.to(ctx.dtype), None, None, None


def _follow_(mean: Tensor, variance: Tensor, moments: Tensor, momentum: float) -> None:
    """Move running moments towards those of a batch; the variance is the unbiased one."""
    count, new_mean, new_variance = moments
    unbiased = new_variance * count / (count - 1)
    with torch.no_grad():
        mean.lerp_(new_mean.to(mean), momentum)
        variance.lerp_(unbiased.to(variance), momentum)


_NORM_NAMES = (
    "input",
    "running_mean",
    "running_var",
    "weight",
    "bias",
    "training",
    "momentum",
    "eps",
)
_CHANNEL_DROPOUTS = (F.dropout1d, F.dropout2d, F.dropout3d)
_REPLACED: dict[Any, Callable[..., Any]] = {
    F.batch_norm: WholeBatch._batch_norm,
    F.dropout: WholeBatch._dropout,
    **dict.fromkeys(_CHANNEL_DROPOUTS, WholeBatch._dropout),
    torch.rand: WholeBatch._factory,
    torch.randn: WholeBatch._factory,
    torch.randint: WholeBatch._randint,
    torch.rand_like: WholeBatch._like,
    torch.randn_like: WholeBatch._like,
    Tensor.bernoulli_: WholeBatch._in_place,
    Tensor.normal_: WholeBatch._in_place,
    Tensor.uniform_: WholeBatch._in_place,
}
