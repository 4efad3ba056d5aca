"""The proof at paper size: every paper-size experiment goes through its whole pipeline here.

The configuration is unchanged, the data are made signals of the corpus' length and rate, and every
step does few units (``audioprune doctor experiment=NAME``); each experiment is a process of its
own, of which CPU time and peak memory are measured. A network of 300 million parameters is pruned,
quantised, packed and read back besides. ``make scale`` runs it and writes docs/scale.md.

    python scripts/paper_size.py [p2/gcrn ...] [large]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "scale"
LARGE = "large"
_SCALED_DOWN = ("_desk", "_demo", "_small", "_tiny")
_DOCTOR = "from audioprune.cli import main; main()"
_LARGE_WIDTH = 12_180  # FDNN with 300.6 million parameters
_LARGE_STEPS = """
import json, sys
from pathlib import Path
from hydra import compose, initialize_config_module
from audioprune import schema
from audioprune.commands.configuration import folder_name
from audioprune.commands.rehearse import corpus_of
from audioprune.experiment.build import build
from audioprune.experiment.config_hash import plain_values
from audioprune.experiment.pipeline import build_steps, check_steps, execute
from audioprune.experiment.rehearsal.few_items import Counts, few_of

schema.register()
words = ["experiment=p2/fdnn", "pipeline=magnitude", f"model.width={sys.argv[2]}",
         "pipeline.levels=16", "verb=prune", "runtime.device=cpu", "runtime.metric_workers=0",
         "scoring.metrics=[si_sdr]", "scoring.audio_items=0"]
with initialize_config_module(version_base="1.3", config_module="audioprune.conf"):
    config = compose("prune", overrides=words)
data, _ = corpus_of(config)
plain = plain_values(config)
steps = plain["pipeline"]["steps"]
prune = steps["compress"]["steps"]["prune"]
plain["pipeline"]["steps"] = {"prune": prune} | {k: steps[k] for k in ("quantize", "compressed")}
few, _ = few_of(data, Counts(1))
run = build(plain, Path(sys.argv[1]), [], data=few)
made = build_steps(plain["pipeline"])
check_steps(run, made)
execute(run, made)
size = [row for row in run.results.rows.values() if row["kind"] == "size"][-1]
print(json.dumps({key: size[key] for key in ("params", "bytes_file", "sparsity")}))
"""


def main(words: list[str]) -> None:
    """Rehearse the named experiments, or all of paper size and the large network."""
    DATA.mkdir(exist_ok=True)
    failed = []
    for name in words or [*experiments(), LARGE]:
        with tempfile.TemporaryDirectory(prefix="audioprune-paper-size-") as folder:
            found = _large(folder) if name == LARGE else _rehearsed(name, folder)
        broken = [step["path"] for step in found.get("steps", ()) if step["failure"]]
        if broken:
            found = {"error": f"steps that fail: {', '.join(broken)}"}
        told = found.get("error") or f"{found['cpu_s']:.0f} CPU s, {found['peak_gb']:.2f} GB"
        print(f"{name}: {told}", flush=True)
        if "error" in found:
            failed.append(name)
            continue
        _put(name, found)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def experiments() -> list[str]:
    """Return the names of the experiments of paper size."""
    folder = ROOT / "conf" / "experiment"
    names = [
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    ]
    return sorted(name for name in names if not name.endswith(_SCALED_DOWN))


def _rehearsed(name: str, folder: str) -> dict[str, Any]:
    words = [f"experiment={name}", "format=json", "runtime.device=cpu", "runtime.threads=1"]
    return _child(["-c", _DOCTOR, "doctor", *words], folder)


def _large(folder: str) -> dict[str, Any]:
    return _child(["-c", _LARGE_STEPS, folder, str(_LARGE_WIDTH)], folder)


def _child(words: list[str], folder: str) -> dict[str, Any]:
    """Run a process; return the JSON that it printed last, with its CPU time and peak memory."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as told:
        child = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=environment, stdout=printed, stderr=told
        )
        _, state, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(state)
        printed.seek(0)
        told.seek(0)
        lines, errors = printed.read().splitlines(), told.read().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {"error": errors[-1] if errors else f"exit code {child.returncode}"}
    return {
        **json.loads(lines[-1]),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_gb": usage.ru_maxrss * 1024 / 1e9,
    }


def _put(name: str, found: dict[str, Any]) -> None:
    """Keep what was found of one experiment; the others stay as they were."""
    path = DATA / "paper_size.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[name] = found
    text = json.dumps(dict(sorted(known.items())), indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
