"""``audioprune train``, ``prune``, ``eval``, ``quantize``: run an experiment, show its table.

A run that is finished is shown again without torch being loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audioprune import provenance
from audioprune.commands.messages import note
from audioprune.commands.quoting import word
from audioprune.errors import CheckpointError, ConfigError
from audioprune.experiment.config_hash import config_hash, plain_values
from audioprune.launch import is_muted, place
from audioprune.paths import MODEL_FILES
from audioprune.records import read_record
from audioprune.report import closing_line
from audioprune.report.shown.printing import show_runs
from audioprune.terminal.streams import shown_form

_NEED_A_MODEL = ("quantize", "eval")


def run(
    config: Any, folder: Path, overrides: list[str], differs: list[str], swept: bool = False
) -> str:
    """Run a composed experiment and print its table, where it is, and what to type next.

    The last line of the results names the models that are no better than what needs no model.

    Args:
        config: The composed configuration.
        folder: The run folder.
        overrides: The command line.
        differs: Keys in which the configuration is not the preset that it names, see
            `audioprune.experiment.presets.differing`.
        swept: Whether it is a job of a sweep, whose end shows the tables of all jobs.

    Returns:
        ``"finished"`` or ``"cached"``.

    Raises:
        ConfigError: The verb works on a trained model and none is given.
    """
    if config.verb in _NEED_A_MODEL and not config.checkpoint:
        raise ConfigError(
            f"expected checkpoint=<model.apz, .safetensors, .pt or run folder>, got none; give "
            f"the model to {config.verb}"
        )
    status = run_job(config, folder, overrides, differs)
    if is_muted() or swept:
        return status
    done = "already finished, nothing done again" if status == "cached" else "finished"
    note(f"{shorter(folder)}: {done}\n")
    show_runs(folder)
    closing = closing_line(folder)
    if closing and shown_form() == "table":
        print(closing, flush=True)
    note("\n" + "\n".join(_where(folder, str(config.verb))))
    return status


def run_job(config: Any, folder: Path, overrides: list[str], differs: list[str]) -> str:
    """Run a composed experiment, unless its folder says that nothing is left to do.

    Arguments and result are those of `audioprune.experiment.build.run_job`.
    """
    if _is_done(config, folder, overrides):
        return "cached"
    from audioprune.experiment.build import run_job as run_all

    return run_all(config, folder, overrides, differs)


def _is_done(config: Any, folder: Path, overrides: list[str]) -> bool:
    """Tell whether a folder holds this run, finished; whatever is in doubt is no."""
    plain = provenance.effective(plain_values(config), overrides)
    runtime = plain["runtime"]
    asked = runtime["force"] or runtime["device"] not in ("auto", "cpu")
    if asked or runtime["workers"] != "auto" or place().count > 1:
        return False
    try:
        ended, known = read_record(folder / "status.json"), read_record(folder / "run.json")
    except CheckpointError:
        return False
    return ended.get("status") == "finished" and known.get("hash") == config_hash(plain)


def _where(folder: Path, verb: str) -> list[str]:
    """Return the three paths that matter, and the command that comes next."""
    here = shorter(folder)
    models = [here / name for name in MODEL_FILES if (folder / name).is_file()]
    paths = {"model": models[0] if models else here, "scores": here / "results.jsonl"}
    if (folder / "audio").is_dir():
        paths["audio"] = here / "audio"
    else:
        paths["all"] = here
    lines = [f"{name:8}{path}" for name, path in paths.items()]
    if verb == "train":
        following = f"audioprune prune {word('checkpoint', here)}"
    else:
        following = f"audioprune report {word('runs', here)}"
    return [*lines, f"next    {following}"]


def shorter(folder: Path) -> Path:
    """Return a path below the current folder without it, any other as it is."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
