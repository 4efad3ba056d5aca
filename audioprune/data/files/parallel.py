"""How many files are worked on at once.

``in_threads`` runs a function on each with a progress display and a way to stop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from audioprune.interrupts import check_stop
from audioprune.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")
_WORKERS = 4


def loader_processes() -> int:
    """Return how many processes load data beside this one, itself counted; 1 elsewhere."""
    from torch.utils.data import get_worker_info  # checks of files need no torch

    info = get_worker_info()
    return 1 if info is None else info.num_workers


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterator[Result]:
    """Yield the result of every item, in the order of the items.

    Decoding, encoding and hashing release the interpreter lock, so that threads share the cores. A
    failure or a request to stop cancels what has not begun.

    Args:
        work: What is done with one item.
        items: The items.
        title: Name of the job in the progress display.
    """
    with ThreadPoolExecutor(min(_WORKERS, len(os.sched_getaffinity(0)))) as pool:
        try:
            for result in track(pool.map(work, items), title, len(items)):
                yield result
                check_stop()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
