"""One forward pass that notes whose units lie where: ``record``.

It sees every operation that reaches the tensor library, whatever module or function called it. An
operation without a rule pins all units on its inputs, so that nothing wrong is offered.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.units.declare import tensors_of
from audioprune.compress.units.trace import layers, math, moves
from audioprune.compress.units.trace.tape import Tape, tensors_in
from audioprune.compress.units.trimmed_layers import is_countable

_READS_VALUE = "_local_scalar_dense"  # what if, int(), float() and item() come to
_RULES = {**math.RULES, **moves.RULES, **layers.RULES}


def record(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tape:
    """Run a model once in evaluation mode without gradients.

    Args:
        model: The model; parameters of one memory have to be one parameter.
        args: Positional arguments of its forward pass.
        kwargs: Keyword arguments.

    Returns:
        What is known of its units; those on an output of the model are pinned.
    """
    names = {id(tensor): name for name, tensor in tensors_of(model).items() if tensor.numel()}
    tape = Tape(names, frozenset(_counted_norms(model)))
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(model))
        stack.enter_context(_plain_kernels())
        stack.enter_context(_told_modules(model, tape))
        stack.enter_context(_Recorder(tape, (args, kwargs)))
        outputs = model(*args, **kwargs)
    tape.pin_all(outputs, "its output leaves the model")
    _tie_recurrent(model, tape)
    if tape.branches:
        tape.pin_everything(
            f"forward takes its way by a value of {tape.branches[0]}, so that one pass does not "
            f"show all; use torch.where instead"
        )
    return tape


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Apply the rule of every operation.

    What comes of the inputs is followed too: where Python reads a value of it, another input may
    go another way, of which one pass shows nothing.
    """

    def __init__(self, tape: Tape, inputs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tape = tape
        # by id, with the tensor, so that no id is given twice, and the operation that made it
        self._of_inputs = {id(tensor): (tensor, "input") for tensor in tensors_in(inputs)}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else torch loads its compiler, which takes longer than the pass
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # labels belong to the tensors as they were before an operation changes them
        labelled = any([self._tape.get(tensor).any for tensor in tensors_in((args, kwargs))])
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        self._follow_inputs(name, (args, kwargs), out)
        rule = _RULES.get(name)
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = math.pointwise
        self._tape.operation = name.strip("_")
        makes = rule in (moves.factory, moves.fixed_factory)
        if rule is not None and (labelled or makes):
            rule(self._tape, func, args, kwargs, out)
            return out
        if labelled:
            where = self._tape.where
            self._tape.pin_all(
                (args, kwargs), f"{where} reads it, whose effect on units is unknown"
            )
        for tensor in tensors_in(out):
            self._tape.keep(tensor)
        return out

    def _follow_inputs(self, name: str, given: Any, out: Any) -> None:
        """Note what comes of the inputs, and where Python reads a value of it."""
        known = self._of_inputs
        made_by = [known[id(each)][1] for each in tensors_in(given) if id(each) in known]
        if not made_by:
            return
        if name == _READS_VALUE:
            self._tape.operation = made_by[0]
            self._tape.branches.append(self._tape.where)
        known |= {id(tensor): (tensor, name.strip("_")) for tensor in tensors_in(out)}


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Let layers compute by plain operations, not by one kernel that hides them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _told_modules(model: nn.Module, tape: Tape) -> Iterator[None]:
    """Keep the names of the modules that run, for reasons."""
    handles = []
    for name, module in model.named_modules():

        def enter(*_: Any, name: str = name) -> None:
            tape.path.append(name)

        def leave(*_: Any) -> None:
            tape.path.pop()

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _counted_norms(model: nn.Module) -> Iterator[str]:
    """Yield the names of scales whose normalisation can keep counting removed units."""
    for name, module in model.named_modules():
        if is_countable(module):
            yield f"{name}.weight" if name else "weight"


def _tie_recurrent(model: nn.Module, tape: Tape) -> None:
    """Unite unit u of all layers and directions of a recurrent module, which share their size."""
    for name, module in model.named_modules():
        if not isinstance(module, nn.RNNBase):
            continue
        prefix = f"{name}." if name else ""
        hidden = []
        for key, _ in module.named_parameters(recurse=False):
            if key.startswith("weight_hh") and (prefix + key, 1) in tape.atoms.own:
                hidden.append(tape.atoms.own[prefix + key, 1])
            for dim in (0, 1):
                ids = tape.atoms.own.get((prefix + key, dim))
                if ids is not None and module.proj_size:
                    tape.atoms.pin(ids, "a recurrent layer with a projection cannot be trimmed")
        for ids in hidden[1:]:
            tape.atoms.unite(hidden[0], ids, name)
