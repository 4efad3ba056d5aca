"""Which layer reads what which other layer made: ``layer_flow``, by one watched forward pass.

Activations, normalisations and reshapes are passed through: a link joins the layers on both of
their sides. It is a picture of the model for people; units are derived elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from audioprune.experiment.foreign.trial import run_example

INPUT = ""
"""Name of what stands before the first layer."""


@dataclass
class Flow:
    """How layers follow one another.

    Attributes:
        order: Names of the called layers, in the order of their first call.
        before: Layer -> names of the layers whose outputs it reads; `INPUT` is the input.
        last: Names of the layers whose outputs leave the model.
    """

    order: list[str] = field(default_factory=list)
    before: dict[str, list[str]] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)


def layer_flow(model: nn.Module, names: Sequence[str]) -> Flow:
    """Follow the example of a model through its layers.

    Args:
        model: A model with an example.
        names: Names of the modules that count as layers.

    Raises:
        ConfigError: The model does not run on its example.
    """
    flow, seen = Flow(), _Seen()
    with ExitStack() as stack:
        for name in names:
            module = model.get_submodule(name)
            stack.callback(
                module.register_forward_hook(_hook(name, flow, seen), with_kwargs=True).remove
            )
        stack.enter_context(seen)
        flow.last = seen.of(run_example(model))
    return flow


def _hook(name: str, flow: Flow, seen: _Seen) -> Any:
    """Return what notes a call of a layer, and that its outputs are its own."""

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if name not in flow.before:
            flow.order.append(name)
        # a layer within this one made what it returns
        inside = [each for each in seen.of(output) if each.startswith(f"{name}.")]
        known = flow.before.setdefault(name, [])
        found = [*seen.of((args, kwargs)), *inside]
        known += [each for each in found if each not in known and each != name]
        seen.set(output, [name])

    return note


class _Seen(TorchFunctionMode):
    """Remember for every tensor which layers it comes from."""

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[int, tuple[Tensor, list[str]]] = {}

    def of(self, value: Any) -> list[str]:
        """Return the layers that the tensors in a value come from; the input where none."""
        tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        found = [self._sources.get(id(each), (each, [INPUT]))[1] for each in tensors]
        names = list(dict.fromkeys(name for several in found for name in several))
        made = [name for name in names if name != INPUT]
        return made or names

    def set(self, value: Any, names: list[str]) -> None:
        """Say where the tensors in a value come from; they are kept, so that no id comes twice."""
        for leaf in tree_leaves(value):
            if isinstance(leaf, Tensor):
                self._sources[id(leaf)] = (leaf, names)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        names = self.of((args, kwargs or {}))
        if getattr(func, "__name__", "") == "__setitem__":
            self.set(args[0], names)
        elif names and names != [INPUT]:
            self.set(output, names)
        return output
