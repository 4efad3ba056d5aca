"""Run a function in two processes that know one another, forked so that nothing is imported."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any

import torch

from audioprune.training.processes import Processes
from audioprune.training.processes.group import joined

_WAIT_S = 120


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_two(work: Callable[[Processes], Any], join: bool = True) -> list[Any]:
    """Return what a function returns in each of two processes, which are joined around it.

    Otherwise the function joins them itself, and is given a process alone.

    An exception that it raises is returned in place of a value, None of one that was killed.
    """
    port, count = free_port(), 2
    context = multiprocessing.get_context("fork")
    ends = [context.Pipe(duplex=False) for _ in range(count)]
    children = [
        context.Process(target=_child, args=(work, join, index, port, ends[index][1]))
        for index in range(count)
    ]
    for child in children:
        child.start()
    for _, end in ends:
        end.close()
    try:
        return [_received(end) for end, _ in ends]
    finally:
        for child in children:
            child.kill()
            child.join()


def _received(end: Connection) -> Any:
    try:
        return pickle.loads(end.recv_bytes()) if end.poll(_WAIT_S) else None
    except EOFError:  # it was killed
        return None


def _child(
    work: Callable[[Processes], Any], join: bool, index: int, port: int, end: Connection
) -> None:
    torch.set_num_threads(1)  # threads of the parent do not live here
    variables = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in variables.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    try:
        with joined(torch.device("cpu")) if join else nullcontext(Processes()) as group:
            result = work(group)
    except Exception as error:
        result = error
    end.send_bytes(pickle.dumps(result))  # tensors by value: this process ends
    end.close()
    os._exit(0)  # nothing of the parent is to be ended here
