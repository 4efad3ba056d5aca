"""Compile once, on all cores, what every process would compile for itself: modules and kernels.

    python scripts/compile_modules.py

``make install`` runs it. It imports every module of the package, so that bytecode lies beside the
sources that are really used, calls every compiled kernel once, so that numba's cache is full, and
lets pytest rewrite the assertions of the tests, which every process of ``make test`` would do.
What cannot be imported is left to the process that needs it.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Packages that only the tests and the command line import, or that are imported late.
LATE = (
    *("pytest", "hypothesis", "xdist.workermanage", "librosa", "vl_convert", "pesq"),
    *("pystoi", "scipy.signal", "scipy.stats", "torch.utils.flop_counter", "accelerate"),
    *("hydra.main", "av", "constriction", "yaml"),
)
# Large ones, each imported by a process of its own beside the others: that of every optimiser, and
# those with kernels that are compiled as they are imported.
LARGE = ("torch._dynamo", "librosa.feature")


def import_all(names: Iterable[str]) -> None:
    """Import modules, but for those of an extra that is not installed or of another platform."""
    for name in names:
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(name)


def import_everything() -> None:
    """Import the modules of the package and those of ``LATE``."""
    import audioprune

    found = pkgutil.walk_packages(audioprune.__path__, "audioprune.")
    names = [*LATE, *(module.name for module in found)]
    import_all(name for name in names if not name.endswith(("__main__", "optim.kernels")))


def compile_group_steps(dtype_name: str) -> None:
    """Call the kernels of the group optimisers for one dtype."""
    import torch

    from audioprune.optim import group_steps
    from audioprune.optim.groups import Layout

    x = torch.ones(4, 3, dtype=getattr(torch, dtype_name))
    move = group_steps.Move(Layout("rows", None, [x]).plan([x]), [x], [x.clone()], 0.1, True)
    for limit in (None, 1):
        group_steps.prox_step(move, 0.1, limit)
        group_steps.half_space_step(move, 0.1, 0.5, 0.0, limit)
    group_steps.prox_l1_step(move, 0.1)
    group_steps.orthant_step(move, 0.1)


def compile_kmeans_and_wavenet() -> None:
    """Cluster and round a few weights, large and small, and draw a few samples."""
    import numpy as np
    import torch

    from audioprune.compress.quantize.kmeans import kmeans_1d
    from audioprune.compress.quantize.uniform import Uniform
    from audioprune.models.wavenet import WaveNet

    values = np.random.default_rng(0).laplace(size=20_000).astype(np.float32)
    for k in (4, 64):
        kmeans_1d(values[:50], k)
        kmeans_1d(values, k)
    Uniform(bits=4).quantize(torch.from_numpy(values[:5_000]))
    WaveNet(residual=8, gate=8, skip=8, end=8, classes=16, layers=2).eval().generate(4, None, 0)


def compile_intelligibility() -> None:
    """Score a second of noise at both usual rates."""
    import numpy as np

    from audioprune.metrics.intelligibility import band_pair, estoi, stoi

    for rate in (8000, 16000):
        clean, noise = np.random.default_rng(0).standard_normal((2, rate))
        pair = band_pair(clean, clean + noise, rate)
        stoi(pair), estoi(pair)


def rewrite_tests(part: int, parts: int) -> None:
    """Collect a part of the test files, for pytest keeps what it has rewritten."""
    import pytest

    files = sorted(Path(__file__).resolve().parent.parent.glob("tests/**/test_*.py"))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(["--collect-only", "-p", "no:xdist", *map(str, files[part::parts])])


def main() -> None:
    """Import here, then compile in one process per part."""
    import_everything()
    parts: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (compile_group_steps, ("float32",)),
        (compile_group_steps, ("float64",)),
        (compile_kmeans_and_wavenet, ()),
        (compile_intelligibility, ()),
        *((import_all, ((name,),)) for name in LARGE),
        *((rewrite_tests, (part, 2)) for part in range(2)),
    ]
    forked = multiprocessing.get_context("fork")
    children = [forked.Process(target=part, args=arguments) for part, arguments in parts]
    for child in children:
        child.start()
    for child in children:
        child.join()


if __name__ == "__main__":
    main()
