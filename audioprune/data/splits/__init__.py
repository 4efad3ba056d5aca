"""Training, validation and test sets: what belongs together stays together."""
