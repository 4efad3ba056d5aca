"""Where Optuna keeps the trials of a sweep that tunes: in memory, and in a file of its folder.

``open_storage`` is named in conf/tune. A finished trial is never tried again; one that failed or
was interrupted is tried again, with the values that it had, before any new one. Optuna's own
databases need more than one library in versions that fit together; this needs none.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna import logging as optuna_logging
from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from audioprune.commands.sweeps.tuning import COMPLETE, JOURNAL, read_journal
from audioprune.files import append_line


def open_storage(folder: str) -> TrialStorage:
    """Return the storage of a sweep's folder; the folder belongs to this process alone."""
    # The table at the end says all of it.
    optuna_logging.set_verbosity(optuna_logging.WARNING)
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.ERROR)
    return TrialStorage(Path(folder) / JOURNAL)


class TrialStorage(InMemoryStorage):
    """Trials in memory, each change appended to a file.

    Args:
        file: The journal; what it holds already is restored.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def set_study_directions(self, study_id: int, directions: Sequence[Any]) -> None:
        """Restore the trials of earlier calls, once it is known what is to be made small."""
        super().set_study_directions(study_id, directions)
        if not self.get_all_trials(study_id, deepcopy=False):
            for tried in read_journal(self.file).values():
                self.create_new_trial(study_id, _restored(tried))

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Record a chosen value."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        value = distribution.to_external_repr(param_value_internal)
        facts = {"key": param_name, "value": value}
        self._append(trial_id, {**facts, "distribution": distribution_to_json(distribution)})

    def set_trial_state(self, trial_id: int, state: TrialState) -> bool:
        """Record how a trial ended."""
        done: bool = super().set_trial_state(trial_id, state)
        if state.is_finished():
            values = self.get_trial(trial_id).values
            self._append(trial_id, {"state": state.name, "values": list(values or [])})
        return done

    def _append(self, trial_id: int, event: dict[str, Any]) -> None:
        append_line(self.file, {"trial": self.get_trial_number_from_id(trial_id), **event})


@contextmanager
def _known_experimental() -> Iterator[None]:
    """Keep Optuna from warning that what is used here is new in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _restored(tried: dict[str, Any]) -> FrozenTrial:
    """Return a finished trial as it was, and any other as one that waits to be tried again."""
    with _known_experimental():
        if tried["state"] != COMPLETE:
            fixed = {"fixed_params": tried["params"]}
            return create_trial(state=TrialState.WAITING, system_attrs=fixed)
        named = tried["distributions"].items()
        distributions = {key: json_to_distribution(text) for key, text in named}
        return create_trial(
            values=tried["values"], params=tried["params"], distributions=distributions
        )
