"""A device without hardware: tensors that say they are on ``fakegpu`` and compute on the CPU.

Values are true ones, so whole trainings and prunings run there. What an accelerator refuses is
refused: an operation on tensors of both devices, a CPU generator for a tensor of the device,
``numpy`` of such a tensor. What makes a host wait for an accelerator is counted: ``host_reads``.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "fakegpu"
aten = torch.ops.aten
# The number of results is not known before the work is done.
_READS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.bincount.default,
    aten.allclose.default,
}
_COPIES = {aten.copy_.default, aten._to_copy.default}
# An index may lie on the CPU; the accelerator copies it.
_INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
_INDEXED |= {aten._index_put_impl_.default}


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def is_bf16_supported(self) -> bool:
        return True

    def get_rng_state(self, device: Any = NAME) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = NAME) -> None:
        torch.set_rng_state(state)

    def set_device(self, device: Any) -> None:
        """There is one."""

    def synchronize(self, device: Any = None) -> None:
        """Nothing waits."""


class OnDevice(Tensor):
    """A tensor of the device; ``raw`` holds its values."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
        )
        made.raw = raw
        return made

    def __init__(self, raw: Tensor) -> None:
        """The work is done by ``__new__``."""

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["raw"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *unused: Any) -> OnDevice:
        return OnDevice(inner["raw"])

    def __reduce_ex__(self, protocol: int) -> Any:
        return OnDevice, (self.raw,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        with torch.no_grad():
            copy: Tensor = OnDevice(self.raw.clone())
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def untyped_storage(self) -> Any:
        return self.raw.untyped_storage()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"can't convert {NAME} device type tensor to numpy; use Tensor.cpu()")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {}, [])


class FakeDevice(TorchDispatchMode):
    """Makes the device exist within a with-block.

    Attributes:
        host_reads: Name of every operation that made the host wait, with the place of its call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.host_reads: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {}, self.host_reads)

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Collect what makes the host wait within a with-block."""
        start, found = len(self.host_reads), list[str]()
        yield found
        found += self.host_reads[start:]


def _dispatch(func: Any, args: Any, kwargs: dict[str, Any], reads: list[str]) -> Any:
    leaves, spec = tree_flatten((args, kwargs))
    tensors = [each for each in leaves if isinstance(each, Tensor)]
    ours = [each for each in tensors if isinstance(each, OnDevice)]
    device = kwargs.get("device")
    device = None if device is None else torch.device(device)
    to_ours = bool(ours) if device is None else device.type == NAME
    if not ours and not to_ours:
        return func(*args, **kwargs)
    hosts = [each for each in tensors if not isinstance(each, OnDevice) and each.dim() > 0]
    given = args[0] if args else None
    allowed = func in _COPIES or (func in _INDEXED and isinstance(given, OnDevice))
    if ours and hosts and not allowed:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME} and cpu: {func}"
        )
    generator = kwargs.get("generator")
    if to_ours and generator is not None and generator.device.type == "cpu":
        raise RuntimeError(f"Expected a '{NAME}' generator device but found 'cpu': {func}")
    if _reads(func, args, ours, to_ours):
        reads.append(f"{func} {_place()}")
    plain = [each.raw if isinstance(each, OnDevice) else each for each in leaves]
    raw_args, raw_kwargs = tree_unflatten(plain, spec)
    if device is not None:
        raw_kwargs["device"] = torch.device("cpu")
        raw_kwargs.pop("pin_memory", None)
    if func is aten.copy_.default:
        raw_args[0].copy_(raw_args[1])
        return given
    if func is aten._to_copy.default:  # where nothing else changes it must be a copy still
        raw_kwargs.pop("device", None)
    found = _CELLS.get(func, func)(*raw_args, **raw_kwargs)
    if to_ours:
        found = tree_map(lambda each: OnDevice(each) if isinstance(each, Tensor) else each, found)
        if ours:
            return return_and_correct_aliasing(func, args, kwargs, found)
    return found


def _reads(func: Any, args: Any, ours: list[OnDevice], to_ours: bool) -> bool:
    """Tell whether an operation makes the host wait."""
    if not ours:
        return False
    if func in _READS:
        return True
    if func is aten.copy_.default:
        return not isinstance(args[0], OnDevice)
    if func is aten._to_copy.default:
        return not to_ours
    if func in _INDEXED:  # positions of a bool index must be counted
        return any(each is not None and each.dtype == torch.bool for each in args[1])
    return False


def _place() -> str:
    for frame in reversed(traceback.extract_stack()):
        if "/audioprune/" in frame.filename:
            return f"{frame.filename.partition('/audioprune/')[2]}:{frame.lineno}"
    return "outside"


def _lstm_cell(
    given: Tensor, hidden: Tensor, cx: Tensor, *biases: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the accelerators' cell returns, which the CPU lacks: hy, cy and the gates."""
    gates = given + hidden + sum(each for each in biases if each is not None)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat((i, f, g, o), 1)


def _lstm_cell_backward(
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    cx: Tensor,
    cy: Tensor,
    gates: Tensor,
    has_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, 1)
    hy = torch.zeros_like(cy) if grad_hy is None else grad_hy
    c = hy * o * (1 - cy.tanh() ** 2) + (0 if grad_cy is None else grad_cy)
    parts = (
        c * g * i * (1 - i),
        c * cx * f * (1 - f),
        c * i * (1 - g**2),
        hy * cy.tanh() * o * (1 - o),
    )
    grads = torch.cat(parts, 1)
    return grads, c * f, grads.sum(0)


def _gru_cell(
    given: Tensor,
    hidden: Tensor,
    hx: Tensor,
    bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    given = given if bias is None else given + bias
    hidden = hidden if hidden_bias is None else hidden + hidden_bias
    (r, z, n), (hr, hz, hn) = given.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return n + z * (hx - n), torch.cat((r, z, n, hx, hn), 1)


def _gru_cell_backward(
    grad: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r, z, n, hx, hn = workspace.chunk(5, 1)
    new = grad * (1 - z) * (1 - n**2)
    reset, update = new * hn * r * (1 - r), grad * (hx - n) * z * (1 - z)
    given, hidden = torch.cat((reset, update, new), 1), torch.cat((reset, update, new * r), 1)
    return given, hidden, grad * z, given.sum(0), hidden.sum(0)


_CELLS = {
    # the wrapper has no bit that says that its values are still to be conjugated
    aten._conj.default: aten._conj_physical.default,
    aten._thnn_fused_lstm_cell.default: _lstm_cell,
    aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
    aten._thnn_fused_gru_cell.default: _gru_cell,
    aten._thnn_fused_gru_cell_backward.default: _gru_cell_backward,
}
# autograd makes a queue for every device that is there before the first backward pass
_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
_LIBRARY = torch.library.Library("_", "IMPL")  # autocast changes nothing here
_LIBRARY.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")


@contextmanager
def fake_device() -> Iterator[FakeDevice]:
    """Make ``fakegpu`` a device of torch, and of ``runtime.device``, within a with-block."""
    from audioprune.training import devices

    with pytest.MonkeyPatch.context() as patch, FakeDevice() as mode:
        patch.setattr(devices, "DEVICES", (*devices.DEVICES, NAME))
        yield mode
