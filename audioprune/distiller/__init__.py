"""Pruning during training by schedule files in the format of Distiller.

``load_schedule`` reads and checks a file; ``ScheduleHook`` runs it as a hook of the training loop.
"""

from audioprune.distiller.calibration import factor_for, scaled
from audioprune.distiller.hook import ScheduleHook
from audioprune.distiller.schedule import Schedule
from audioprune.distiller.schedule_file import load_schedule

__all__ = ["Schedule", "ScheduleHook", "factor_for", "load_schedule", "scaled"]
