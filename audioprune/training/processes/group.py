"""How several processes of one run find one another and add what they computed: ``joined``.

``Group`` is one of them; what they share is written in alone.py, which process this is in
launch.py, how forward passes see the whole batch in whole_batch.py. Nothing is written to disk.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from audioprune import launch
from audioprune.errors import AudiopruneError, ConfigError, InterruptedRun, ProcessError
from audioprune.launch import Place
from audioprune.training.loaders import part_of
from audioprune.training.processes.alone import Current, Processes, Value, Weight
from audioprune.training.processes.whole_batch import Rows, WholeBatch

_JOIN = timedelta(seconds=120)
_WORK = timedelta(days=2)  # one process may do long work while the others wait for it
_HEAR_S = 2.0
_YIELD_S = 3.0
_LOOK_S = 0.05
_BUCKET = 1 << 24
"""Values that are summed at once."""


class Group(Processes):
    """One of several processes.

    Args:
        place: Which of them.
        store: Values by name that all processes see.
        device: Where this process computes.
    """

    def __init__(self, place: Place, store: Any, device: torch.device) -> None:
        self.place, self.store, self.device = place, store, device
        self._batch: WholeBatch | None = None

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    def broadcast(self, value: Value) -> Value:
        """Return what the main process gave; plain values."""
        held: list[Any] = [value if self.is_main else None]
        with self._talking():
            torch.distributed.broadcast_object_list(held, src=0)
        result: Value = held[0]
        return result

    def gather(self, value: Value) -> list[Value]:
        """Return what every process gave, in their order; plain values."""
        held: list[Any] = [None] * self.count
        with self._talking():
            torch.distributed.all_gather_object(held, value)
        return held

    def any(self, flag: bool) -> bool:
        """Tell whether any process says so."""
        said = torch.tensor(int(flag), dtype=torch.int32)
        return bool(self.sum_(said))

    def by_main(self, make: Callable[[], Value]) -> Value:
        """Let the main process make a plain value, and return it in all."""
        value = self.broadcast(make() if self.is_main else None)
        self.same_generators(self.device)
        result: Any = value
        return result

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the others begin a block when the main process has ended it."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    @contextmanager
    def step(self, items: int) -> Iterator[None]:
        """Enter a training step on a batch of that many items of all processes together."""
        part = part_of(items, self.index, self.count)
        rows = Rows(len(part), part.start, items)
        with WholeBatch(self, rows) as self._batch:
            yield
        self._batch = None

    def rows(self, count: int) -> int:
        """Say that this process passes that many rows, and return those of the whole batch."""
        batch = self._of_step()
        counts = self._counts(0 if batch.empty else count)
        start = sum(counts[: self.index])
        batch.rows[count] = Rows(counts[self.index], start, sum(counts))
        return sum(counts)

    def own_rows(self, count: int) -> slice:
        """Return which of the rows of the whole batch this process passes."""
        known = self._of_step().rows[count]
        start = min(known.start, known.total - count)  # a stand-in passes rows of others
        return slice(start, start + count)

    def own(self, places: Tensor, count: int) -> Tensor:
        """Return those of some places in the whole batch that this process holds, from 0."""
        known = self._of_step().rows[count]
        held = (places >= known.start) & (places < known.start + known.own)
        return places[held] - known.start

    def whole_rows(self, own: Tensor) -> Tensor:
        """Return the rows of the whole batch, of which those given are the own; no gradient."""
        rows = own.detach()[: 0 if self._of_step().empty else len(own)]
        shapes = self.gather(tuple(rows.shape))
        padded = rows.new_zeros([max(sizes) for sizes in zip(*shapes, strict=True)])
        padded[tuple(slice(size) for size in rows.shape)] = rows
        found = self.all(padded)
        return torch.cat([each[: shape[0]] for each, shape in zip(found, shapes, strict=True)])

    def ratio(self, own: Tensor | float, weight: Tensor | float) -> Tensor | float:
        """Return by what a mean over ``own`` must be weighed within one over ``weight``."""
        held = torch.stack([torch.as_tensor(each, device=self.device) for each in (own, weight)])
        held = torch.zeros_like(held) if self._of_step().empty else held.double()
        shares = held / self.sum_(held.clone())
        return 1.0 if self._of_step().empty else (shares[0] / shares[1]).float()

    def divided(
        self, loss: Tensor, penalty: Tensor | float, weight: Weight | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what this process descends, and the loss of the whole batch without penalty."""
        sums = self._weighted([loss], weight)
        own = sums[-1].clone()
        self.sum_(sums)
        share = (own / sums[-1]).to(loss)
        return loss * share + penalty / self.count, (sums[0] / sums[-1]).to(loss)

    def mean(self, logged: dict[str, Any]) -> dict[str, Any]:
        """Return the means of values that each process logged of its items."""
        sums = self.sum_(self._weighted(list(logged.values()), None))
        means = (sums[:-1] / sums[-1]).float()
        tensors = any(isinstance(value, Tensor) for value in logged.values())
        return dict(zip(logged, means.unbind() if tensors else means.tolist(), strict=True))

    def sum_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        for bucket in _buckets(gradients):
            joined = self.sum_(torch.cat([each.reshape(-1) for each in bucket]))
            parts = joined.split([each.numel() for each in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))

    def same_generators(self, device: torch.device) -> None:
        """Set torch's generators to the state that they have in the main process."""
        state = torch.get_rng_state()
        self._from_main(state)
        torch.set_rng_state(state)
        if device.type == "cuda":
            state = torch.cuda.get_rng_state(device)
            self._from_main(state)
            torch.cuda.set_rng_state(state, device)

    def require_equal(self, model: nn.Module, when: str) -> None:
        """Refuse to go on where a process holds other weights than the main one."""
        found = self._counts(_checksum(model))
        other = next((index for index, each in enumerate(found) if each != found[0]), None)
        if other is not None:
            raise ProcessError(
                f"{when}: expected the same weights in all {self.count} processes, got others in "
                f"rank {other} than in rank 0; use machines of one kind with the same versions"
            )

    def require_same(self, facts: dict[str, Any], what: str) -> None:
        """Refuse to begin where processes were started differently."""
        for index, theirs in enumerate(self.gather(facts)):
            mine = self.broadcast(facts)
            keys = sorted({*mine, *theirs})
            wrong = [key for key in keys if mine.get(key) != theirs.get(key)]
            if wrong:
                raise ConfigError(
                    f"expected the same {what} in all {self.count} processes, got another in "
                    f"rank {index} than in rank 0 (differs in {', '.join(wrong)}); start all with "
                    f"one command"
                )

    def sum_(self, values: Tensor) -> Tensor:
        """Replace values by their sum over the processes, and return them."""
        with self._talking():
            torch.distributed.all_reduce(values)
        return values

    def all(self, values: Tensor) -> list[Tensor]:
        """Return the values of every process, all of one shape, in their order."""
        found = [torch.empty_like(values) for _ in range(self.count)]
        with self._talking():
            torch.distributed.all_gather(found, values.contiguous())
        return found

    def tell(self, error: BaseException) -> None:
        """Settle which process says how the run failed, and silence this one if it is another."""
        code = error.exit_code if isinstance(error, AudiopruneError) else 1
        text = str(error).strip() or type(error).__name__
        with suppress(RuntimeError):  # the store may have died with the process that held it
            if not isinstance(error, ProcessError):
                self.store.set("failure", json.dumps({"text": text, "code": code}))
            if self._others_tell():
                launch.mute(settled=True)
                return
        launch.unmute()
        if self.index and isinstance(error, AudiopruneError):
            error.args = (f"{text} (rank {self.index})",)

    def _others_tell(self) -> bool:
        """Tell whether another process says it; where all fail alike, the main one does."""
        if not self.is_main:
            self._said("told", _YIELD_S)
        return int(self.store.add("told", 1)) != 1

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Say in one line that another process is gone, where a call to all fails."""
        try:
            yield
        except RuntimeError as error:  # gloo and NCCL raise it when a connection ends
            raise self._lost() from error

    def _lost(self) -> AudiopruneError:
        with suppress(RuntimeError):  # the store may have died with the process that held it
            if self._said("failure", _HEAR_S):
                known = json.loads(self.store.get("failure"))
                if known["code"] == InterruptedRun.exit_code:
                    return InterruptedRun(known["text"])
                lost = ProcessError(f"another process failed: {known['text']}")
                lost.exit_code = known["code"]
                return lost
        return ProcessError(
            f"expected {self.count} processes, got no answer from another one: it ended without "
            f"a word, killed or out of memory; the same command resumes the run"
        )

    def _said(self, name: str, wait_s: float) -> bool:
        """Tell whether another process says something within a time."""
        end = time.monotonic() + wait_s
        while not self.store.check([name]):
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_S)
        return True

    def _of_step(self) -> WholeBatch:
        if self._batch is None:
            raise ProcessError("expected a training step, got none; call this within one")
        return self._batch

    def _counts(self, own: int) -> list[int]:
        """Return a number of every process."""
        return [int(each) for each in self.all(torch.tensor(own))]

    def _weighted(self, values: list[Any], weight: Weight | None) -> Tensor:
        """Return the values (V + 1,) in double precision times their weight, and the weight."""
        batch = self._of_step()
        weighs = weight() if weight else batch.items.own
        own = torch.as_tensor(0 if batch.empty else weighs, device=self.device).double()
        scalars = [torch.as_tensor(each, device=self.device).detach().double() for each in values]
        return torch.stack([*(each * own for each in scalars), own])

    def _from_main(self, state: Tensor) -> None:
        with self._talking():
            torch.distributed.broadcast(state, src=0)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that a launcher started, for a block; without a launcher do nothing.

    A failure in the block is told by one process, whichever fails first.

    Args:
        device: Where this process computes.

    Raises:
        ConfigError: The processes do not find one another, or the device is for one alone.
        ProcessError: Another process ended.
    """
    where = launch.place()
    if where.count == 1:
        yield Processes()
        return
    group = _open(where, device)
    Current.processes = group
    try:
        yield group
        group.barrier()
    except BaseException as error:
        group.tell(error)
        raise
    else:
        torch.distributed.destroy_process_group()
    finally:
        Current.processes = Processes()


def _open(where: Place, device: torch.device) -> Group:
    """Find the other processes."""
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"runtime.device={device.type}: expected one process, got {where.count}; use cpu or "
            f"cuda, or one process"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        found = torch.distributed.rendezvous("env://", where.index, where.count, timeout=_JOIN)
        store = torch.distributed.PrefixStore("audioprune", next(iter(found))[0])
        store.set(f"here/{where.index}", "")
        store.wait([f"here/{index}" for index in range(where.count)], _JOIN)
        with _quiet():
            torch.distributed.init_process_group(
                "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl",
                store=torch.distributed.PrefixStore("group", store),
                rank=where.index,
                world_size=where.count,
                timeout=_WORK,
            )
    except (RuntimeError, ValueError, OSError) as error:
        raise _unfound(where, address, error) from error
    return Group(where, store, device)


def _unfound(where: Place, address: str, error: Exception) -> ConfigError:
    if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
        return ConfigError(
            f"MASTER_PORT: expected a free port, got {address}, which is in use; give another, "
            f"such as torchrun --master_port 29501"
        )
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return ConfigError(
        f"expected {where.count} processes to meet at {address} within {_JOIN.seconds} s, got "
        f"fewer ({reason}); start them all at once, as torchrun does"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what gloo prints about its connections."""
    saved = os.dup(1), os.dup(2)
    with open(os.devnull, "w") as nowhere:
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
    try:
        yield
    finally:
        for number, each in zip((1, 2), saved, strict=True):
            os.dup2(each, number)
            os.close(each)


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield runs of gradients of one type, each of about ``_BUCKET`` values at most."""
    bucket: list[Tensor] = []
    held = 0
    for each in gradients:
        if bucket and (held + each.numel() > _BUCKET or each.dtype != bucket[0].dtype):
            yield bucket
            bucket, held = [], 0
        bucket.append(each)
        held += each.numel()
    if bucket:
        yield bucket


_ODD = 0x9E3779B1
_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _checksum(model: nn.Module) -> int:
    """Return a number that differs, but for chance, where any bit of a model differs."""
    total = 0
    for tensor in model.state_dict().values():
        words = tensor.detach().contiguous().reshape(-1)
        if words.is_floating_point():
            words = words.view(_WORDS[words.element_size()])
        places = torch.arange(1, len(words) + 1, device=words.device) % 65_537
        total = (total * _ODD + int((words.long() * places).sum())) % 2**63
    return total
