"""Corpora of noisy speech."""
