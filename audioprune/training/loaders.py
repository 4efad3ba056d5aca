"""In which order, in which batches and from which processes a training sees its items: ``Loader``.

The order (``epoch_plan``) is a function of seed and epoch alone, an item one of its index and
epoch, so that a resumed training goes on within an epoch, and batches are the same bit for bit
whatever the number of loader processes. Several processes of a training share every batch: each
takes its part of it, in the order of the batch. What a batch means is the task's business.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from audioprune.errors import AudiopruneError, ConfigError
from audioprune.protocols import Batch, Collate, Collates, EpochItems, Items, Preloads

TRAIN, VALID = "train", "valid"
LATE_SHARE = 0.1
"""Share of the time spent waiting above which processes are started on the CPU."""
TRIAL_S = 2.0
"""Seconds after which that share is known."""
_MOST_AUTO, _MOST_AUTO_CPU = 8, 4
_MOST = 256
_DEAD_PID = re.compile(r"pid\D*(\d+)")
_DEAD_SIGNAL = re.compile(r"killed by signal: ([\w ]+\w)")
_LOCAL_PROCESSES = "LOCAL_WORLD_SIZE"
"""Variable with the number of processes of this training on this machine."""
_AHEAD = 4
"""Batches that each process makes ahead."""
_FORKS = sys.platform.startswith("linux")
"""A forked process starts in milliseconds and shares what is in memory; others import torch."""

Wanted = tuple[str, int | None, Sequence[int]]
"""One batch: the part (such as ``train``), the epoch or None, and the places of its items."""


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the training items in an epoch: a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()


def batch_sizes(items: int, batch_size: int, least: int = 1) -> list[int]:
    """Return the number of items of every batch of an epoch, whatever the number of processes.

    Args:
        items: Items of the set.
        batch_size: Items per batch.
        least: A last batch of fewer items is joined to the one before.
    """
    sizes = [min(batch_size, items - start) for start in range(0, items, batch_size)]
    if len(sizes) > 1 and sizes[-1] < least:
        last = sizes.pop()
        sizes[-1] += last
    return sizes


def part_of(count: int, index: int, processes: int) -> range:
    """Return the places of a batch that one of several processes takes.

    Parts follow one another, and no two differ by more than one place; the last parts of a batch
    with fewer items than processes are empty.

    Args:
        count: Items of the whole batch.
        index: Of the process, from 0.
        processes: Number of processes.
    """
    least, more = divmod(count, processes)
    start = index * least + min(index, more)
    return range(start, start + least + (index < more))


def in_order(places: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
    """Return the places of the items of each batch, in the given order."""
    ends = list(accumulate(sizes))
    return [places[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def epoch_plan(
    sizes: Sequence[int],
    seed: int,
    epoch: int,
    *,
    done: int = 0,
    process: tuple[int, int] = (0, 1),
) -> list[Sequence[int]]:
    """Return the items of the batches of an epoch that are left.

    Of several processes each is given its part of every batch; where that is empty, the first
    item of the batch takes its place, which the training gives no weight.

    Args:
        sizes: Items of each batch of all processes together, see ``batch_sizes``.
        seed: Of the training.
        epoch: Counted from 0.
        done: Batches that are trained already.
        process: Index of this process, and number of all.
    """
    mine = []
    for batch in in_order(epoch_order(sum(sizes), seed, epoch), sizes)[done:]:
        part = part_of(len(batch), *process)
        mine.append(batch[part.start : part.stop] or batch[:1])
    return mine


def chosen_workers(
    wanted: str | int, device: str, processes: int = 1, threads: int = 1, cores: int | None = None
) -> tuple[int, int]:
    """Return how many loader processes begin, and how many there may be once loading is late.

    ``auto`` beside another device is one for each core but one, up to 8. On the CPU, where they
    would take cores from the training, none begin; those that are spare, up to 4, are started once
    the training waits.

    Args:
        wanted: ``auto`` or a number, which wins.
        device: Kind of device, such as ``cuda``.
        processes: Processes of the training on this machine, which share its cores.
        threads: Threads of each on the CPU.
        cores: Cores of this machine; None asks it.

    Raises:
        ConfigError: It is neither, or out of range.
    """
    if str(wanted) != "auto":
        if not (str(wanted).isdecimal() and int(wanted) <= _MOST):
            raise ConfigError(
                f"runtime.workers: expected auto or a whole number from 0 to {_MOST}, got "
                f"{wanted}; correct it"
            )
        return int(wanted), int(wanted)
    own = (cores or len(os.sched_getaffinity(0))) // processes
    if device != "cpu":
        most = max(1, min(_MOST_AUTO, own - 1))
        return most, most
    return 0, max(0, min(_MOST_AUTO_CPU, own - threads - 1))


@dataclass
class _Clock:
    """How long batches of one part were waited for, of the time since the first was asked for."""

    begun: float
    waited: float = 0.0
    elapsed: float = 0.0

    def share(self) -> float:
        """Return the share of the time, 0..1."""
        return self.waited / self.elapsed if self.elapsed > 0 else 0.0


class Loader:
    """Batches of the parts of a corpus, made here or by processes that live as long as the loader.

    Args:
        parts: Items by the name of their part, such as ``train``.
        collate: Joins items to a batch.
        workers: Loader processes, or ``auto``; see ``chosen_workers``.
        device: Where batches will be moved; for CUDA they are pinned, so that copies overlap.

    Raises:
        ConfigError: ``workers`` is neither ``auto`` nor a number from 0 to 256.
    """

    def __init__(
        self,
        parts: Mapping[str, Items],
        collate: Collate,
        *,
        workers: str | int = 0,
        device: torch.device | None = None,
    ) -> None:
        kind = device.type if device else "cpu"
        processes, threads = int(os.environ.get(_LOCAL_PROCESSES) or 1), torch.get_num_threads()
        self.workers, self.most = chosen_workers(workers, kind, processes, threads)
        self.pinned = kind == "cuda"
        self._here = _Batches(parts, collate)
        self._plan = _Plan()
        self._clocks: dict[str, _Clock] = {}
        self._loader: DataLoader[Any] | None = None

    def batches(
        self, part: str, plan: Sequence[Sequence[int]], epoch: int | None = None
    ) -> Iterator[Batch]:
        """Yield the planned batches, on the CPU; a new call ends the one before.

        Args:
            part: Name of the part.
            plan: Places of the items of each batch.
            epoch: Epoch of the items, from 0; None where they know none.
        """
        clock = self._clocks[part] = _Clock(time.monotonic())
        source = self._made([(part, epoch, places) for places in plan], clock)
        while True:
            asked = time.monotonic()
            batch = next(source, None)
            now = time.monotonic()
            clock.waited += now - asked
            clock.elapsed = now - clock.begun
            if batch is None:
                return
            yield batch

    def waiting(self, part: str = TRAIN) -> float:
        """Return the share of the time of the last batches that was spent waiting, 0..1."""
        clock = self._clocks.get(part)
        return clock.share() if clock else 0.0

    def _made(self, wanted: Sequence[Wanted], clock: _Clock) -> Iterator[Batch]:
        """Make batches here, until processes take over."""
        for place, each in enumerate(wanted):
            if clock.elapsed > TRIAL_S and clock.share() > LATE_SHARE:
                self.workers = self.most
            if self.workers:
                yield from self._from_processes(wanted[place:])
                return
            batch = self._here[each]
            yield _pinned(batch) if self.pinned else batch

    def _from_processes(self, wanted: Sequence[Wanted]) -> Iterator[Batch]:
        self._plan.wanted = wanted
        if self._loader is None:
            self._here.preload()
            self._loader = self._open()
        try:
            for batch in self._loader:
                if isinstance(batch, AudiopruneError):
                    raise batch
                yield batch
        except AudiopruneError:
            # The processes end here, in order. With the frames that the error holds they would be
            # collected in any order: queues before who writes to them, and torch would wait five
            # seconds for processes that are never told to end.
            self._loader = None
            raise

    def _open(self) -> DataLoader[Any]:
        warnings.filterwarnings("ignore", ".*worker processes in total")  # the number is wanted
        return DataLoader(
            _Remote(self._here),
            batch_size=None,
            sampler=self._plan,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            persistent_workers=True,
            prefetch_factor=_AHEAD,
            pin_memory=self.pinned,
            worker_init_fn=_begin,
            generator=torch.Generator().manual_seed(0),  # spares the global one
            multiprocessing_context="fork" if _FORKS else None,
        )


class TrainingLoader(Loader):
    """The training and validation batches of one training.

    Args:
        corpus: Joins items to batches.
        training: Training items.
        validation: Validation items.
        sizes: Items of each training batch of all processes together.
        batch_size: Items per validation batch.
        seed: Of the training.
        workers: Loader processes, or ``auto``.
        device: Where the training computes.
    """

    def __init__(
        self,
        corpus: Collates,
        training: Items,
        validation: Items,
        sizes: Sequence[int],
        batch_size: int,
        seed: int,
        workers: str | int,
        device: torch.device,
    ) -> None:
        parts = {TRAIN: training, VALID: validation}
        super().__init__(parts, corpus.collate, workers=workers, device=device)
        self.sizes, self.seed = sizes, seed
        self.valid_sizes = batch_sizes(len(validation), batch_size)

    def train(
        self, epoch: int, done: int = 0, process: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch that are left; see ``epoch_plan``."""
        plan = epoch_plan(self.sizes, self.seed, epoch, done=done, process=process)
        return self.batches(TRAIN, plan, epoch)

    def valid(self) -> Iterator[Batch]:
        """Return the validation batches in the order of the items.

        A number is drawn from torch's global generator at once, as ``DataLoader`` does.
        """
        torch.empty((), dtype=torch.int64).random_()
        return self.batches(VALID, in_order(range(sum(self.valid_sizes)), self.valid_sizes))


class _Batches(Dataset[Batch]):
    """Batches by what is wanted; the epoch goes with it, for processes outlive epochs."""

    def __init__(self, parts: Mapping[str, Items], collate: Collate) -> None:
        self.parts, self.collate = dict(parts), collate
        self._epochs = {name for name, each in parts.items() if isinstance(each, EpochItems)}

    def __getitem__(self, wanted: Wanted) -> Batch:
        part, epoch, places = wanted
        items = self.parts[part]
        if epoch is not None and part in self._epochs:
            cast("EpochItems", items).set_epoch(epoch)
        return self.collate([items[place] for place in places])

    def preload(self) -> None:
        """Decode ahead what fits into memory, which processes then share."""
        for items in self.parts.values():
            if isinstance(items, Preloads):
                items.preload()


class _Remote(Dataset[Any]):
    """Batches of another process; an error that a user can cure comes back as it is."""

    def __init__(self, batches: _Batches) -> None:
        self.batches = batches

    def __getitem__(self, wanted: Wanted) -> Batch | AudiopruneError:
        try:
            return self.batches[wanted]
        except AudiopruneError as error:
            return error


class _Plan(Sampler[Wanted]):
    """The batches that processes make next."""

    def __init__(self) -> None:
        self.wanted: Sequence[Wanted] = ()

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.wanted)

    def __len__(self) -> int:
        return len(self.wanted)


def _begin(worker: int) -> None:
    """Leave Ctrl-C to the training, which ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


def _pinned(batch: Batch) -> Batch:
    return {
        key: value.pin_memory() if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }


@contextmanager
def dead_workers_named() -> Iterator[None]:
    """Say in one line that a loader process was killed, which torch raises anywhere.

    Raises:
        AudiopruneError: One was.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        said = f"{error} {error.__cause__}"  # the cause knows the signal
        names = (_DEAD_PID.search(said), _DEAD_SIGNAL.search(said))
        which, why = (match[1] if match else "unknown" for match in names)
        raise AudiopruneError(
            f"a process that loads data ended early (pid {which}, signal {why}); run the same "
            f"command to resume, with runtime.workers=0 if memory was short"
        ) from error


ON_HOST = ("lengths",)
"""Entries of a batch that are read as numbers, which on another device would wait for it."""


def moved(batch: Mapping[str, Any], device: torch.device) -> Batch:
    """Return a batch whose tensors are on a device; ``lengths`` stay on the CPU."""
    return {
        key: value.to(device, non_blocking=True)
        if isinstance(value, Tensor) and key not in ON_HOST
        else value
        for key, value in batch.items()
    }
