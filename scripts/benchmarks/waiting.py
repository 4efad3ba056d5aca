"""How long does a person wait for the command line? ``ITEM``.

Every command is a process of its own, as it is typed; times hold its imports, and its children.
What is measured is made here: a corpus of 10,000 short files by 100 speakers, and a tiny run of
which 200 copies with seeds of their own are reported. It never trains anything else.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from scripts.benchmarks.frame import ROOT, Item, Row, Run, Taken, at_most

FILES, SPEAKERS, RUNS = 10_000, 100, 200
RATE = 8000
TINY = (
    *("experiment=p2/fdnn_desk", "pipeline=magnitude", "model.width=8", "training.epochs=1"),
    *("data.train_mixtures=4", "data.valid_mixtures=2", "data.test_mixtures=1"),
    *("data.minutes=0.1", "data.valid_minutes=0.05", "data.test_minutes=0.05", "data.noise_s=2"),
    *("data.speakers=2", "data.valid_speakers=1", "data.test_speakers=1"),
    *("data.utterance_s=[1,1.2]", "data.test_snr_db=[-5]", "data.babble_share=0"),
    *("scoring.metrics=[si_sdr]", "scoring.latency_repeats=0", "runtime.device=cpu"),
    *("scoring.audio_items=0", "training.batch_size=4", "pipeline.levels=4"),
)
START = """
import sys, time, resource
from audioprune.data.speech.noisy_mixtures import NoisyMixtures
began, used = time.perf_counter(), time.process_time()
corpus = NoisyMixtures(speech_root=sys.argv[1], noise_root=sys.argv[2], sample_rate=8000)
corpus.prepare()
corpus.fingerprint()
corpus.describe()
corpus.train(), corpus.valid(), corpus.tests()
print(time.process_time() - used, time.perf_counter() - began)
"""


def write_sound(path: Path, samples: np.ndarray) -> None:
    """Write samples in -1..1, shape (T,), as a WAV file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(samples), "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def spoken(draw: np.random.Generator) -> np.ndarray:
    """Return noise of a length, colour and movement of its own, shape (T,), about 0.4 s."""
    count = int(RATE * draw.uniform(0.2, 0.6))
    bins = np.linspace(0, 1, count // 2 + 1)
    colour = 10 ** np.interp(bins, np.linspace(0, 1, 12), draw.uniform(-1.5, 0, 12))
    signal = np.fft.irfft(np.fft.rfft(draw.standard_normal(count)) * colour, count)
    moving = 10 ** np.interp(np.arange(count), [0, count / 2, count], draw.uniform(-1, 0, 3))
    return 0.5 * moving * signal / np.abs(moving * signal).max()


def write_corpus(folder: Path) -> None:
    """Write files of many speakers, and two long noises."""
    draw = np.random.default_rng(0)
    for index in range(FILES):
        speaker, number = divmod(index, FILES // SPEAKERS)
        path = folder / "speech" / f"p{speaker:03d}" / f"p{speaker:03d}_{number:03d}.wav"
        write_sound(path, spoken(draw))
    for name in ("hall", "street"):
        noise = 0.05 * draw.standard_normal(RATE * 60).clip(-6, 6)
        write_sound(folder / "noise" / f"{name}.wav", noise)


def copy_runs(run: Path, folder: Path) -> None:
    """Copy a run under other seeds and names, as a sweep leaves them."""
    for seed in range(RUNS):
        target = folder / f"{run.name}-{seed}"
        shutil.copytree(run, target)
        place = target / "run.json"
        told = json.loads(place.read_text(encoding="utf-8"))
        told["config"]["seed"] = seed
        told["hash"] = f"{seed:012x}"
        place.write_text(json.dumps(told), encoding="utf-8")


def waited(words: Sequence[str], folder: Path, codes: Sequence[int] = (0,)) -> Taken:
    """Run a command line in a folder, and return what it and its children took."""
    environment = {
        **os.environ,
        "AUDIOPRUNE_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    began = time.perf_counter()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, *words],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(folder / "said.txt"), os.O_CREAT | os.O_WRONLY, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    said = (folder / "said.txt").read_text(encoding="utf-8", errors="replace")
    (folder / "said.txt").unlink()
    if os.waitstatus_to_exitcode(status) not in codes:
        raise SystemExit(f"{' '.join(words)}\n{said[-2000:]}")
    return Taken(usage.ru_utime + usage.ru_stime, wall, said)


def typed(folder: Path, *words: str) -> Callable[[], Taken]:
    """Return the call of a command line."""
    return partial(waited, ["-m", "audioprune.cli", *words], folder)


def started(folder: Path) -> Taken:
    """Open the corpus as a run does, and return what that took behind the imports."""
    words = ["-c", START, f"{folder}/speech", f"{folder}/noise"]
    cpu, wall = map(float, str(waited(words, folder).result).split()[-2:])
    return Taken(cpu, wall)


def rows(run: Run) -> Iterator[Row]:
    """Measure one command after the other."""
    turns = 3 if run.quick else 7
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        complete = typed(folder, "--complete", "audioprune prune experiment=p2/fd")
        yield from run.against("completion", complete, {}, turns=turns, goal=at_most(0.3, "ours"))
        yield from run.against("--help", typed(folder, "--help"), {}, turns=turns)
        again = typed(folder, "prune", *TINY, f"runtime.folder={folder}/runs")
        again()
        bound = at_most(2.0, "ours")
        yield from run.against("a finished run again", again, {}, turns=turns, goal=bound)
        (done,) = (folder / "runs" / "prune").iterdir()
        copy_runs(done, folder / "many")
        report = typed(folder, "report", f"runs={folder}/many", f"out={folder}/report")
        yield from run.against(
            f"report of {RUNS} runs", report, {}, turns=1, warm=False, goal=at_most(10.0, "ours")
        )
        write_corpus(folder)
        check = typed(folder, "data", "action=check", f"root={folder}/speech")
        yield from run.against(
            f"first check of {FILES:,} files, all decoded", check, {}, turns=1, warm=False
        )
        yield from run.against(
            f"check of {FILES:,} known files", check, {}, turns=turns, goal=at_most(2.0, "ours")
        )
        start = partial(started, folder)
        yield from run.against(
            f"start of a run on {FILES:,} known files, behind the imports",
            start,
            {},
            turns=turns,
            goal=at_most(1.5, "ours"),
        )


ITEM = Item(
    title="Waiting for the command line",
    about=(
        "Each command is a process of its own, as it is typed, imports and children included; "
        "what is known of files from earlier is in the cache, but for the first check."
    ),
    rows=rows,
    order=90,
)
