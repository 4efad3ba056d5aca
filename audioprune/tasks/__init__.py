"""Tasks: what batches, losses and scores mean."""
