"""What the verbs do that train nothing: report, info, data, listen, generate and doctor."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, DataError, OutputError


def report(config: Any) -> None:
    """Write tables, figures and the page of the chosen runs, and print the table."""
    from omegaconf import OmegaConf

    from audioprune.report import write_report

    plain = OmegaConf.to_container(config, resolve=True)
    runs = plain["runs"] if isinstance(plain["runs"], list) else [plain["runs"]]
    options = {
        key: value for key, value in plain["report"].items() if key not in ("kinds", "name")
    }
    for kind in plain["report"]["kinds"]:
        written = write_report([Path(run) for run in runs], Path(plain["out"]), kind, **options)
        for file in written:
            if file.suffix == ".md":
                print(file.read_text(encoding="utf-8"))
        print("\n".join(f"wrote {file}" for file in written), file=sys.stderr)


def info(config: Any) -> None:
    """Print parameters, sizes and costs of a model."""
    from omegaconf import OmegaConf

    from audioprune.experiment import cost
    from audioprune.experiment.model_io import build_model, load_model_file, require_example

    plain = OmegaConf.to_container(config, resolve=True)
    if plain["checkpoint"]:
        loaded = load_model_file(plain["checkpoint"], _model_config(plain))
        model, name = loaded.model.eval(), loaded.model_config.get("name")
    else:
        model, name = (
            build_model(_model_config(plain), trusted=True).eval(),
            plain["model"].get("name"),
        )
    require_example(model)
    card = cost.cost(model, model.example_input(), cost.example_seconds(model))
    facts = {
        "model": name,
        "params": card.params,
        "nonzero": card.nonzero,
        "bytes_fp32": 4 * card.params,
        "mib_fp32": 4 * card.params / 2**20,
        "macs_per_second": card.macs_per_second,
        "uncounted": list(card.uncounted),
        "synthesis_flops_per_second": model.synthesis_flops_per_second()
        if hasattr(model, "synthesis_flops_per_second")
        else None,
        "layers": [layer.as_dict() for layer in card.layers],
    }
    print(json.dumps(facts) if plain["format"] == "json" else _info_table(facts))


def _model_config(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a model that no corpus decides about."""
    from audioprune.experiment import agreement
    from audioprune.experiment.model_io import instantiate

    task = instantiate(agreement.complete_task(plain["task"])) if plain.get("task") else None
    return agreement.complete_model(plain["model"], task)


def _info_table(facts: dict[str, Any]) -> str:
    lines = [f"{'layer':32} {'type':14} {'parameters':>12} {'MACs/s':>16}"]
    lines += [
        f"{row['name']:32} {row['type']:14} {row['params']:12,} {row['macs_per_second']:16,.0f}"
        for row in facts["layers"]
    ]
    lines.append(f"{'total':47} {facts['params']:12,} {facts['macs_per_second']:16,.0f}")
    lines.append(
        f"{facts['mib_fp32']:.2f} MiB as fp32, {facts['nonzero']:,} parameters are not zero"
    )
    if facts["synthesis_flops_per_second"]:
        lines.append(
            f"the synthesizer takes about {facts['synthesis_flops_per_second']:,.0f} operations "
            f"a second beside these MACs"
        )
    if facts["uncounted"]:
        lines.append(
            f"MACs leave out what the model computes with {', '.join(facts['uncounted'])} "
            f"outside its layers"
        )
    return "\n".join(lines)


def data(config: Any) -> None:
    """Check, prepare or list a corpus."""
    from omegaconf import OmegaConf

    from audioprune.data.files.checks import check_tree
    from audioprune.experiment.model_io import instantiate

    plain = OmegaConf.to_container(config, resolve=True)
    if plain["action"] == "check" and plain["root"]:
        found = check_tree(Path(plain["root"]))
        print("\n".join(found.lines()))
        if found.errors:
            leaks = sum(finding.code == "leak" for finding in found.errors)
            told = f", {leaks} leaks between splits" if leaks else ""
            raise DataError(
                f"{plain['root']}: {len(found.errors) - leaks} bad files of "
                f"{found.files}{told}; see the list above"
            )
        return
    corpus = instantiate(plain["data"])
    corpus.prepare()
    print(json.dumps(corpus.describe(), indent=1))
    if plain["action"] == "check":
        _tell_leaks(corpus)
    if plain["action"] == "manifest":
        target = Path(plain["out"] or "manifest.jsonl")
        corpus.write_manifest(target)
        print(f"wrote {target}")


def _tell_leaks(corpus: Any) -> None:
    """Print what is, or is suspected to be, in several splits of a corpus.

    Raises:
        DataError: The same audio is in two splits.
    """
    found = corpus.leaks() if hasattr(corpus, "leaks") else []
    certain = [finding for finding in found if finding.severity == "error"]
    for finding in found:
        print(finding.line())
    print(f"{len(certain)} leaks between splits, {len(found) - len(certain)} suspected")
    if certain:
        raise DataError(
            f"{len(certain)} files hold the same audio as a file of another split; see the list "
            f"above"
        )


def listen(config: Any, overrides: Sequence[str] = ()) -> None:
    """Make a listening test, or print what its ratings say.

    The corpus is that of the systems' files unless the command line gives one.
    """
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    if plain["action"] == "stats":
        _listening_statistics(plain)
        return
    import torch

    from audioprune import provenance
    from audioprune.experiment.model_io import instantiate
    from audioprune.listening.export import Plan, export

    plain = provenance.effective(plain, overrides)
    provenance.check(plain, overrides)
    torch.set_num_threads(plain["threads"])
    plan = Plan(**{item.name: plain[item.name] for item in fields(Plan)})
    corpus = instantiate(plain["data"])
    written = export(plan, corpus, Path(plain["out"] or f"listening/{plan.test}"))
    for system in plan.systems.values():
        for note in provenance.notes(
            {**plain, "checkpoint": system}, overrides, str(corpus.fingerprint())
        ):
            print(note, file=sys.stderr)
    print("\n".join(f"wrote {file}" for file in written))


def _listening_statistics(plain: dict[str, Any]) -> None:
    from audioprune.listening.ratings import read_ratings
    from audioprune.listening.statistics import statistics
    from audioprune.report.figures.listening import write_listening

    given = plain["results"]
    if not given:
        raise ConfigError(
            "expected results=FILE or results=[FILE,FILE], got none; give mushra.csv or files "
            "that the page saved"
        )
    sheet = read_ratings(given if isinstance(given, list) else [given])
    for line in sheet.damaged:
        print(f"left out {line}", file=sys.stderr)
    written = write_listening(statistics(sheet), Path(plain["out"] or "reports/listening"))
    for file in written:
        if file.suffix == ".md" and file.stem != "listening_items":
            print(file.read_text(encoding="utf-8"))
    print("\n".join(f"wrote {file}" for file in written), file=sys.stderr)


def generate(config: Any, overrides: Sequence[str] = ()) -> None:
    """Make one note with a trained model and say how long it took.

    Corpus and task are those of the model's file unless the command line gives others.

    Raises:
        ConfigError: No model is given.
    """
    import torch
    from omegaconf import OmegaConf

    from audioprune import provenance
    from audioprune.commands.generate import Request, make_note
    from audioprune.training.devices import chosen_device

    plain = OmegaConf.to_container(config, resolve=True)
    if not plain["checkpoint"]:
        raise ConfigError(
            "expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give "
            "the model that makes the note"
        )
    wish = plain["runtime"]["device"]
    if chosen_device(wish).type != "cpu" and wish != "auto":
        raise ConfigError(
            f"expected runtime.device=cpu or auto, since a note is made on the CPU, got {wish}; "
            f"leave it out"
        )
    plain = provenance.effective(plain, overrides)
    provenance.check(plain, overrides)
    torch.set_num_threads(plain["runtime"]["threads"] or len(os.sched_getaffinity(0)))
    wanted = Request(**{key.name: plain[key.name] for key in fields(Request)})
    parts = {key: plain[key] for key in ("data", "model", "task")}
    print("\n".join(make_note(plain["checkpoint"], wanted, plain["out"], **parts).lines()))


def doctor(config: Any) -> None:
    """Print whether this machine has what is needed.

    Raises:
        ConfigError: Something required is missing.
    """
    checks = [*_packages(), *_machine()]
    facts = {
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "checks": checks,
    }
    if config.format == "json":
        print(json.dumps(facts))
    else:
        print(f"python {facts['python']}, {facts['cores']} cores")
        for row in checks:
            state = "ok" if row["ok"] else "missing"
            print(
                f"{state:8} {row['name'] + row.get('wanted', ''):34} {row['found'] or '-':16} "
                f"{row['for']}"
            )
    missing = [row["name"] for row in checks if row["for"] == "required" and not row["ok"]]
    if missing:
        raise ConfigError(
            f"expected {', '.join(missing)}, missing or too old; run make install, or choose a "
            f"folder that can be written"
        )


def _packages() -> list[dict[str, Any]]:
    """Compare every declared dependency with what is installed."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    rows: list[dict[str, Any]] = []
    try:
        wishes = [Requirement(text) for text in requires("audioprune") or []]
    except PackageNotFoundError as error:
        raise ConfigError(
            "expected audioprune as an installed package, got a bare source folder; run make "
            "install"
        ) from error
    for wish in wishes:
        extra = re.search(r'extra == "(\w+)"', str(wish.marker or ""))
        if wish.name == "audioprune":
            continue
        try:
            found = version(wish.name)
        except PackageNotFoundError:
            found = ""
        suits = bool(found) and wish.specifier.contains(found, prereleases=True)
        group = extra[1] if extra else "required"
        rows.append(
            {
                "name": wish.name,
                "for": group,
                "wanted": str(wish.specifier),
                "found": found,
                "ok": suits,
            }
        )
    return rows


def _machine() -> list[dict[str, Any]]:
    """Look at compiler, device, disk and folders."""
    import torch

    from audioprune.files import check_writable
    from audioprune.paths import cache_folder
    from audioprune.torchaudio_loader import describe_torchaudio

    compiler = shutil.which("gcc") or shutil.which("cc") or ""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    audio = describe_torchaudio()
    rows = [
        {
            "name": "import torchaudio",
            "for": "models of users",
            "found": audio,
            "ok": not audio.startswith("not importable"),
        },
        {"name": "C compiler", "for": "builds pesq", "found": compiler, "ok": bool(compiler)},
        {"name": "CUDA device", "for": "optional", "found": device, "ok": bool(device)},
    ]
    for folder in (Path.cwd(), cache_folder()):
        try:
            check_writable(folder)
            found = f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free"
        except OutputError:
            found = ""
        rows.append(
            {"name": f"folder {folder}", "for": "required", "found": found, "ok": bool(found)}
        )
    return rows
