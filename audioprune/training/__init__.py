"""Training: the loop, what may act on it, its numbers, and the device that it uses."""
