"""How small the public networks become; writes docs/shrink/NAME.json and docs/shrink.md.

    python scripts/shrink.py [networks=silero_vad,crepe_tiny] [audio=FOLDER] [runs=runs/shrink]

Every form of a network is one command of audioprune in a run folder of its own, so that a second
call goes on where the first was stopped. ``audio`` is a folder of recordings for the networks that
need no labels. Quality is that of held-out audio; time is CPU time of one thread, so that other
work on the machine does not count. A network that was not measured is named as such on the page.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from audioprune.experiment import agreement, cost  # noqa: E402
from audioprune.experiment.model_io import instantiate, load_model_file  # noqa: E402
from audioprune.experiment.originals import published  # noqa: E402
from audioprune.experiment.results import clean  # noqa: E402
from audioprune.files import read_lines, write_atomic, write_json  # noqa: E402
from audioprune.protocols import Costed  # noqa: E402
from scripts.shrinking.page import page_text  # noqa: E402
from scripts.shrinking.plans import NETWORKS, Network  # noqa: E402
from scripts.shrinking.timing import cpu_ms_per_second  # noqa: E402

DATA = ROOT / "docs" / "shrink"
PAGE = ROOT / "docs" / "shrink.md"
Result = dict[str, Any]
_ROOT = "data.root="  # a place of this machine, which no page shows


def main(words: Sequence[str]) -> None:
    """Measure the named networks, all by default, and write the page."""
    chosen = dict(word.partition("=")[::2] for word in words)
    unknown = set(chosen) - {"networks", "audio", "runs", "cache"}
    if unknown:
        sys.exit(f"expected networks=, audio=, runs= or cache=, got {', '.join(unknown)}=")
    names = [name for name in chosen.get("networks", ",".join(NETWORKS)).split(",") if name]
    for name in names:
        if name not in NETWORKS:
            sys.exit(f"expected a network of {', '.join(NETWORKS)}, got {name}")
        if not published.installed(name):
            print(f"{name}: not measured: run pip install 'audioprune[zoo]' first")
            continue
        measure(name, NETWORKS[name], Path(chosen.get("runs", "runs/shrink")), chosen.get("audio"))
    found = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
    write_atomic(PAGE, page_text(NETWORKS, found))


def measure(name: str, network: Network, runs: Path, audio: str | None) -> None:
    """Measure every form of a network; what is done is written after each."""
    file = DATA / f"{name}.json"
    known: Result = json.loads(file.read_text()) if file.exists() else {}
    data = network.data(audio)
    result: Result = known if known.get("forms") else {"forms": {}}
    for form in network.forms:
        command = [form.verb, f"model=zoo/{name}", *data, *network.options, *form.options]
        shown = [f"{_ROOT}..." if word.startswith(_ROOT) else word for word in command]
        if result["forms"].get(form.name, {}).get("command") == shown:
            continue
        folder = _run(command, runs / name / re.sub(r"\W+", "_", form.name))
        result["forms"][form.name] = {"command": shown, **_form(folder, network)}
        if "original" not in result:
            result |= _originals(folder, network)
        write_json(file, clean(result))
        print(f"{name} {form.name}: {result['forms'][form.name]}", flush=True)


def _run(command: Sequence[str], place: Path) -> Path:
    """Run a command of audioprune and return its run folder."""
    verb, *options = command
    line = [sys.executable, "-m", "audioprune.cli", verb, *options, f"runtime.folder={place}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    print(" ".join(["audioprune", verb, *options]), flush=True)
    subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)
    folders = sorted((place / verb).glob("*/status.json"), key=lambda each: each.stat().st_mtime)
    return folders[-1].parent


def _form(folder: Path, network: Network) -> Result:
    """Return what a run says of its last model, with its measured time."""
    rows = read_lines(folder / "results.jsonl")
    scores = [row for row in rows if row["kind"] == "score" and row["variant"] == "compressed"]
    size = next(row for row in rows if row["kind"] == "size" and row["variant"] == "compressed")
    loaded = load_model_file(folder / size["file"])
    return {
        "bytes": size["bytes_file"],
        "params": size["params"],
        "nonzero": size["nonzero"],
        "macs_per_second": size["macs_per_second"],
        "cpu_ms_per_second": cpu_ms_per_second(loaded.model),
        "score": _mean(scores, network.metric),
        "metrics": {name: _mean(scores, name) for name in scores[0]["metrics"]},
    }


def _mean(rows: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    values = [row["metrics"].get(metric) for row in rows]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _originals(folder: Path, network: Network) -> Result:
    """Measure the original, and its dynamic int8 form by torch, on the same held-out audio."""
    plain = json.loads((folder / "run.json").read_text())["config"]
    checkpoint = plain["checkpoint"]
    data = instantiate(plain["data"])
    data.prepare()
    task = instantiate(agreement.complete_task(plain["task"], data))
    config = agreement.complete_model(plain["model"], task, data)
    original = load_model_file(checkpoint, config).model.eval()
    task.teach(load_model_file(checkpoint, config).model)
    small = dynamic_int8(original)
    held = io.BytesIO()
    torch.save(small.state_dict(), held)
    source = published.source_of(Path(checkpoint).name.rpartition("-")[0])
    found: Result = {"package_bytes": source.stat().st_size}
    sizes = {"original": Path(checkpoint).stat().st_size, "int8": len(held.getvalue())}
    for name, model in {"original": original, "int8": small}.items():
        scores = [
            task.score(model, items, None, condition=condition, variant=name)[name]
            for condition, items in data.tests().items()
        ]
        assert isinstance(original, Costed)
        example = original.example_input()
        card = cost.cost(original, example, cost.example_seconds(original))
        found[name] = {
            "bytes": sizes[name],
            "params": card.params,
            "macs_per_second": card.macs_per_second,
            "cpu_ms_per_second": cpu_ms_per_second(model, original),
            "score": _mean(scores, network.metric),
            "metrics": {key: _mean(scores, key) for key in scores[0]["metrics"]},
        }
    found["audio"] = data.scale()
    found["held_out"] = {condition: len(items) for condition, items in data.tests().items()}
    found["threads"] = torch.get_num_threads()
    return found


def dynamic_int8(model: nn.Module) -> nn.Module:
    """Return torch's own smaller form: linear and recurrent layers in int8, others as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize = torch.ao.quantization.quantize_dynamic
        small: nn.Module = quantize(model, {nn.Linear, nn.LSTM, nn.GRU}, dtype=torch.qint8)
    return small


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
