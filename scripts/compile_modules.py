"""Compile once, on all cores, what every process would compile for itself: modules and kernels.

    python scripts/compile_modules.py torch|others|project

``scripts/install.sh`` runs it: ``torch`` as soon as that is unpacked, then ``others`` and
``project`` side by side. Modules that are really used are imported, so that bytecode lies beside
them, the tests are compiled, and every compiled kernel is called once, so that numba's cache is
full. What cannot be imported is left to the process that needs it.
"""

from __future__ import annotations

import compileall
import contextlib
import dataclasses
import importlib
import multiprocessing
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TORCH = ("torch", "torch._dynamo", "torch.utils.flop_counter")
# Of the other packages only what imports no torch, which is not yet whole when these are compiled.
OTHERS = (
    *("scipy.signal", "scipy.stats", "numba", "librosa.filters", "vl_convert"),
    *("pesq", "pystoi", "constriction", "soundfile", "soxr"),
    *("pytest", "hypothesis", "xdist.workermanage", "hydra.main", "rich.live", "av", "yaml"),
    *("optuna", "joblib", "psutil"),
)
PROJECT = (*OTHERS, *TORCH, "torchaudio", "accelerate")


def import_all(names: Iterable[str]) -> None:
    """Import modules, but for those of an extra that is not installed or of another platform."""
    for name in names:
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(name)


def import_project() -> None:
    """Import the modules of the package, and compile those of the tests."""
    import audioprune

    found = pkgutil.walk_packages(audioprune.__path__, "audioprune.")
    names = [*PROJECT, *(module.name for module in found)]
    import_all(
        name for name in names if not name.endswith("__main__") and ".optim.kernels" not in name
    )
    for folder in ("tests", "scripts"):
        compileall.compile_dir(ROOT / folder, quiet=2)


def compile_group_steps(dtype_name: str) -> None:
    """Call the kernels of the group optimisers for one dtype."""
    import torch

    from audioprune.optim import group_steps
    from audioprune.optim.directions import GIVEN, Move
    from audioprune.optim.groups import Layout

    x = torch.ones(4, 3, dtype=getattr(torch, dtype_name))
    base = dataclasses.replace(GIVEN, copies=[(x.clone(), x.clone())])
    move = Move(Layout("rows", None, [x]).plan([x]), [x], [x.clone()], 0.1, True, base)
    group_steps.plain_step(move)
    group_steps.split_step(move, 0.1)
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


def compile_project() -> None:
    """Import torch and numba here, then compile in one process per part, the longest first."""
    import_all(("torch", "numba", "scipy.signal"))
    parts: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (compile_kmeans_and_wavenet, ()),
        (import_project, ()),
        (compile_group_steps, ("float32",)),
        (compile_group_steps, ("float64",)),
        (compile_intelligibility, ()),
    ]
    forked = multiprocessing.get_context("fork")
    children = [forked.Process(target=part, args=arguments) for part, arguments in parts]
    for child in children:
        child.start()
    for child in children:
        child.join()


def main() -> None:
    """Compile the part that is named."""
    part = sys.argv[1]
    if part == "project":
        compile_project()
    else:
        import_all({"torch": TORCH, "others": OTHERS}[part])


if __name__ == "__main__":
    main()
