"""Weights as few shared values: k-means in one dimension."""
