"""What the verbs do that train nothing: report, info, data and doctor."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, DataError


def report(config: Any) -> None:
    """Write tables, figures and the page of the chosen runs, and print the table."""
    from omegaconf import OmegaConf

    from audioprune.report import write_report

    plain = OmegaConf.to_container(config, resolve=True)
    runs = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    options = {key: value for key, value in plain["report"].items() if key not in ("kinds", "name")}
    for kind in plain["report"]["kinds"]:
        written = write_report([Path(run) for run in runs], Path(plain["out"]), kind, **options)
        for file in written:
            if file.suffix == ".md":
                print(file.read_text(encoding="utf-8"))
        print("\n".join(f"wrote {file}" for file in written), file=sys.stderr)


def info(config: Any) -> None:
    """Print parameters, sizes and costs of a model."""
    from omegaconf import OmegaConf

    from audioprune import cost
    from audioprune.loading import build_model, load_model_file

    plain = OmegaConf.to_container(config, resolve=True)
    if plain["checkpoint"]:
        model = load_model_file(plain["checkpoint"], plain["model"]).model.eval()
    else:
        model = build_model(plain["model"], trusted=True).eval()
    if not hasattr(model, "example_input"):
        raise ConfigError(f"{type(model).__name__}: expected a method example_input(); add it to see costs")
    example = model.example_input()
    card = cost.cost(model, example, example.shape[model.time_dim] / model.frames_per_second)
    facts = {
        "model": plain["model"].get("name"),
        "params": card.params,
        "nonzero": card.nonzero,
        "bytes_fp32": 4 * card.params,
        "mib_fp32": 4 * card.params / 2**20,
        "macs_per_second": card.macs_per_second,
        "layers": [layer.as_dict() for layer in card.layers],
    }
    print(json.dumps(facts) if plain["format"] == "json" else _info_table(facts))


def _info_table(facts: dict[str, Any]) -> str:
    lines = [f"{'layer':32} {'type':14} {'parameters':>12} {'MACs/s':>16}"]
    lines += [f"{row['name']:32} {row['type']:14} {row['params']:12,} {row['macs_per_second']:16,.0f}" for row in facts["layers"]]
    lines.append(f"{'total':47} {facts['params']:12,} {facts['macs_per_second']:16,.0f}")
    lines.append(f"{facts['mib_fp32']:.2f} MiB as fp32, {facts['nonzero']:,} parameters are not zero")
    return "\n".join(lines)


def data(config: Any) -> None:
    """Check, prepare or list a corpus."""
    from omegaconf import OmegaConf

    from audioprune.data.checks import check_tree
    from audioprune.loading import instantiate

    plain = OmegaConf.to_container(config, resolve=True)
    if plain["action"] == "check" and plain["root"]:
        found = check_tree(Path(plain["root"]))
        print("\n".join(found.lines()))
        if found.errors:
            raise DataError(f"{plain['root']}: {len(found.errors)} bad files of {found.files}; see the list above")
        return
    corpus = instantiate(plain["data"])
    corpus.prepare()
    print(json.dumps(corpus.describe(), indent=1))
    if plain["action"] == "manifest":
        target = Path(plain["out"] or "manifest.jsonl")
        corpus.write_manifest(target)
        print(f"wrote {target}")


def doctor(config: Any) -> None:
    """Print whether this machine has what is needed.

    Raises:
        ConfigError: Something required is missing.
    """
    import importlib.util

    needed = ["torch", "torchaudio", "hydra", "omegaconf", "pystoi", "librosa", "soundfile", "soxr", "numba", "constriction", "accelerate"]
    extras = {"pesq": "PESQ scores", "av": "codec", "onnx": "export", "onnxruntime": "export", "tensorboard": "log", "submitit": "slurm"}
    rows = [(name, "required", importlib.util.find_spec(name) is not None) for name in needed]
    rows += [(name, what, importlib.util.find_spec(name) is not None) for name, what in extras.items()]
    rows.append(("gcc", "builds pesq", shutil.which("gcc") is not None or shutil.which("cc") is not None))
    rows.append((f"writable {os.getcwd()}", "required", os.access(os.getcwd(), os.W_OK)))
    facts = {
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "checks": [{"name": n, "for": w, "ok": k} for n, w, k in rows],
    }
    if config.format == "json":
        print(json.dumps(facts))
    else:
        print(f"python {facts['python']}, {facts['cores']} cores")
        print("\n".join(f"{'ok     ' if ok else 'missing'}  {name}  ({what})" for name, what, ok in rows))
    missing = [name for name, what, ok in rows if what == "required" and not ok]
    if missing:
        raise ConfigError(f"expected {', '.join(missing)}; run: pip install -e .")
