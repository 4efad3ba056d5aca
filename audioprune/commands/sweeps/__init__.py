"""What a sweep is besides its jobs: what they return, what is tried, where it is recorded.

Only names are here, so that help and completion load none of it.
"""

SWEEP_LOG = "AUDIOPRUNE_SWEEP_LOG"
"""Variable of the environment with the file in which a sweep's processes record their jobs."""
SWEPT = "AUDIOPRUNE_SWEPT"
"""Variable of the environment with the keys that a sweep varies, for the lines of its jobs."""
TUNE_FOLDER = "AUDIOPRUNE_TUNE"
"""Variable of the environment with the name of a tuning sweep's folder, for its processes."""
