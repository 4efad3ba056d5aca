"""Layers that torch cannot make smaller without another result: normalisations and attention.

``count_`` lets a LayerNorm, GroupNorm or RMSNorm go on to count the units that leave it, as zeros,
so that trimmed and masked model agree. ``TrimmedAttention`` has fewer or narrower heads than its
width says. Both change the class of a module in place; names of tensors stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Counted = nn.LayerNorm | nn.GroupNorm | nn.RMSNorm
_KEY = "counted"


class _Counting(nn.Module):
    """A normalisation over fewer features than it divides by.

    Attributes:
        counted: Number of features before any of them left, int64, in the state of the module.
    """

    counted: Tensor

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        # a snapshot from before the trim knows no count
        state.setdefault(prefix + _KEY, self.counted)
        super()._load_from_state_dict(state, prefix, *rest)

    def moments(self, x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
        """Return mean and variance over some axes and the zeros that are no longer there."""
        here = prod(x.shape[dim] for dim in dims)
        counted = self.counted.to(x.dtype)
        mean = x.sum(dims, keepdim=True) / counted
        squares = (x - mean).square().sum(dims, keepdim=True)
        return mean, (squares + (counted - here) * mean.square()) / counted


class CountedLayerNorm(_Counting, nn.LayerNorm):
    """A layer normalisation that counts features that left as zeros."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise the last axes."""
        dims = list(range(-len(self.normalized_shape), 0))
        x = _wide(input)
        mean, variance = self.moments(x, dims)
        values = ((x - mean) * (variance + self.eps).rsqrt()).to(input.dtype)
        return _scaled(values, self.weight, self.bias)


class CountedGroupNorm(_Counting, nn.GroupNorm):
    """A group normalisation that counts channels that left as zeros; ``counted`` is per group."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise (B, C, ...) within each group of channels."""
        batch, channels = input.shape[:2]
        wide = _wide(input)
        groups = wide.reshape(batch, self.num_groups, channels // self.num_groups, -1)
        here, counted = groups.shape[2], self.counted.to(groups.dtype)
        positions = groups.shape[3]
        mean = groups.sum((2, 3), keepdim=True) / (counted * positions)
        squares = (groups - mean).square().sum((2, 3), keepdim=True)
        gone = (counted - here) * positions * mean.square()
        variance = (squares + gone) / (counted * positions)
        values = ((groups - mean) * (variance + self.eps).rsqrt()).reshape(input.shape)
        values = values.to(input.dtype)
        shape = [-1] + [1] * (input.dim() - 2)
        shift = None if self.bias is None else self.bias.view(shape)
        return _scaled(values, self.weight.view(shape), shift)


class CountedRMSNorm(_Counting, nn.RMSNorm):
    """A normalisation by the root mean square that counts features that left as zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axes."""
        dims = list(range(-len(self.normalized_shape), 0))
        wide = _wide(x)
        square = wide.square().sum(dims, keepdim=True) / self.counted.to(wide.dtype)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return _scaled((wide * (square + eps).rsqrt()).to(x.dtype), self.weight, None)


class TrimmedAttention(nn.MultiheadAttention):
    """Attention of several heads whose joint width need not be that of its input.

    It takes what ``nn.MultiheadAttention`` takes, but no biases of keys and values and no zero
    attention.

    Attributes:
        counted: Where heads became narrower, the width of each before, int64, shape (H,), by which
            scores go on to be scaled; in the state of the module.
    """

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        if is_narrowed(self):  # a snapshot from before the trim knows no count
            state.setdefault(prefix + _KEY, self.get_buffer(_KEY))
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend to the values, as ``nn.MultiheadAttention.forward`` does."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = query[None], key[None], value[None]
        elif not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        q, k, v = (self._heads(each) for each in self._projected(query, key, value))
        scores = q @ k.transpose(-2, -1)  # (B, H, N, M)
        if is_narrowed(self):
            scores = scores * self.get_buffer(_KEY).to(scores.dtype).rsqrt()[:, None, None]
        else:
            scores = scores * self.head_dim**-0.5
        if attn_mask is not None:
            if attn_mask.dim() == 3:  # one for each item and head
                attn_mask = attn_mask.view(len(q), -1, *attn_mask.shape[1:])
            scores = scores + _added(attn_mask, scores)
        if key_padding_mask is not None:
            padding = key_padding_mask if batched else key_padding_mask[None]
            scores = scores + _added(padding[:, None, None], scores)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        out = (weights @ v).transpose(1, 2).flatten(2)  # (B, N, H * D)
        out = F.linear(out, self.out_proj.weight, self.out_proj.bias)
        if not batched:
            out = out[0]
        elif not self.batch_first:
            out = out.transpose(0, 1)
        if not need_weights:
            return out, None
        shown = weights.mean(1) if average_attn_weights else weights
        return out, shown if batched else shown[0]

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        if self.in_proj_weight is not None:
            weights = list(self.in_proj_weight.chunk(3))
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None] * 3 if self.in_proj_bias is None else list(self.in_proj_bias.chunk(3))
        inputs = (query, key, value)
        return [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)


def count_(module: Counted) -> None:
    """Let a normalisation go on to count the features that it has now, in place."""
    if isinstance(module, _Counting):
        return
    if isinstance(module, nn.GroupNorm):
        if module.num_groups == module.num_channels:
            return  # every channel is normalised alone
        features = module.num_channels // module.num_groups
        kind: type[_Counting] = CountedGroupNorm
    else:
        features = prod(module.normalized_shape)
        kind = CountedLayerNorm if isinstance(module, nn.LayerNorm) else CountedRMSNorm
    module.register_buffer(_KEY, torch.tensor(features, device=module.weight.device))
    module.__class__ = kind  # type: ignore[assignment]


def count_like_(model: nn.Module, names: Iterable[str]) -> None:
    """Let the normalisations of a freshly built model count, in place, which do in a trimmed one.

    Args:
        model: A model of the full widths.
        names: Names of the trimmed model's tensors.
    """
    modules = dict(model.named_modules())
    for name in names:
        path, _, key = name.rpartition(".")
        module = modules.get(path)
        if key == _KEY and isinstance(module, nn.MultiheadAttention):
            narrow_(module)
        elif key == _KEY and is_countable(module):
            count_(module)


def narrow_(module: nn.MultiheadAttention) -> None:
    """Let attention go on to scale its scores by the width that its heads have now, in place."""
    if not is_narrowed(module):
        widths = torch.full(
            (module.num_heads,), module.head_dim, device=module.out_proj.weight.device
        )
        module.register_buffer(_KEY, widths)


def is_narrowed(module: nn.Module) -> bool:
    """Tell whether the heads of an attention became narrower."""
    return isinstance(module, nn.MultiheadAttention) and _KEY in module._buffers


def is_countable(module: nn.Module | None) -> TypeGuard[Counted]:
    """Tell whether a module is one of torch's own normalisations over units, with a scale."""
    if isinstance(module, _Counting):
        return True
    kinds = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    for kind in kinds:
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return module.weight is not None
    return False


def attention_sizes(
    module: nn.MultiheadAttention, shapes: Mapping[str, tuple[int, ...]], narrows: bool = False
) -> dict[str, Any]:
    """Work out what an attention stores when its projections get new shapes.

    Args:
        module: The attention.
        shapes: Its tensors' new shapes, by their own names.
        narrows: Whether all heads stay, with fewer positions each.
    """
    if "in_proj_weight" in shapes:
        inner, width = shapes["in_proj_weight"][0] // 3, shapes["in_proj_weight"][1]
    else:
        inner, width = shapes["q_proj_weight"]
    heads = inner // module.head_dim
    if narrows or is_narrowed(module):
        heads = shapes[_KEY][0] if _KEY in shapes else module.num_heads
    return {
        "__class__": TrimmedAttention,
        "num_heads": heads,
        "head_dim": inner // max(1, heads),
        "embed_dim": width,
        # torch's own fast path would take the widths for equal
        "_qkv_same_embed_dim": False,
    }


def _wide(x: Tensor) -> Tensor:
    """Return half precision as float32: sums overflow there and counts above 256 are rounded."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _scaled(values: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    return values * scale if shift is None else values * scale + shift


def _added(mask: Tensor, scores: Tensor) -> Tensor:
    """Return a mask as what is added to scores; a bool one is True where nothing is seen."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(mask, -torch.inf)
    return mask
