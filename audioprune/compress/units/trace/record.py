"""One forward pass that notes whose units lie where: ``record``.

It sees every operation that reaches the tensor library, whatever module or function called it. An
operation without a rule pins all units on its inputs, so that nothing wrong is offered.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from audioprune.compress.eval_mode import evaluating
from audioprune.compress.units.declare import tensors_of
from audioprune.compress.units.trace import layers, math, moves
from audioprune.compress.units.trace.tape import FAILS, Tape, tensors_in
from audioprune.compress.units.trimmed_layers import is_countable
from audioprune.compress.weight_norm import copy_of

_READS_VALUE = "_local_scalar_dense"  # what if, int(), float() and item() come to
_TAKES_VALUES = (Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__)
_RULES = {**math.RULES, **moves.RULES, **layers.RULES}


def record(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], training: bool = False
) -> Tape:
    """Run a model once in evaluation mode without gradients.

    Args:
        model: The model, which may remember the pass; parameters of one memory have to be one
            parameter.
        args: Positional arguments of its forward pass.
        kwargs: Keyword arguments.
        training: Run a copy in training mode too, where a model may use layers of its own.

    Returns:
        What is known of its units; those on an output of the model are pinned.
    """
    tape = Tape(_names(model), frozenset(_counted_norms(model)))
    twin = copy_of(model).train() if training else None
    outputs = _run(model, tape, args, kwargs)
    tape.pin_all(outputs, "its output leaves the model")
    tape.forget_unused(outputs)
    if twin is not None:
        _run_in_training(twin, tape, args, kwargs)
    _tie_recurrent(model, tape)
    if tape.branches:
        tape.pin_everything(tape.branches[0])
    return tape


def _names(model: nn.Module) -> dict[int, str]:
    return {id(tensor): name for name, tensor in tensors_of(model).items() if tensor.numel()}


def _run(model: nn.Module, tape: Tape, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a model in the mode that it is in, and return what it returns."""
    recorder = _Recorder(tape, (args, kwargs))
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if not tape.training:
            stack.enter_context(evaluating(model))
        stack.enter_context(_plain_kernels())
        stack.enter_context(_told_modules(model, tape))
        stack.enter_context(_Values(recorder))
        stack.enter_context(recorder)
        return model(*args, **kwargs)


def _run_in_training(
    twin: nn.Module, tape: Tape, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Follow a copy in training mode; what it does there says nothing of exactness."""
    tape.names |= _names(twin)
    tape.training, crossed = True, list(tape.atoms.crossed)
    try:
        outputs = _run(twin, tape, args, kwargs)
    except FAILS:
        return  # a batch of one has no statistics
    finally:
        tape.atoms.crossed = crossed
        tape.path.clear()
        # so that no other tensor gets the id of one of its parameters
        tape.kept.append(twin)
    tape.pin_all(outputs, "its output leaves the model in training mode")


def _are_sizes(tensor: Tensor) -> bool:
    """Tell whether an input says how long others are, which is no more a value than a shape."""
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    return whole and tensor.dim() < 2


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Apply the rule of every operation.

    What comes of the inputs is followed too: where Python reads a value of it, another input may
    go another way, of which one pass shows nothing.
    """

    def __init__(self, tape: Tape, inputs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tape = tape
        # by id, with the tensor, so that no id is given twice, and the operation that made it
        values = [tensor for tensor in tensors_in(inputs) if not _are_sizes(tensor)]
        self._of_inputs = {id(tensor): (tensor, "input") for tensor in values}

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
        kwargs, tape = kwargs or {}, self._tape
        given = list(tensors_in((args, kwargs)))
        # labels belong to the tensors as they were before an operation changes them
        labelled = any([tape.get(tensor).any for tensor in given])
        out = func(*args, **kwargs)
        made = list(tensors_in(out))
        name = func.overloadpacket.__name__
        self._follow_inputs(name, given, made)
        rule = _RULES.get(name)
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = math.pointwise
        tape.begin(name.strip("_"))
        makes = rule in (moves.factory, moves.fixed_factory)
        followed = rule is not None and (labelled or makes)
        if rule is not None and followed:
            self._pin_chosen(name, args)
            try:
                rule(tape, func, args, kwargs, out)
            except FAILS:
                followed = False  # arguments of a form that the rule does not know
        if not followed:
            if labelled:
                why = f"{tape.where} reads it, whose effect on units is unknown"
                tape.pin_all(given, why)
            for tensor in made:
                tape.keep(tensor)
        tape.end(given, made, func._schema.is_mutable)
        return out

    def reads_values(self, name: str, tensors: Iterable[Tensor]) -> None:
        """Note that Python reads all values of some tensors, outside of torch."""
        self._tape.operation = name
        for tensor in tensors:
            where = self._tape.where
            self._tape.pin_all(tensor, f"{where} takes its values out of torch")
            if id(tensor) in self._of_inputs:
                self._tape.branches.append(
                    f"forward takes values out of torch by {where}, so that one pass does not "
                    f"show all; use operations of torch instead"
                )

    def _pin_chosen(self, name: str, args: tuple[Any, ...]) -> None:
        """Pin the units that a value of the input chooses among."""
        if name not in ("index", "index_select"):
            return
        axes = self._tape.get(args[0]).axes
        place = 0
        for index in args[1] if name == "index" else [None] * args[1] + [args[2]]:
            masks = isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            width = index.dim() if masks else 1
            for axis in axes[place : place + width]:
                if isinstance(index, Tensor) and id(index) in self._of_inputs and axis is not None:
                    why = f"{self._tape.where} chooses among its units by a value of the input"
                    self._tape.atoms.pin(axis.ids, why)
            place += width

    def _follow_inputs(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        """Note what comes of the inputs, and where Python reads a value of it."""
        known = self._of_inputs
        made_by = [known[id(each)][1] for each in given if id(each) in known]
        if not made_by:
            return
        if name == _READS_VALUE:
            self._tape.operation = made_by[0]
            self._tape.branches.append(
                f"forward takes its way by a value of {self._tape.where}, so that one pass does "
                f"not show all; use torch.where instead"
            )
        if name == "_pack_padded_sequence":
            made = made[:1]  # how many sequences reach each step is no value of the model
        known |= {id(tensor): (tensor, name.strip("_")) for tensor in made}


class _Values(TorchFunctionMode):
    """See where values leave torch, which no operation tells."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _TAKES_VALUES:
            self._recorder.reads_values(func.__name__, tensors_in(args[:1]))
        return func(*args, **(kwargs or {}))


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
    """Unite unit u of all layers and directions of a recurrent module, which share their size.

    A single step does not show that what is written is also read.
    """
    own = tape.atoms.own
    for name, module in model.named_modules():
        if not isinstance(module, nn.RNNBase | nn.RNNCellBase):
            continue
        prefix = f"{name}." if name else ""
        hidden = []
        for key, _ in module.named_parameters(recurse=False):
            rows, columns = own.get((prefix + key, 0)), own.get((prefix + key, 1))
            if isinstance(module, nn.RNNBase) and module.proj_size:
                for ids in (rows, columns):
                    if ids is not None:
                        why = "a recurrent layer with a projection cannot be trimmed"
                        tape.atoms.pin(ids, why)
            elif key.startswith("weight_hh") and rows is not None and columns is not None:
                hidden += [columns, *rows.reshape(-1, len(columns))]
        for ids in hidden[1:]:
            tape.atoms.unite(hidden[0], ids, name)
