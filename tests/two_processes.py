"""Run a function in two processes that know one another, forked so that nothing is imported."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from audioprune.training.group import joined
from audioprune.training.processes import Processes

_WAIT_S = 120


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_two(work: Callable[[Processes], Any], count: int = 2) -> list[Any]:
    """Return what a function returns in each of two processes.

    An exception that it raises is returned in place of a value, None of one that was killed.
    """
    port = free_port()
    context = multiprocessing.get_context("fork")
    ends = [context.Pipe(duplex=False) for _ in range(count)]
    children = [
        context.Process(target=_child, args=(work, index, count, port, ends[index][1]))
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
    work: Callable[[Processes], Any], index: int, count: int, port: int, end: Connection
) -> None:
    torch.set_num_threads(1)  # threads of the parent do not live here
    variables = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in variables.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    try:
        with joined(torch.device("cpu")) as group:
            result = work(group)
    except Exception as error:
        result = error
    end.send_bytes(pickle.dumps(result))  # tensors by value: this process ends
    end.close()
    os._exit(0)  # nothing of the parent is to be ended here
