"""Shared weight values: k-means and how many clusters each tensor needs."""
