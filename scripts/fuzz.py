"""Fuzz every reader of files, led by the lines that an input reaches; exits 1 with a finding.

    python scripts/fuzz.py [kinds=packed,audio] [minutes=10] [seed=0] [out=runs/fuzz]

A reader may raise errors of audioprune.errors alone, within five seconds
and 200 MB while every line is followed. Everything
else is a finding: the input lies in OUT/KIND/findings with what it did, each kind of failure once.
Inputs that reached a new line are kept in OUT/KIND/corpus and are where the next call begins. The
same seed and an empty folder give the same inputs, as far as time allows.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
KINDS = ("packed", "dense", "pickled", "schedule", "results", "audio", "lists", "caches")
_SECONDS = 5.0  # of CPU time; following the lines takes most of it
_MEMORY = 200 << 20
_HANGS_S = 30.0
_MOST_FINDINGS = 40


def main(words: Sequence[str]) -> int:
    """Fuzz the named kinds one after another, and print one line for each."""
    given = dict(word.partition("=")[::2] for word in words)
    kinds = given.get("kinds", ",".join(KINDS)).split(",")
    if set(given) - {"kinds", "minutes", "seed", "out", "child"} or set(kinds) - set(KINDS):
        print(f"expected kinds={','.join(KINDS)} minutes= seed= out=, got {' '.join(words)}")
        return 2
    out = Path(given.get("out", "runs/fuzz")).resolve()
    seconds, seed = 60 * float(given.get("minutes", "10")), int(given.get("seed", "0"))
    if "child" in given:
        Fuzzing(kinds[0], out / kinds[0], seed).go(seconds)
        return 0
    found = 0
    for kind in kinds:
        told = supervise(kind, out / kind, seconds, seed)
        print(" ".join(f"{key}={value}" for key, value in told.items()), flush=True)
        found += told["findings"]
    return 1 if found else 0


def supervise(kind: str, folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz one kind in a process that may die, and start it again where it does."""
    begun, total = time.monotonic(), {"inputs": 0, "edges": 0, "kept": 0}
    (folder / "findings").mkdir(parents=True, exist_ok=True)
    while (left := seconds - (time.monotonic() - begun)) > 1:
        words = (f"kinds={kind}", f"minutes={left / 60}", f"seed={seed}", f"out={folder.parent}")
        child = subprocess.Popen([sys.executable, __file__, *words, "child=1"])
        code = _watched(child, folder)
        told = _progress(folder)
        total["inputs"] += told.get("inputs", 0)
        total |= {key: told.get(key, total[key]) for key in ("edges", "kept")}
        if code == 0:
            break
        _keep_current(folder, f"the process ended with {code}", f"died-{-code}-{seed}")
        seed += 1
    minutes = round((time.monotonic() - begun) / 60, 1)
    return {
        "kind": kind,
        "minutes": minutes,
        **total,
        "findings": len(list((folder / "findings").glob("*.txt"))),
    }


def _watched(child: subprocess.Popen[bytes], folder: Path) -> int:
    """Wait for a process; one that does not go on is ended."""
    while True:
        try:
            return child.wait(timeout=_HANGS_S)
        except subprocess.TimeoutExpired:
            clock = folder / "progress.json"
            age = time.time() - clock.stat().st_mtime if clock.exists() else 0.0
            if age > 2 * _HANGS_S:
                child.kill()
                return child.wait()


def _progress(folder: Path) -> dict[str, Any]:
    place = folder / "progress.json"
    try:
        return dict(json.loads(place.read_text()))
    except (OSError, ValueError):
        return {}


def _keep_current(folder: Path, reason: str, name: str) -> None:
    """Keep the input that a process died of."""
    place = folder / "current"
    if place.exists():
        shutil.copyfile(place, folder / "findings" / f"{name}.bin")
    (folder / "findings" / f"{name}.txt").write_text(f"{reason}\n")


class Fuzzing:
    """The loop over the inputs of one kind.

    Args:
        kind: Name of the reader.
        folder: Where inputs and findings are kept.
        seed: Of all choices.
    """

    def __init__(self, kind: str, folder: Path, seed: int) -> None:
        from scripts.fuzzing.lines import Lines
        from scripts.fuzzing.readers import READERS

        self.reader, self.folder, self.pick = READERS[kind], folder, random.Random(seed)
        self.lines = Lines((str(ROOT / "audioprune"),))
        self.memory_there = Path("/dev/shm").is_dir()
        self.inputs: list[bytes] = []
        self.count = self.said = 0
        self.failures: set[str] = {path.stem for path in (folder / "findings").glob("*.txt")}
        for name in ("corpus", "findings"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def go(self, seconds: float) -> None:
        """Try inputs until the time is over."""
        with tempfile.TemporaryDirectory(dir="/dev/shm" if self.memory_there else None) as scratch:
            place = Path(scratch)
            (place / "seeds").mkdir()
            seeds = self.reader.seeds(place / "seeds")
            kept = [path.read_bytes() for path in sorted((self.folder / "corpus").iterdir())]
            warnings.simplefilter("ignore")
            for data in seeds:  # what a reader loads at its first call counts for nobody
                self._run(data, place)
            _limit_memory()
            for data in [*seeds, *kept]:
                if self._run(data, place) or data in seeds:
                    self.inputs.append(data)
            end = time.monotonic() + seconds
            while time.monotonic() < end and len(self.failures) < _MOST_FINDINGS:
                # late inputs are those that reached most
                at = max(self.pick.randrange(len(self.inputs)) for _ in range(2))
                data = self.reader.change(self.inputs[at], self.pick, self.inputs)
                if self._run(data, place):
                    self.inputs.append(data)
                    (self.folder / "corpus" / f"{len(self.inputs):05d}").write_bytes(data)
            self._tell()

    def _run(self, data: bytes, scratch: Path) -> int:
        """Read one input; return how many edges it reached first."""
        from audioprune.errors import AudiopruneError

        folder = scratch / "here"
        folder.mkdir()
        place = folder / f"input{self.reader.ending}"
        place.write_bytes(data)
        for name in ("a.wav", "sub/b.wav"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"")
        (self.folder / "current").write_bytes(data)
        self.count += 1
        if self.count - self.said >= 200:
            self._tell()
        signal.signal(signal.SIGVTALRM, _too_slow)
        signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS)
        failure: BaseException | None = None
        new = 0
        try:
            new = self.lines.new_of(lambda: self.reader.read(place))
        except AudiopruneError:
            new = self.lines.found
        except BaseException as error:  # noqa: BLE001 what else a reader raises is what is looked for
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = error
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if failure is not None:
            self._found(failure, data)
        shutil.rmtree(folder, ignore_errors=True)
        return new

    def _found(self, error: BaseException, data: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/audioprune/" in frame.filename] or frames
        where = f"{Path(own[-1].filename).stem}-{own[-1].lineno}"
        name = f"{type(error).__name__}-{where}"
        if name in self.failures:
            return
        self.failures.add(name)
        text = "".join(traceback.format_exception(error))[-6000:]
        (self.folder / "findings" / f"{name}.bin").write_bytes(data)
        (self.folder / "findings" / f"{name}.txt").write_text(text, errors="backslashreplace")

    def _tell(self) -> None:
        self.said = self.count
        told = {"inputs": self.count, "edges": len(self.lines.known), "kept": len(self.inputs)}
        (self.folder / "progress.json").write_text(json.dumps(told))


class TooSlow(BaseException):
    """An input took longer than it may."""


def _too_slow(*_: object) -> None:
    raise TooSlow


def _limit_memory() -> None:
    """Let this process grow by no more than a reader may take."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
