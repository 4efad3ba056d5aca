"""How long it takes to score a test set, by model and metrics, in processor and wall time.

The test set is made: bursts of harmonic tones in white noise. Scores that are kept on disk are not
used. To compare two versions of the package, give the folder of the other one; both then take
turns in processes of their own, because other jobs may share the machine.

    python scripts/benchmarks/scoring.py [--items 200] [--metrics stoi] [--against FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

RATE = 16000
MODELS = {
    "fdnn": ({"width": 512}, {"target": "irm", "feature": "cube_root"}),
    "lstm": (
        {"width": 128, "depth": 2},
        {"target": "magnitude", "feature": "cube_root", "output": "mask", "dry": 0.2},
    ),
}
METRICS = {"stoi": ["stoi"], "stoi+pesq": ["stoi", "pesq_nb"]}


class Made:
    """Noisy tones; item i is a function of its number."""

    def __init__(self, count: int, seconds: float) -> None:
        import torch

        self.items = []
        for index in range(count):
            draw = np.random.default_rng(index)
            t = np.arange(int(seconds * RATE)) / RATE
            pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2 * t + index)) / RATE
            voice = sum(np.sin(k * pitch) / k for k in range(1, 20))
            clean = 0.1 * voice * np.clip(np.sin(2 * np.pi * 3 * t) + 0.4, 0, 1)
            noisy = clean + 0.05 * draw.standard_normal(len(t))
            self.items.append(
                {
                    "id": str(index),
                    "clean": torch.from_numpy(clean.astype(np.float32)),
                    "noisy": torch.from_numpy(noisy.astype(np.float32)),
                    "noise": "white",
                    "snr_db": 0.0,
                }
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, object]:
        return self.items[index]


def measured(name: str, metrics: list[str], args: argparse.Namespace) -> dict[str, object]:
    """Score the mixtures and a model's outputs once, and return times and mean scores."""
    import torch

    from audioprune.metrics.scorer import Scorer
    from audioprune.models.fdnn import FDNN
    from audioprune.models.lstm import LSTM
    from audioprune.tasks.enhancement import Enhancement

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes, options = MODELS[name]
    model = {"fdnn": FDNN, "lstm": LSTM}[name](**sizes).eval()
    task, data = Enhancement(**options), Made(args.items, args.seconds)
    # What is compiled or imported at the first call is no part of scoring a test set.
    with Scorer(metrics, RATE, 0) as scorer:
        task.score(model, Made(2, 1.0), scorer, condition="warm", variant=name)
    with tempfile.TemporaryDirectory() as cache:
        spent, started = _cpu_s(), time.perf_counter()
        with Scorer(metrics, RATE, args.workers, cache) as scorer:
            rows = task.score(model, data, scorer, condition="test", variant=name)
        # Processes that ended are counted once they are waited for, which closing does.
        wall, cpu = time.perf_counter() - started, _cpu_s() - spent
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "scores": {key: row["metrics"] for key, row in rows.items()},
    }


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def asked(folder: Path, name: str, metrics: str, args: argparse.Namespace) -> dict[str, object]:
    """Measure one cell of the table with the package of a folder, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--cell", name, metrics]
    command += ["--items", str(args.items), "--seconds", str(args.seconds)]
    command += ["--workers", str(args.workers)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, check=True
    )
    found: dict[str, object] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure every model with every list of metrics and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each item")
    parser.add_argument("--workers", type=int, default=2, help="scoring processes")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--against", type=Path, help="root folder of another version")
    parser.add_argument("--metrics", nargs="*", choices=METRICS, default=list(METRICS))
    parser.add_argument("--cell", nargs=2, help="a model and a list of metrics, as JSON")
    args = parser.parse_args()
    if args.cell:
        print(json.dumps(measured(args.cell[0], METRICS[args.cell[1]], args)))
        return
    here = Path(__file__).resolve().parents[2]
    folders = [here, args.against.resolve()] if args.against else [here]
    for name in MODELS:
        for metrics in args.metrics:
            found: list[list[dict[str, object]]] = [[] for _ in folders]
            for _ in range(args.repeats):
                for folder, answers in zip(folders, found, strict=True):
                    answers.append(asked(folder, name, metrics, args))
            line = f"{name:5s} {metrics:10s}"
            for key in ("cpu_s", "wall_s"):
                times = [median(answer[key] for answer in answers) for answers in found]
                line += "  " + key + " " + " against ".join(f"{each:7.2f}" for each in times)
                line += f" ({times[1] / times[0]:.2f} x)" if args.against else ""
            if args.against:
                line += f"  largest difference of a mean {_apart(found[0][0], found[1][0]):.1e}"
            print(line, flush=True)


def _apart(one: dict[str, object], other: dict[str, object]) -> float:
    """Return the largest difference between the mean scores of two answers."""
    return max(
        abs(value - other["scores"][row][metric])
        for row, metrics in one["scores"].items()
        for metric, value in metrics.items()
    )


if __name__ == "__main__":
    main()
