"""Shared fixtures and the path of the toys."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

EXAMPLES_SHARE = 0.3
GARBAGE = (20_000, 20, 20)
"""How many objects may be made between two looks for garbage, which take a tenth of the time."""

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Import without looking for garbage; let Hypothesis read no constants from the sources."""
    gc.disable()
    if config.option.markexpr == "not slow":
        providers._get_local_constants = lambda: providers._local_constants


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that provoke faults; draw a part of the examples of Hypothesis by default."""
    from faults.elsewhere import faults_of

    below = Path(__file__).resolve().parent
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(below):
            file = item.path.relative_to(below).as_posix()
            if faults := faults_of(file, item.originalname):
                item.add_marker(pytest.mark.faults(*faults))
    if config.option.markexpr != "not slow":
        return
    functions = {item.obj for item in items if isinstance(item, pytest.Function)}
    for function in functions:
        own = getattr(function, "_hypothesis_internal_use_settings", None)
        if own is not None:
            fewer = max(5, int(EXAMPLES_SHARE * own.max_examples))
            function._hypothesis_internal_use_settings = settings(own, max_examples=fewer)


def pytest_collection_finish() -> None:
    """Let no collection of garbage visit modules and tests, a million objects that all stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write how a test that provokes faults ended, where ``make test-faults`` names a log."""
    report = yield
    ended = report.when == "call" or report.outcome != "passed"
    if ended and "AUDIOPRUNE_FAULT_LOG" in os.environ:
        from faults.record import write

        faults = [name for mark in item.iter_markers("faults") for name in mark.args]
        for fault in dict.fromkeys(faults):
            write({"fault": fault, "test": item.nodeid, "outcome": report.outcome})
    return report


@pytest.fixture(scope="session", autouse=True)
def configurations_loaded_once() -> Iterator[None]:
    """Read each configuration file once: most of what a tiny command costs is to read them."""
    from composing import loaded_once

    with loaded_once():
        yield


@pytest.fixture(autouse=True)
def no_handler_stays() -> Iterator[None]:
    """Take away what a command in this process logs to: the stream ends with its test."""
    yield
    logger = logging.getLogger("audioprune")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings named by AUDIOPRUNE_SHARED_DATA; skip the test without it."""
    folder = os.environ.get("AUDIOPRUNE_SHARED_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set AUDIOPRUNE_SHARED_DATA to a folder of real recordings to run this test")
    return Path(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch use one thread, so that sums have one order; forget stops that tests asked for."""
    import torch

    from audioprune import interrupts

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    interrupts._requested.clear()
