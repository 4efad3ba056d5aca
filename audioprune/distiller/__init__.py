"""Pruning by schedule files in the format of Distiller: read, checked, carried out in training.

``load_schedule`` reads a file; ``ScheduleHook`` carries it out as a hook of the training loop.
"""

from audioprune.distiller.calibration import factor_for, scaled
from audioprune.distiller.hook import ScheduleHook
from audioprune.distiller.schedule import Schedule
from audioprune.distiller.schedule_file import load_schedule

__all__ = ["Schedule", "ScheduleHook", "factor_for", "load_schedule", "scaled"]
