"""What a start and a report cost as the corpus and the number of runs grow: prints two tables.

Each size is measured in a process of its own: CPU seconds of the second start (the first makes the
index) and peak memory. Corpora are made: utterances of 12 s at 16 kHz, 16 bits, whose files have
the size of audio and hold nothing on disk, and whose facts are written to the index as a check
would have found them; what a check takes is measured on real audio and given for each hour. Run
folders are made too: 3 models, 5 seeds a setting, 18 score rows each. Nothing is trained.

    python scripts/benchmarks/growth.py --hours 1 10 100 1000 --runs 10 100 1000 10000
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

RATE, UTTERANCE_S, SPEAKERS = 16000, 12.0, 40
NOISES = ("babble", "factory", "metro", "rain", "wind", "engine", "crowd", "cafe", "bus", "street")
SWEPT = ("experiment=p2/fdnn_demo", "runtime.threads=1")
Table = dict[str, Any]
NOTE = (
    "Measured by `python scripts/benchmarks/growth.py`: CPU seconds and peak memory of a process "
    "of its own for each size. Corpora are made: utterances of 12 s at 16 kHz in files that have "
    "the size of audio and hold nothing, with the facts in the index that a check would have "
    "found. The first check is that of two minutes of real audio, times the hours. A start lists, "
    "compares, splits and fingerprints all files; beyond 50,000 nobody looks for copies. Run "
    "folders are made: 3 models, 5 seeds a setting, 18 score rows each."
)
CHECKED_S = 120.0
"""Real audio of which a check is measured, in seconds."""


def cpu_s() -> float:
    """Return the CPU seconds of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def make_corpus(folder: Path, hours: float) -> None:
    """Make the files of a corpus and its index."""
    frames = round(UTTERANCE_S * RATE)
    count = max(10 * SPEAKERS, round(3600 * hours / UTTERANCE_S))
    for number in range(count):
        speaker = folder / "speech" / f"spk{number % SPEAKERS:03d}"
        if number < SPEAKERS:
            speaker.mkdir(parents=True)
        _hole(speaker / f"utt{number // SPEAKERS:06d}.wav", 44 + 2 * frames)
    (folder / "noise").mkdir()
    for noise in NOISES:
        _hole(folder / "noise" / f"{noise}.wav", 44 + 2 * frames)
    make_index(folder)


def make_index(folder: Path) -> None:
    """Write what a check would have found in the files of a corpus."""
    from audioprune.data.files.audio import find_audio
    from audioprune.data.files.checks import FileFacts
    from audioprune.data.files.file_index import index_of
    from audioprune.data.files.likeness import EDGES_HZ, LONGEST_S

    frames = round(UTTERANCE_S * RATE)
    rng = np.random.default_rng(0)
    for role in ("speech", "noise"):
        index, found = index_of(folder / role, str(folder / "cache")), {}
        for path in find_audio(folder / role):
            status = path.stat()
            place = os.fsencode(path)[len(os.fsencode(folder / role)) + 1 :]
            swell = rng.integers(0, 250, (round(10 * LONGEST_S) // 4, len(EDGES_HZ) - 1), np.uint8)
            facts = FileFacts(
                path,
                status.st_size,
                rng.bytes(32).hex(),
                rng.bytes(32).hex(),
                RATE,
                1,
                frames,
                0.1,
                base64.b85encode(np.repeat(swell, 4, axis=0).tobytes()).decode(),
            )
            found[place] = ((status.st_size, status.st_mtime_ns), facts)
        index.write(found)


def _hole(path: Path, size: int) -> None:
    with open(path, "wb") as stream:
        stream.truncate(size)


def start(folder: Path) -> dict[str, float]:
    """Return what the start of a run takes on a corpus whose index is there."""
    from audioprune.data.speech.noisy_mixtures import NoisyMixtures

    begun = cpu_s()
    roots = folder / "speech", folder / "noise"
    corpus = NoisyMixtures(*roots, cache_dir=str(folder / "cache"))
    corpus.prepare()
    corpus.fingerprint()
    corpus.describe()
    files = len(corpus.sources())
    used = cpu_s() - begun
    index = sum(path.stat().st_size for path in (folder / "cache").rglob("*.index"))
    return {"files": files, "cpu_s": used, "index_mb": index / 1e6}


def check(folder: Path) -> dict[str, float]:
    """Return what a check of real audio takes for each hour of it."""
    import soundfile

    from audioprune.data.files.file_index import inspect_files

    rng, paths = np.random.default_rng(0), []
    for number in range(round(CHECKED_S / UTTERANCE_S)):
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], 0.1 * rng.standard_normal(round(UTTERANCE_S * RATE)), RATE)
    begun = cpu_s()
    inspect_files(folder, paths, str(folder / "cache"))
    return {"cpu_s": (cpu_s() - begun) * 3600 / CHECKED_S}


def make_runs(folder: Path, count: int) -> None:
    """Make finished run folders of three models, five seeds a setting."""
    for number in range(count):
        setting, seed = divmod(number, 5)
        model = ("fdnn", "lstm", "gcrn")[setting % 3]
        name = f"{model}-p2-{number:010d}"
        config = {
            "seed": seed,
            "scale": "desk",
            "model": {"name": model, "width": 64},
            "pipeline": {"name": "p2_compress", "lambda_1": 1e-4 * (1 + setting)},
            "training": {f"number_{each}": each for each in range(40)},
            "data": {"name": "synthetic_speech", "seed": 0, **{f"k{n}": n for n in range(20)}},
        }
        run = folder / name
        run.mkdir(parents=True)
        info = {"name": name, "verb": "prune", "hash": f"{number:010d}", "model": model}
        info |= {"pipeline": "p2_compress", "seed": seed, "scale": "desk", "config": config}
        (run / "run.json").write_text(json.dumps(info))
        (run / "status.json").write_text('{"status": "finished"}')
        lines = [json.dumps(row) for row in _rows(model, seed, setting)]
        (run / "results.jsonl").write_text("\n".join(lines) + "\n")


def _rows(model: str, seed: int, setting: int) -> list[dict[str, object]]:
    shared = {"model": model, "label": model.upper(), "scale": "desk", "seed": seed}
    shared |= {"corpus": "synthetic_speech", "corpus_fingerprint": "0" * 64}
    rows: list[dict[str, object]] = []
    for place, variant in enumerate(("mixture", "uncompressed", "pruned")):
        for noise in ("babble", "cafeteria"):
            for snr in (-5.0, 0.0, 5.0):
                condition = f"{noise}_{snr:g}dB"
                stoi = 0.6 + 0.1 * place + 0.01 * snr + 1e-4 * seed * place
                stoi += 1e-6 * setting * (variant == "pruned")
                row = {"key": f"{variant}/{condition}", "kind": "score", "variant": variant}
                row |= {"noise": noise, "snr_db": snr, "condition": condition, "split": "test"}
                row |= {"metrics": {"stoi": stoi}, "std": {"stoi": 0.05}, "n": 10}
                rows.append({**shared, **row, "n_valid": {"stoi": 10}})
        if place:
            row = {"key": f"{variant}/size", "kind": "size", "variant": variant, "params": 1000}
            row |= {"nonzero": 1000 // place, "sparsity": 1 - 1 / place, "bytes_fp32": 4000}
            rows.append({**shared, **row, "bytes_paper": 4000 // place, "bytes_file": 4100})
    return rows


def report(folder: Path) -> dict[str, float]:
    """Return what the report of all runs takes."""
    from audioprune.report import write_report

    begun = cpu_s()
    files = write_report(folder / "runs", folder / "report")
    size = sum(file.stat().st_size for file in files)
    return {"cpu_s": cpu_s() - begun, "report_mb": size / 1e6}


def sweep(folder: Path, count: int) -> dict[str, float]:
    """Return what a sweep takes whose runs are all finished: nothing is left to do."""
    from audioprune import cli
    from audioprune.commands import experiments
    from audioprune.experiment.config_hash import config_hash, plain_values

    def made(config: object, run: Path, *_: object) -> str:
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.json").write_text(json.dumps({"hash": config_hash(plain_values(config))}))
        (run / "status.json").write_text('{"status": "finished"}')
        return "finished"

    seeds = ",".join(map(str, range(count)))
    command = ["prune", "-m", *SWEPT, f"seed={seeds}", f"runtime.folder={folder / 'swept'}"]
    with mock.patch.object(experiments, "run", made):
        _call(cli.main, command)
    begun = cpu_s()
    _call(cli.main, command)
    return {"cpu_s": cpu_s() - begun}


def _call(main: Callable[[], object], command: list[str]) -> None:
    with mock.patch.object(sys, "argv", ["audioprune", *command]):
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise


def measured(kind: str, size: float, folder: Path) -> dict[str, float]:
    """Measure one size in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, str(size), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(kind: str, size: float, folder: Path) -> None:
    """Measure in this process and print the numbers as the last line."""
    if kind == "sweep":
        found = sweep(folder, int(size))
    else:
        found = {"start": start, "check": check, "report": report}[kind](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({**found, "peak_mb": peak}))


def corpus_table(hours: list[float], folder: Path) -> Table:
    """Measure corpora."""
    (folder / "check").mkdir()
    per_hour = measured("check", 0, folder / "check")["cpu_s"]
    rows = []
    for each in hours:
        place = folder / f"{each:g}h"
        make_corpus(place, each)
        found = measured("start", each, place)
        row = [f"{each:g}", f"{found['files']:,.0f}", f"{per_hour * each:,.0f} s"]
        row += [f"{found['index_mb']:.1f} MB", f"{found['cpu_s']:.2f} s"]
        rows.append([*row, f"{found['peak_mb']:,.0f} MB"])
    return {
        "title": "Hours of corpus",
        "head": ["hours", "files", "first check", "index", "start", "peak memory"],
        "rows": rows,
    }


def run_table(counts: list[int], swept: int, folder: Path) -> Table:
    """Measure runs."""
    rows = []
    for count in counts:
        place = folder / f"{count}runs"
        make_runs(place / "runs", count)
        found = measured("report", count, place)
        row = [f"{count:,}", f"{found['cpu_s']:.2f} s", f"{found['report_mb']:.2f} MB"]
        row.append(f"{found['peak_mb']:,.0f} MB")
        again = f"{measured('sweep', count, place)['cpu_s']:.1f} s" if count <= swept else "-"
        rows.append([*row, again])
    return {
        "title": "Number of runs",
        "head": ["runs", "report", "its size", "peak memory", "sweep with nothing left to do"],
        "rows": rows,
    }


def keep(place: Path, tables: list[Table]) -> None:
    """Put tables into the file that docs/scale.md is written from, in place of older ones."""
    known = json.loads(place.read_text()) if place.is_file() else {"tables": []}
    titles = [each["title"] for each in tables]
    others = [each for each in known["tables"] if each["title"] not in titles]
    text = json.dumps({"note": NOTE, "tables": [*others, *tables]}, indent=1)
    place.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Print the tables, and keep them where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, nargs="*", default=[1, 10, 100])
    parser.add_argument("--runs", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--swept", type=int, default=100, help="most jobs of a measured sweep")
    parser.add_argument("--folder", type=Path, help="where files are made")
    parser.add_argument("--json", type=Path, help="such as docs/scale/growth.json")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], float(given.one[1]), given.folder)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        tables = [corpus_table(given.hours, Path(folder))] if given.hours else []
        if given.runs:
            tables.append(run_table(given.runs, given.swept, Path(folder)))
    for each in tables:
        lines = [each["head"], ["---"] * len(each["head"]), *each["rows"]]
        print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n")
    if given.json:
        keep(given.json, tables)


if __name__ == "__main__":
    main()
