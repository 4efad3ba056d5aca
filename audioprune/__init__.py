"""audioprune: train, prune, quantize and evaluate audio neural networks."""

__version__ = "0.1.0"
