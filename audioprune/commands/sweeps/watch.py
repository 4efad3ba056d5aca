"""What a sweep needs around its jobs: a record that all its processes write, and early refusals.

``Watch`` is called by Hydra before the first job. `objective_of` and `check_objective` say what a
job returns to a sweeper such as Optuna. No torch is loaded here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf.errors import OmegaConfBaseException

from audioprune.commands.messages import as_output_error, explain
from audioprune.commands.sweeps import SWEEP_LOG, SWEPT, tuning
from audioprune.commands.sweeps.objective import Objective
from audioprune.errors import AudiopruneError, ConfigError
from audioprune.experiment.config_hash import plain_values
from audioprune.files import check_writable, lock
from audioprune.records import read_rows

_HELD = ExitStack()


class NothingFinished(AudiopruneError):
    """Optuna was told of no trial."""


class Watch(Callback):
    """Called by Hydra around a sweep."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Refuse what no job could do, and say to all processes where jobs are recorded.

        Raises:
            SystemExit: Hydra would turn any other exception into a warning.
        """
        try:
            folder = Path(str(config.hydra.sweep.dir))
            if config.get("tune"):
                check_writable(folder)
                _HELD.enter_context(lock(folder))
                tuning.prepare(config)
            _check_sweeper(config)
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[SWEPT] = " ".join(tuning.swept_keys(config))
        except (AudiopruneError, HydraException, OmegaConfBaseException, OSError) as error:
            raise SystemExit(explain(as_output_error(error))) from error
        # All machines of a sweep see its folder; a temporary one they would not share.
        name = f".jobs-{socket.gethostname()}-{os.getpid()}.jsonl"
        os.environ[SWEEP_LOG] = str((folder / name).absolute())


def release() -> None:
    """Let go of the folder of a sweep that tunes."""
    _HELD.close()


def _check_sweeper(config: Any) -> None:
    """Refuse an Optuna sweep whose jobs would return nothing, and a storage that cannot work."""
    if "optuna" not in str(config.hydra.sweeper.get("_target_")):
        return
    if config.get("objective") is None and not config.get("tune"):
        raise ConfigError(
            "hydra/sweeper=optuna: expected objective=NAME, got none; say what is to be made "
            "small, such as objective=bytes_file or objective=-stoi"
        )
    storage = config.hydra.sweeper.get("storage")
    version = metadata.version("SQLAlchemy")
    if isinstance(storage, str) and int(version.split(".")[0]) > 1 and _is_old_optuna():
        raise ConfigError(
            f"hydra.sweeper.storage={storage}: expected SQLAlchemy below 2 for this Optuna, got "
            f"{version}; leave the storage away (finished jobs are never done again), or run: pip "
            f"install 'SQLAlchemy<2'"
        )


def _is_old_optuna() -> bool:
    return int(metadata.version("optuna").split(".")[0]) < 3


def objectives(config: Any) -> list[Objective]:
    """Return what ``objective`` asks for; empty where it asks for nothing."""
    asked = config.get("objective")
    if asked is None:
        return []
    return [Objective.parse(each) for each in ([asked] if isinstance(asked, str) else asked)]


def check_objective(config: Any) -> None:
    """Refuse an objective that no run of this configuration has, before it begins.

    Raises:
        ConfigError: It has another form, or names a metric that is not measured.
    """
    asked = objectives(config)
    if asked and config.get("tune"):
        raise ConfigError(
            "objective: expected none beside +tune=..., which has its own; leave it away"
        )
    tuned = [Objective(f"drop_{config.tune.metric}")] if config.get("tune") else []
    for each in [*asked, *tuned]:
        each.check(list(config.scoring.metrics))


def answer(config: Any, folder: Path, record: dict[str, Any]) -> float | list[float] | None:
    """Return what a finished job tells the sweeper, and note in its record what was measured.

    Args:
        config: The composed configuration.
        folder: The run folder.
        record: What the job will record of itself.

    Raises:
        ConfigError: The run has no such number.
    """
    rows: Sequence[Mapping[str, Any]] = read_rows(folder / "results.jsonl")
    if config.get("tune"):
        measured = tuning.measure(rows, plain_values(config)["tune"])
        record["measured"] = measured.as_dict()
        return measured.told()
    asked = objectives(config)
    if not asked:
        return None
    values = [each.value(rows) for each in asked]
    record["objective"] = values
    return values[0] if isinstance(config.objective, str) else values


def as_sweep_error(error: Exception) -> Exception:
    """Name what it means when Optuna has no trial to choose from."""
    if isinstance(error, ValueError) and str(error).startswith("No trials are completed"):
        return NothingFinished("no trial of this sweep finished, so there is no best one")
    return error
