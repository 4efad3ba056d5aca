"""What only a GPU can show: same numbers as on the CPU, and how fast paper size is there.

One script, twelve minutes at most, no network and no corpus. Every part has a time limit and its
result is appended to a file of JSON lines as it ends, so that a kill loses nothing.

    python scripts/gpu_check.py                              # one CUDA device; make gpu-check
    python scripts/gpu_check.py --device cpu --tiny          # tiny sizes, so that it cannot rot

Parts: ``parity`` (training step, score, sensitivity, HSPG step and k-means of every network on
both devices), ``packing`` (bf16 weights pack to the same bytes), ``throughput`` (fp32, TF32 and
bf16 at paper size), ``pipelines`` (an FDNN and a ResNet of full width trained, pruned, packed and
scored) and ``processes`` (two processes, where two devices are). docs/scale.md shows the results.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.gpu import parts  # noqa: E402
from scripts.gpu.experiments import NETWORKS, Size  # noqa: E402

OUT = ROOT / "docs" / "scale" / "gpu_check.jsonl"
PART_NAMES = ("parity", "packing", "throughput", "pipelines", "processes")
PIPELINES = ("fdnn", "resnet50")
Result = dict[str, Any]
_SECONDS = 720
_LIMITS = {"parity": 20, "packing": 20, "throughput": 30, "pipelines": 180, "processes": 60}
"""Seconds that one entry of a part may take."""


class OutOfTime(Exception):
    """An entry took longer than its part allows."""


def main(words: list[str] | None = None) -> int:
    """Run all parts; return 1 where one failed, else 0."""
    chosen = _arguments(words)
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("error: expected a CUDA device, this machine has none; give --device cpu --tiny")
        return 2
    size = Size(tiny=chosen.tiny, train_s=chosen.train_s)
    log = Log(Path(chosen.out), time.monotonic() + chosen.seconds)
    log.begin(_machine(device, size))
    parts.warm_up()
    slower = 20 if size.tiny else 1  # a test may run on a machine that does much besides
    for part in chosen.parts.split(","):
        for name, work in _entries(part, chosen.networks.split(","), device, size):
            log.run(part, name, slower * _LIMITS[part], work)
    print(f"{log.passed} passed, {log.failed} failed, {log.skipped} skipped; {log.path}")
    return 1 if log.failed else 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and items")
    parser.add_argument("--out", default=str(OUT), help="file of JSON lines")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="limit of the whole")
    parser.add_argument("--train-s", type=float, default=120.0, help="seconds of each training")
    parser.add_argument("--parts", default=",".join(PART_NAMES), help="parts, joined by commas")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="networks, likewise")
    return parser.parse_args(words)


def _machine(device: torch.device, size: Size) -> Result:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"part": "machine", "device": name, "torch": torch.__version__, "tiny": size.tiny}


def _entries(
    part: str, networks: list[str], device: torch.device, size: Size
) -> Iterator[tuple[str, Callable[[], Result]]]:
    """Yield the entries of a part: a name, and a function that returns what it found."""
    if part == "parity":
        for name in networks:
            yield name, lambda name=name: parts.parity(name, device, size)
    elif part == "packing":
        yield "fdnn", lambda: parts.bf16_packing(device, size)
    elif part == "throughput":
        for name in networks:
            yield name, lambda name=name: parts.throughput(name, device, size)
    elif part == "pipelines":
        for name in (each for each in PIPELINES if each in networks):
            yield name, lambda name=name: parts.pipeline(name, device, size)
    else:
        yield "fdnn", lambda: parts.processes(device, size)


class Log:
    """Results as JSON lines, each on disk before the next entry begins.

    Args:
        path: The file; a former one is replaced.
        deadline: When no further entry begins, by the monotonic clock.
    """

    def __init__(self, path: Path, deadline: float) -> None:
        self.path, self.deadline = path, deadline
        self.passed = self.failed = self.skipped = 0

    def begin(self, facts: Result) -> None:
        """Write the first line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", encoding="utf-8")
        self._write(facts)

    def run(self, part: str, name: str, limit_s: float, work: Callable[[], Result]) -> None:
        """Run one entry within its limit, and what is left of the whole, and write the result."""
        left = min(limit_s, self.deadline - time.monotonic())
        started = time.monotonic()
        try:
            if left <= 1:
                raise parts.Skipped("no time is left")
            with _limited(left):
                found = {"ok": True, **work()}
        except parts.Skipped as reason:
            found = {"ok": None, "skipped": str(reason)}
        except OutOfTime:
            found = {"ok": False, "error": f"expected an end within {left:.0f} s, got none"}
        except Exception as error:  # the next entry goes on
            line = next(iter(str(error).splitlines()), "")
            found = {"ok": False, "error": f"{type(error).__name__}: {line}"}
        seconds = round(time.monotonic() - started, 2)
        self._count(found["ok"])
        self._write({"part": part, "name": name, **found, "seconds": seconds})

    def _count(self, ok: bool | None) -> None:
        self.passed += ok is True
        self.failed += ok is False
        self.skipped += ok is None

    def _write(self, row: Result) -> None:
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime within a block after so many seconds."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
