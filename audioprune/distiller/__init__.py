"""Schedule files of pruning during training, in the format that Distiller made common: read, checked, and turned into a training hook."""

from audioprune.distiller.calibration import factor_for, scaled
from audioprune.distiller.hook import ScheduleHook
from audioprune.distiller.schedule import Schedule, load_schedule

__all__ = ["Schedule", "ScheduleHook", "factor_for", "load_schedule", "scaled"]
