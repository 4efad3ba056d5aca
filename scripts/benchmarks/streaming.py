"""How fast a frame is in C, in ONNX Runtime and in torch: one JSON document for each network.

    python scripts/benchmarks/streaming.py [--rounds 9] [--frames 50] [--sizes small|paper]
        [--only NAME ...]

Each round runs every runtime for some frames on one thread, one after the other, so that what else
the machine does falls on all of them alike; the medians over the rounds are told. Seconds are
those of this process on the CPU, not of the clock. A real-time factor is seconds for one second
of audio.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audioprune.export.c.compiled import FLAGS, Compiled, compilers
from audioprune.export.c.files import c_files
from audioprune.export.runtimes.onnx_file import Session, streaming_graph
from audioprune.export.streaming import StreamingModel, streaming
from audioprune.models.fdnn import FDNN
from audioprune.models.gtcrn import GTCRN
from audioprune.models.lstm import LSTM


class GRU(nn.Module):
    """Two GRU layers between magnitudes and a mask, (B, N, 161)."""

    time_dim, frames_per_second = 1, 100.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.GRU(161, width, 2, batch_first=True)
        self.last = nn.Linear(width, 161)

    def forward(self, values: Tensor) -> Tensor:
        """Return masks of the shape of the input."""
        return torch.sigmoid(self.last(self.inner(values)[0]))

    def example_input(self, frames: int = 50) -> Tensor:
        """Return fixed random magnitudes."""
        return torch.rand(1, frames, 161, generator=torch.Generator().manual_seed(0))


NETWORKS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "small": {
        "FDNN 161-256-256-161": lambda: FDNN(width=256, depth=2),
        "LSTM 2x256": lambda: LSTM(width=256, depth=2),
        "GRU 2x256": lambda: GRU(256),
        "GTCRN": GTCRN,
    },
    "paper": {
        "FDNN 3x2048": FDNN,
        "LSTM 4x1024": LSTM,
        "GRU 2x1024": lambda: GRU(1024),
        "GTCRN": GTCRN,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--sizes", choices=tuple(NETWORKS), default="small")
    known = sorted({name for each in NETWORKS.values() for name in each})
    parser.add_argument("--only", nargs="*", choices=known, default=known)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({"machine": machine(), "flags": " ".join(FLAGS)}), flush=True)
    for name, build in NETWORKS[given.sizes].items():
        if name not in given.only:
            continue
        torch.manual_seed(0)
        print(json.dumps(measured(name, build().eval(), given.rounds, given.frames)), flush=True)


def measured(name: str, model: nn.Module, rounds: int, frames: int) -> dict[str, Any]:
    """Return medians of all runtimes for one network."""
    stream = streaming(model)
    files, shapes, need = c_files(stream, "net", {})
    states = stream.initial_state(1)
    frame = stream.example_frames()
    session = Session(streaming_graph(stream, {}).SerializeToString())
    given = [value.numpy() for value in (*frame, *states)]
    runs: dict[str, Callable[[], object]] = {
        compiler: _step(Compiled(files, "net", shapes, compiler), frame)
        for compiler in compilers()
    }
    runs["onnxruntime"] = lambda: session.run(given)
    runs["torch"] = lambda: _torch(stream, (*frame, *states))
    taken: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds + 1):
        for key, run in runs.items():
            begin = time.process_time()
            for _ in range(frames):
                run()
            taken[key].append((time.process_time() - begin) / frames)
    medians = {key: statistics.median(values[1:]) for key, values in taken.items()}
    per_second: Any = model.frames_per_second
    return {
        "network": name,
        "macs": need.macs,
        "rom_bytes": need.rom_bytes,
        "ram_bytes": need.ram_bytes,
        "real_time_factor": {key: round(value * per_second, 5) for key, value in medians.items()},
        "times_torch": {key: round(medians["torch"] / value, 2) for key, value in medians.items()},
    }


def _step(compiled: Compiled, frame: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: compiled.step(*frame)


@torch.no_grad()
def _torch(stream: StreamingModel, values: tuple[Tensor, ...]) -> object:
    return stream(*values)


def machine() -> str:
    """Return what this machine is."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    said = [
        subprocess.run(
            [name, "--version"], capture_output=True, text=True, check=False
        ).stdout.splitlines()[0]
        for name in compilers()
    ]
    cpu = names[0] if names else platform.processor()
    return f"{cpu}, {len(names)} cores; {'; '.join(said)}; torch {torch.__version__}"


if __name__ == "__main__":
    main()
