"""What batches, losses and scores mean: one class per task; see ``protocols.Task``."""
