"""Searches that evaluate a model again and again: sensitivity of each tensor, the smallest file within a loss."""
