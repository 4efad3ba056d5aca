"""What an experiment will take before it is run: every step with few units, times their number.

``rehearse`` (executor.py) runs the real steps on a few items at true size; what a unit took is
measured in stopwatch.py, what memory in peaks.py, and forecast.py multiplies.
"""

from audioprune.experiment.rehearsal.executor import rehearse
from audioprune.experiment.rehearsal.forecast import Forecast, StepForecast, UnitCost

__all__ = ["Forecast", "StepForecast", "UnitCost", "rehearse"]
