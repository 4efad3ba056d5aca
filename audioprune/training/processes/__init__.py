"""What the processes of one run share: ``processes()``, within ``joined(device)`` of group.py.

``Processes`` is one process alone, which costs nothing.
"""

from audioprune.training.processes.alone import Current, Processes, Value, Weight, processes

__all__ = ["Current", "Processes", "Value", "Weight", "processes"]
